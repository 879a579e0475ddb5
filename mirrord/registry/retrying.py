"""The tries of one request: after which failures, after how long, and no more than the budget allows."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mirrord.errors import RateLimitedError, RegistryError
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, RequestRetried
from mirrord.registry.exchange import LONGEST_INLINE_WAIT_S
from mirrord.registry.retry import Backoff, RetryBudget

TRIES: Final = 4
RATE_LIMIT_TRIES: Final = 8

T = TypeVar("T")


class Retries:
    """Makes attempts at one registry. No place is held while it waits."""

    def __init__(
        self, *, host: str, budget: RetryBudget, clock: Clock, events: EventSink, jitter: random.Random
    ) -> None:
        """Make no attempt yet."""
        self._host = host
        self._budget = budget
        self._clock = clock
        self._events = events
        self._jitter = jitter

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make an attempt, and others after failures that may pass.

        Where the retry budget is used up, the retry waits for it: a registry in trouble sees few retries, and a
        request still gets its tries. A registry that asks to slow down is not in trouble; its pause paces the tries.

        Raises:
            RegistryError: the last failure.
        """
        backoff: Backoff | None = None
        tries = 0
        while True:
            tries += 1
            self._budget.request(self._clock.monotonic())
            try:
                return await attempt()
            except RegistryError as exc:
                limited = isinstance(exc, RateLimitedError)
                if not exc.retryable or tries >= (RATE_LIMIT_TRIES if limited else TRIES):
                    raise
                backoff = backoff or Backoff(self._jitter.random)
                wait_s = backoff.next_s(min(exc.retry_after_s or 0.0, LONGEST_INLINE_WAIT_S))
                self._events.emit(RequestRetried(host=self._host, reason=exc.code.lower(), wait_s=wait_s))
            await self._clock.sleep(wait_s)
            while not limited and not self._budget.allows_retry(self._clock.monotonic()):
                await self._clock.sleep(self._jitter.uniform(0.5, 1.5))
