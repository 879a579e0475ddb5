"""The places at a registry, for which runs take turns: one that wants thousands holds up no other that wants one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType

import anyio
import anyio.lowlevel

from mirrord.ports.turns import ON_BEHALF_OF


@dataclass(slots=True, eq=False)
class _Waiter:
    called: anyio.Event = field(default_factory=anyio.Event)


class FairPlaces:
    """A number of places. Waiters of one run are served in their order, and runs one after another.

    A place that is given back goes straight to whoever is next: nobody who comes later can take it before.
    """

    def __init__(self, places: int) -> None:
        """Have ``places`` free."""
        self._free = places
        self._total = places
        self._waiting: dict[str, deque[_Waiter]] = {}

    @property
    def free(self) -> int:
        """How many are free."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    def acquire_nowait(self) -> bool:
        """Take a place if one is free at once, and say so."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Take a place, if need be after others."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self.acquire_nowait():
            return
        run, waiter = ON_BEHALF_OF.get(), _Waiter()
        self._waiting.setdefault(run, deque()).append(waiter)
        try:
            await waiter.called.wait()
        except BaseException:
            if waiter.called.is_set():
                self.release()
            else:
                self._leave(run, waiter)
            raise

    def release(self) -> None:
        """Give a place back.

        Raises:
            ValueError: none was taken.
        """
        if not self._waiting:
            if self._free == self._total:
                raise ValueError("more places were given back than taken")
            self._free += 1
            return
        run = next(iter(self._waiting))
        mine = self._waiting.pop(run)
        mine.popleft().called.set()
        if mine:
            self._waiting[run] = mine  # behind the other runs

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _leave(self, run: str, waiter: _Waiter) -> None:
        mine = self._waiting[run]
        mine.remove(waiter)
        if not mine:
            del self._waiting[run]
