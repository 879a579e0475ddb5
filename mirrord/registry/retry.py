"""When to ask again, and how long to wait before it: hints of servers, backoff, and a budget. All of it pure.

Sources: RFC 9110 section 10.2.3 (Retry-After); C41 of docs/reference/reliability.md: retries are bounded.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_HINT_S: Final = 15 * 60.0
"""A registry may ask to wait this long at most; what it asks beyond is cut."""

RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524, 598, 599})
"""Answers after which the same request may succeed; 499 and 52x come from proxies and content networks."""

_REPLAYABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST"})
_LONGEST_NUMBER: Final = 18
_UNIX_TIME_WITHIN_S: Final = 24 * 3600  # a number this close to the clock is a moment, any other one a wait
_UNITS_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_HINT_IN_TEXT: Final = re.compile(
    rf"retry[ _-]?(?:after|delay)['\"]?\s{{0,4}}[:=]?\s{{0,4}}['\"]?((?:{_PART.pattern}){{1,6}})", re.IGNORECASE
)
_SECONDARY: Final = "secondary rate limit"
_SECONDARY_WAIT_S: Final = 60.0
_SECONDS: Final = re.compile(r"\d+(?:\.\d{1,9})?")


def retry_after_s(headers: Mapping[str, str], body_excerpt: str, now: datetime) -> float | None:
    """Return the seconds that a throttled answer asks to wait, between 0 and 15 minutes; None: it does not say.

    Understood are Retry-After in seconds, as an HTTP date or as UNIX time, X-Retry-After as UNIX time (Docker Hub),
    X-RateLimit-Reset where nothing remains (GitHub, Docker Hub), and durations in the text of the answer,
    "retry-after: 880.092µs" (GHCR) or "retryDelay": "36s" (Google). A moment in the past means 0. GitHub's secondary
    limit without a hint means a minute.

    Source: GitHub's documentation, rest/using-the-rest-api/rate-limits-for-the-rest-api; Google's google.rpc.RetryInfo.

    Args:
        headers: of the answer; names in any case.
        body_excerpt: the beginning of the answer's body.
        now: the moment, aware.
    """
    by_name = {name.lower(): value.strip() for name, value in headers.items()}
    for name in ("retry-after", "x-retry-after"):
        wait_s = _hint_s(by_name.get(name, ""), now)
        if wait_s is not None:
            return wait_s
    in_text = _HINT_IN_TEXT.search(body_excerpt)
    if in_text is None:
        if by_name.get("x-ratelimit-remaining") == "0":
            return _hint_s(by_name.get("x-ratelimit-reset", ""), now)
        return _SECONDARY_WAIT_S if _SECONDARY in body_excerpt.lower() else None
    return _clamp(sum(float(number) * _UNITS_S[unit.lower()] for number, unit in _PART.findall(in_text[1].lower())))


def is_replayable(method: str, *, sent: bool = True, body_replayable: bool = True) -> bool:
    """Say whether a request may be made again after a failure.

    A PATCH that may have arrived is never repeated: how many bytes the registry took is not known. A POST may be:
    at worst it leaves an upload session behind, which registries clean up.

    Args:
        method: the HTTP method.
        sent: whether anything may have reached the registry.
        body_replayable: False for a body that streams from elsewhere and is used up.
    """
    if not body_replayable:
        return False
    return not sent or method.upper() in _REPLAYABLE


class Backoff:
    """Waits that grow exponentially, with full jitter, for the tries of one request."""

    def __init__(self, random: Callable[[], float], *, base_s: float = 0.5, cap_s: float = 30.0) -> None:
        """Begin at the first failure.

        Args:
            random: returns a number from 0 up to, but not including, 1.
            base_s: the longest first wait.
            cap_s: the longest wait of all.
        """
        self._random = random
        self._cap_s = cap_s
        self._longest_s = min(base_s, cap_s)

    def next_s(self, asked_s: float | None = None) -> float:
        """Return the seconds to wait before the next try; ``asked_s``, what the registry asked for, comes on top."""
        wait_s = self._random() * self._longest_s
        self._longest_s = min(self._longest_s * 2, self._cap_s)
        return wait_s + (asked_s or 0.0)


class RetryBudget:
    """Bounds the retries to one registry, so that its trouble is not multiplied.

    Within any minute retries are at most a share of the requests; three in a second are always free, so that small
    runs can retry at all. The caller passes monotonic seconds.
    """

    _WINDOW_S: Final = 60

    def __init__(self, *, share: float = 0.1, free_per_s: int = 3) -> None:
        self._share = share
        self._free_per_s = free_per_s
        self._requests: deque[list[int]] = deque()
        self._retries: deque[list[int]] = deque()

    def request(self, now_s: float) -> None:
        """Take note of a request."""
        self._count(self._requests, int(now_s))

    def allows_retry(self, now_s: float) -> bool:
        """Say whether one more retry is within the budget, and if so, spend it."""
        second = int(now_s)
        self._forget_before(second)
        just_now = self._retries[-1][1] if self._retries and self._retries[-1][0] == second else 0
        in_share = sum(n for _, n in self._retries) < self._share * sum(n for _, n in self._requests)
        if not in_share and just_now >= self._free_per_s:
            return False
        self._count(self._retries, second)
        return True

    def _count(self, counts: deque[list[int]], second: int) -> None:
        if counts and counts[-1][0] == second:
            counts[-1][1] += 1
        else:
            counts.append([second, 1])
            self._forget_before(second)

    def _forget_before(self, second: int) -> None:
        for counts in (self._requests, self._retries):
            while counts and counts[0][0] <= second - self._WINDOW_S:
                counts.popleft()


def _hint_s(text: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(text):
        if len(text.partition(".")[0]) > _LONGEST_NUMBER:
            return LONGEST_HINT_S
        number = float(text)
        ahead_s = number - now.timestamp()
        return _clamp(ahead_s if abs(ahead_s) <= _UNIX_TIME_WITHIN_S else number)
    if not text or not text[0].isalpha():
        return None  # "-1", and whatever else begins neither a number nor a date
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _clamp((moment - now).total_seconds())


def _clamp(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_HINT_S)
