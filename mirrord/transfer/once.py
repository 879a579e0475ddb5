"""One worker a key: whoever comes second waits for the first, and shares its result or its failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

import anyio

from mirrord.errors import LeaderFailedError


@dataclass(slots=True)
class _Attempt:
    finished: anyio.Event = field(default_factory=anyio.Event)
    error: Exception | None = None


class KeyedOnce:
    """Runs work once a key. Failure is shared; cancellation is not: a waiter takes over from a cancelled worker.

    Lives for one run: what was done is believed until the run ends.
    """

    def __init__(self) -> None:
        self._done: set[Hashable] = set()
        self._running: dict[Hashable, _Attempt] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[None]]) -> bool:
        """Have ``work`` done for ``key``; say whether this call did it.

        Raises:
            LeaderFailedError: another call's work for the key failed while this one waited for it.
            Exception: what ``work`` raised, if this call did it.
        """
        while key not in self._done:
            if (leader := self._running.get(key)) is not None:
                await leader.finished.wait()
                if leader.error is not None:
                    raise LeaderFailedError.of(leader.error) from leader.error
                continue
            attempt = self._running[key] = _Attempt()
            try:
                await work()
                self._done.add(key)
                return True
            except Exception as exc:
                attempt.error = exc
                raise
            finally:
                del self._running[key]
                attempt.finished.set()
        return False
