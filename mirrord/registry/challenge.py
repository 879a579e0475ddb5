"""The WWW-Authenticate header: which schemes a registry offers, and the one that mirrord takes.

Grammar: RFC 9110 section 11.6.1, read with tolerance; the Bearer parameters are those of distribution's
docs/content/spec/auth/token.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirrord.errors import ProtocolViolationError

LONGEST_HEADER = 64 * 1024
"""All WWW-Authenticate lines of an answer together have at most this many characters."""

_MOST_CHALLENGES = 32

_FILLER = re.compile(r"[\s,]*+")
_BLANKS = re.compile(r"[ \t]*+")
_TOKEN = re.compile(r'[^\s,="]++')
_TOKEN68 = re.compile(r"([A-Za-z0-9._~+/-]++=*+)[ \t]*+(?:,|\Z)")
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_BARE = re.compile(r'[^\s,"]*+')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge. Scheme and parameter names are in lower case; ``token68`` is the blob of schemes without any."""

    scheme: str
    params: Mapping[str, str]
    token68: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerChallenge:
    """The registry wants a token of the service at ``realm``. ``scope`` may be a dummy (GHCR) or opaque (ECR Public).

    ``error`` is the reason of a refusal, ``insufficient_scope`` or ``invalid_token``; often empty.
    """

    realm: str
    service: str = ""
    scope: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicChallenge:
    """The registry wants a user name and a password with each request."""

    realm: str = ""


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all WWW-Authenticate lines of an answer, in their order.

    Whatever is no challenge is skipped, and so is what follows the 32nd one of a line. Of a parameter that stands
    twice the first value counts.

    Raises:
        ProtocolViolationError: the lines are longer than 64 KiB together (AUTH_CHALLENGE_INVALID).
    """
    length = sum(len(value) for value in values)
    if length > LONGEST_HEADER:
        raise ProtocolViolationError(
            f"the WWW-Authenticate header has {length} characters; at most {LONGEST_HEADER} are read",
            code="AUTH_CHALLENGE_INVALID",
        )
    found: list[Challenge] = []
    for value in values:
        found += _parse_line(value)
    return tuple(found)


def choose(challenges: Sequence[Challenge]) -> BearerChallenge | BasicChallenge | None:
    """Return the challenge to answer: the first usable Bearer one, else Basic; None if there is neither.

    A Bearer challenge without a realm is not usable: RFC 6750 allows it, and then it only tells an error.

    Raises:
        ProtocolViolationError: nothing is usable, because the realm is there but empty (AUTH_CHALLENGE_INVALID).
    """
    bearers = [challenge.params for challenge in challenges if challenge.scheme == "bearer"]
    for params in bearers:
        if params.get("realm"):
            return BearerChallenge(
                realm=params["realm"],
                service=params.get("service", ""),
                scope=params.get("scope", ""),
                error=params.get("error", ""),
            )
    for challenge in challenges:
        if challenge.scheme == "basic":
            return BasicChallenge(realm=challenge.params.get("realm", ""))
    if any("realm" in params for params in bearers):
        raise ProtocolViolationError(
            "the registry asks for a token, but the realm of its challenge is empty", code="AUTH_CHALLENGE_INVALID"
        )
    return None


def _parse_line(line: str) -> list[Challenge]:
    """Scan one line from left to right; every step moves on, so the time is linear in its length."""
    found: list[Challenge] = []
    params: dict[str, str] | None = None  # those of the challenge that was begun last
    at = _end(_FILLER, line, 0)
    while at < len(line) and len(found) <= _MOST_CHALLENGES:
        word = _TOKEN.match(line, at)
        if word is None:
            at = _end(_FILLER, line, at + 1)  # a stray quote or "="
            continue
        blank = _end(_BLANKS, line, word.end())
        if line[blank : blank + 1] == "=":
            value, at = _parse_value(line, _end(_BLANKS, line, blank + 1))
            if params is not None:
                params.setdefault(word[0].lower(), value)
        else:
            token68 = _TOKEN68.match(line, blank) if blank > word.end() else None
            at = token68.end(1) if token68 else blank
            params = {}
            found.append(Challenge(scheme=word[0].lower(), params=params, token68=token68[1] if token68 else ""))
        at = _end(_FILLER, line, at)
    return found[:_MOST_CHALLENGES]


def _parse_value(line: str, at: int) -> tuple[str, int]:
    """Return a parameter's value and the place after it; a quote that never closes takes the rest of the line."""
    quoted = _QUOTED.match(line, at)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    end = _end(_BARE, line, at)
    return line[at:end], end


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    match = pattern.match(line, at)
    return match.end() if match else at
