"""What a registry tells of its quota of pulls: the headers of an answer, as values. Pure.

Source: Docker's manuals, docker-hub/usage/pulls.md (``ratelimit-limit: 100;w=21600``); the drafts of the IETF's HTTPAPI
group, ratelimit-headers 03 to 10, for the other spellings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LONGEST_HEADER: Final = 256
"""Characters of a header that are looked at."""

_NUMBER: Final = re.compile(r"\s*(\d{1,12})(?:\.\d{1,9})?\s*(?=[;,]|$)")
_WINDOW: Final = re.compile(r"[;,]\s*w\s*=\s*(\d{1,9})\b", re.IGNORECASE)
_MEMBER: Final = re.compile(r"(?:^|[;,\s])(limit|remaining|reset|q|r|t|w)\s*=\s*(\d{1,12})\b", re.IGNORECASE)
_MEANINGS: Final = {"limit": "limit", "q": "limit", "remaining": "remaining", "r": "remaining", "reset": "reset"}
_LONGEST_RESET_S: Final = 7 * 24 * 3600.0
"""A reset beyond that is no delay but a moment, which these headers do not mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one answer tells of the quota; None: it does not say.

    Attributes:
        limit: pulls in a window.
        remaining: pulls that are left in it.
        window_s: how long it is, in seconds. Docker Hub's rolls: each pull comes back a window after it was made.
        reset_s: in how many seconds there will be more.
    """

    limit: int | None = None
    remaining: int | None = None
    window_s: int | None = None
    reset_s: float | None = None

    def __bool__(self) -> bool:
        """Say whether there is a quota at all: an answer that tells of no rest tells of no limit."""
        return self.remaining is not None


def read_quota(headers: Mapping[str, str]) -> Reading:
    """Return what the headers of an answer tell; headers that cannot be read count as absent. Never raises.

    Args:
        headers: names in any case.
    """
    by_name = {name.lower(): value[:LONGEST_HEADER] for name, value in headers.items()}
    limit, remaining = by_name.get("ratelimit-limit", ""), by_name.get("ratelimit-remaining", "")
    found: dict[str, int] = {}
    for name, value in (
        ("limit", _number(limit)),
        ("remaining", _number(remaining)),
        ("reset", _number(by_name.get("ratelimit-reset", ""))),
        ("w", _window(remaining)),
        ("w", _window(limit)),
    ):
        if value is not None:
            found.setdefault(name, value)
    for header in ("ratelimit", "ratelimit-policy"):
        for key, text in _MEMBER.findall(by_name.get(header, "")):
            name = "reset" if key.lower() == "t" else _MEANINGS.get(key.lower(), key.lower())
            found.setdefault(name, int(text))
    reset = found.get("reset")
    return Reading(
        limit=found.get("limit"),
        remaining=found.get("remaining"),
        window_s=found.get("w") or None,
        reset_s=float(reset) if reset is not None and reset <= _LONGEST_RESET_S else None,
    )


def _number(text: str) -> int | None:
    match = _NUMBER.match(text)
    return int(match[1]) if match else None


def _window(text: str) -> int | None:
    match = _WINDOW.search(text)
    return int(match[1]) if match else None
