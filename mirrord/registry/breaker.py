"""A circuit breaker: a registry that keeps failing is left alone instead of being hammered."""

from __future__ import annotations

import random
from collections import deque

from mirrord.ports.clock import Clock

WINDOW_S = 30.0
LEAST_CALLS = 20
OPEN_AT = 0.5
PROBE_EVERY_S = 15.0


class Breaker:
    """Opens when at least half of at least 20 calls within 30 s failed; then lets one probe through every 15 s."""

    def __init__(self, clock: Clock, jitter: random.Random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._calls: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are refused at the moment (but for the probes)."""
        return self._probe_at is not None

    def allows(self) -> bool:
        """Say whether a call may be made now; an open breaker counts the answer yes as its probe."""
        if self._probe_at is None:
            return True
        now = self._clock.monotonic()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_EVERY_S * (0.75 + 0.5 * self._jitter.random())
        return True

    def succeeded(self) -> None:
        """Count a call that the registry answered."""
        if self._probe_at is not None:
            self._calls.clear()
            self._failures = 0
            self._probe_at = None
        self._count(failed=False)

    def failed(self) -> None:
        """Count a call without an answer, or with a server error."""
        self._count(failed=True)
        if self._probe_at is None and len(self._calls) >= LEAST_CALLS and self._failures >= OPEN_AT * len(self._calls):
            self._probe_at = self._clock.monotonic() + PROBE_EVERY_S * (0.75 + 0.5 * self._jitter.random())

    def _count(self, *, failed: bool) -> None:
        now = self._clock.monotonic()
        self._calls.append((now, failed))
        self._failures += failed
        while self._calls and self._calls[0][0] < now - WINDOW_S:
            _, was_failure = self._calls.popleft()
            self._failures -= was_failure
