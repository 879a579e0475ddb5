"""Versions as tags write them, and ranges of versions.

A tag is a version if it reads ``[v]MAJOR[.MINOR[.PATCH]][-PRERELEASE]``: missing numbers are 0, so the tag ``1.25``
is version 1.25.0. Everything after the first ``-`` is a prerelease, as SemVer has it: ``1.25.3-alpine`` is a
prerelease of 1.25.3, comes before it, and is not taken by a plain range. Beyond SemVer, numbers may have leading
zeros (``24.04``), and a number has at most 18 digits. Build metadata cannot stand in a tag (no ``+``), and a tag with
``_`` in its place is no version: ``17.0.10_7-jdk`` says more than a build.

Precedence: https://semver.org/spec/v2.0.0.html section 11. Ranges: those of npm's node-semver, see `VersionRange`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import total_ordering
from itertools import takewhile

from mirrord.errors import InvalidReferenceError, quote

MAX_RANGE_LENGTH = 1_000

_NUMBER = r"[0-9]{1,18}"
_PRERELEASE = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-({_PRERELEASE}))?")
_PLACE = rf"{_NUMBER}|[xX*]"
_PARTIAL = re.compile(rf"v?({_PLACE})(?:\.({_PLACE}))?(?:\.({_PLACE}))?(?:-({_PRERELEASE}))?")
_COMPARATOR = re.compile(r"(?P<operator>>=|<=|!=|[=<>^~])?\s*(?P<operand>[^\s,<>=!^~|]+)")
_SEPARATOR = re.compile(r"[\s,]+")
_HYPHEN = "-"
_LONGEST_NUMBER = 18
_MINOR = 2
_PLACES = 3
_LOWEST = (0,)
"""The prerelease before all others: a bound of 2.0.0-0 leaves out 2.0.0-rc.1 as well, which 2.0.0 would not."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version. Versions compare by SemVer's precedence, and are equal if neither precedes the other.

    ``prerelease`` has the identifiers after the ``-``, numeric ones as numbers; empty for a release.
    """

    major: int
    minor: int = 0
    patch: int = 0
    prerelease: tuple[int | str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Return the version that the text of a tag writes; None if it is no version, as most tags are not."""
        match = _VERSION.fullmatch(text)
        prerelease = _identifiers(match[4]) if match else None
        if match is None or prerelease is None:
            return None
        return cls(int(match[1]), int(match[2] or 0), int(match[3] or 0), prerelease)

    @property
    def release(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        return (self.major, self.minor, self.patch)

    def __lt__(self, other: Version) -> bool:
        return self._precedence() < other._precedence()

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        return f"{text}-{'.'.join(map(str, self.prerelease))}" if self.prerelease else text

    def _precedence(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]:
        # A release follows its prereleases; numeric identifiers come before alphanumeric ones.
        identifiers = tuple((False, i, "") if isinstance(i, int) else (True, 0, i) for i in self.prerelease)
        return (self.release, not self.prerelease, identifiers)


@dataclass(frozen=True, slots=True)
class _Span:
    """What one comparator takes: the versions between two bounds, or all but these. None means no bound."""

    low: Version | None = None
    high: Version | None = None
    includes_low: bool = True
    includes_high: bool = False
    negated: bool = False

    def takes(self, version: Version) -> bool:
        return self._holds(version) is not self.negated

    def _holds(self, version: Version) -> bool:
        if self.low is not None and (version < self.low or (version == self.low and not self.includes_low)):
            return False
        return self.high is None or version < self.high or (self.includes_high and version == self.high)


@dataclass(frozen=True, slots=True)
class _Alternative:
    """Comparators that must all take a version. ``opened`` are the releases whose prereleases may be taken."""

    spans: tuple[_Span, ...]
    opened: frozenset[tuple[int, int, int]]

    def takes(self, version: Version) -> bool:
        if version.prerelease and version.release not in self.opened:
            return False
        return all(span.takes(version) for span in self.spans)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range of versions: alternatives separated by ``||``, each of comparators separated by spaces or commas.

    A version is taken if every comparator of one alternative takes it:

    - ``>=1.25``, ``>1.25``, ``<2``, ``<=2``, ``=1.25.3``, ``!=1.25.3``. An operand with missing or wildcard numbers
      (``1``, ``1.x``, ``1.2.*``) means all versions that begin so: ``<=1.25`` takes 1.25.9, ``>1.25`` begins at 1.26,
      and ``1.25`` alone is the same as ``=1.25`` and ``1.25.x``. ``*`` is every release.
    - ``^1.2.3``: from there to the next change of the first number that is not 0 (2.0.0; ``^0.2.3`` to 0.3.0).
    - ``~1.2.3`` and ``~1.2``: from there to the next minor version (1.3.0); ``~1`` to the next major.
    - ``1.2 - 1.4``: from 1.2.0 to the last 1.4; ``1.2 - 1.4.5``: to 1.4.5.

    Prereleases are taken only where a comparator of the same alternative, other than ``!=``, names a prerelease of
    the same major, minor and patch: ``>=1.25.0-rc.1`` takes 1.25.0-rc.2 and 1.26.0, and not 1.26.0-rc.1.
    """

    text: str
    _alternatives: tuple[_Alternative, ...] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Return the range that ``text`` writes.

        Raises:
            InvalidReferenceError: not of that form (SEMVER_INVALID); the message has the offending part.
        """
        if len(text) > MAX_RANGE_LENGTH:
            raise _invalid(text[:60], f"it has {len(text)} characters; at most {MAX_RANGE_LENGTH} are allowed")
        return cls(text, tuple(_alternative(part, text) for part in text.split("||")))

    def matches(self, version: Version) -> bool:
        """Say whether the range takes ``version``."""
        return any(alternative.takes(version) for alternative in self._alternatives)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Operand:
    """A version of which the last numbers may be open: ``given`` (0 to 3) counts those that are not."""

    version: Version
    given: int

    @property
    def above(self) -> Version:
        """The lowest version above all those that begin like this; there is none where no number is given."""
        return _next(self.version, self.given)


def _alternative(part: str, text: str) -> _Alternative:
    tokens = list(_tokens(part, text))
    if not tokens:
        raise _invalid(text, "a part of it is empty; write * for every release")
    spans: list[_Span] = []
    opened: set[tuple[int, int, int]] = set()
    position = 0
    while position < len(tokens):
        operator, operand_text = tokens[position]
        operand = _operand(operand_text, text)
        if tokens[position + 1 : position + 2] == [("", _HYPHEN)]:
            if operator or len(tokens) < position + 3 or tokens[position + 2][0]:
                raise _invalid(text, f'the hyphen after "{quote(operand_text, 40)}" needs a bare version on both sides')
            last = _operand(tokens[position + 2][1], text)
            spans.append(_between(operand, last, text))
            named = [operand.version, last.version]
            position += 3
        else:
            spans.append(_compare(operator, operand, text))
            named = [operand.version] if operator != "!=" else []
            position += 1
        opened.update(version.release for version in named if version.prerelease)
    return _Alternative(tuple(spans), frozenset(opened))


def _compare(operator: str, operand: _Operand, text: str) -> _Span:
    """Return what ``operator`` makes of ``operand``."""
    version = operand.version
    exact = operand.given == _PLACES
    if not operand.given:
        if operator in {"<", ">", "!="}:
            raise _invalid(text, f'"{operator}" with a wildcard alone takes no version')
        return _Span()
    start = version if exact else Version(*version.release, _LOWEST)
    match operator:
        case ">=":
            span = _Span(version)
        case ">":
            span = _Span(version, includes_low=False) if exact else _Span(Version(*operand.above.release))
        case "<":
            span = _Span(high=start)
        case "<=":
            span = _up_to(None, operand)
        case "^":
            span = _Span(version, _next(version, _first_change(operand)))
        case "~":
            span = _Span(version, _next(version, min(operand.given, _MINOR)))
        case "!=":
            span = replace(_up_to(start, operand), negated=True)
        case _:
            span = _up_to(version, operand)
    return span


def _between(first: _Operand, last: _Operand, text: str) -> _Span:
    span = _up_to(first.version if first.given else None, last)
    if span.low is not None and span.high is not None and span.high < span.low:
        raise _invalid(text, f"from {first.version} to {last.version} runs backwards")
    return span


def _up_to(low: Version | None, last: _Operand) -> _Span:
    """Return what lies from ``low`` to the last version that begins like ``last``."""
    if not last.given:
        return _Span(low)
    if last.given == _PLACES:
        return _Span(low, last.version, includes_high=True)
    return _Span(low, last.above)


def _first_change(operand: _Operand) -> int:
    """Return the place (1 to 3) of the number whose change ``^`` does not allow."""
    places = [place for place, number in enumerate(operand.version.release, 1) if number]
    return min([*places, operand.given])


def _next(version: Version, place: int) -> Version:
    """Return the lowest version above all those that share the first ``place`` numbers with ``version``."""
    numbers = list(version.release[:place])
    numbers[-1] += 1
    major, minor, patch = (*numbers, 0, 0)[:_PLACES]
    return Version(major, minor, patch, _LOWEST)


def _operand(text: str, whole: str) -> _Operand:
    match = _PARTIAL.fullmatch(text)
    prerelease = _identifiers(match[4]) if match else None
    if match is None or prerelease is None:
        raise _invalid(
            whole, f'"{quote(text, 40)}" is no version; expected one such as 1, 1.25, 1.x, 1.25.3 or 1.25.3-rc.1'
        )
    places = [match[place] for place in (1, 2, 3)]
    numbers = list(takewhile(str.isdigit, filter(None, places)))
    wildcards = [place for place in places[len(numbers) :] if place is not None]
    if any(place.isdigit() for place in wildcards) or (wildcards and prerelease):
        raise _invalid(whole, f'"{quote(text, 40)}" has a wildcard before its last part')
    major, minor, patch = (*map(int, numbers), 0, 0, 0)[:_PLACES]
    return _Operand(Version(major, minor, patch, prerelease), _PLACES if prerelease else len(numbers))


def _tokens(part: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield (operator, operand) of each comparator; the hyphen of a hyphen range is an operand by itself."""
    position = 0
    while position < len(part):
        separator = _SEPARATOR.match(part, position)
        if separator:
            position = separator.end()
            continue
        match = _COMPARATOR.match(part, position)
        if match is None:
            raise _invalid(text, f'"{quote(part[position:], 40)}" does not begin with a comparator')
        yield match["operator"] or "", match["operand"]
        position = match.end()


def _identifiers(text: str | None) -> tuple[int | str, ...] | None:
    """Return the identifiers of a prerelease; None if one of them is a number of more than 18 digits."""
    identifiers = text.split(".") if text else []
    numeric = [identifier for identifier in identifiers if identifier.isdigit()]
    if any(len(identifier) > _LONGEST_NUMBER for identifier in numeric):
        return None
    return tuple(int(identifier) if identifier.isdigit() else identifier for identifier in identifiers)


def _invalid(text: str, problem: str) -> InvalidReferenceError:
    return InvalidReferenceError(f'the version range "{quote(text)}" is not valid: {problem}', code="SEMVER_INVALID")
