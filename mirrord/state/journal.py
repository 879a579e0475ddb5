"""Writes what is remembered soon after, and goes on trying where that fails: nobody who remembers waits or fails."""

from __future__ import annotations

import anyio

from mirrord.errors import StateError
from mirrord.oci.reference import Location
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, StateChanged
from mirrord.state.database import Statements
from mirrord.state.pending import Change, Pending
from mirrord.state.tables import IMAGES

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


class Journal:
    """Takes changes at once, and writes them as soon as there are any; what comes meanwhile goes along next time."""

    def __init__(self, database: Statements, clock: Clock, events: EventSink) -> None:
        """Begin with nothing to write."""
        self._database = database
        self._clock = clock
        self._events = events
        self._pending = Pending()
        self._writing = False
        self._error: str | None = None
        self._news = anyio.Event()
        self._progress = anyio.Event()

    @property
    def error(self) -> str | None:
        """Why nothing can be written at the moment; None: it can."""
        return self._error

    def add(self, change: Change) -> None:
        """Have a row written."""
        self._pending.add(change)
        self._news.set()

    def leave_sources(self, rule: str, left: frozenset[Location]) -> None:
        """Have all images of a rule forgotten whose source is not among ``left``."""
        self._pending.leave_sources(rule, frozenset(map(str, left)), IMAGES)
        self._news.set()

    async def flush(self) -> None:
        """Return when all that came so far is written, or cannot be."""
        while (self._pending or self._writing) and self._error is None:
            await self._progress.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._pending:
                taken = self._pending.take()
                if await self._write(taken):
                    wait_s = FIRST_WAIT_S
                    continue
                await self._clock.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def finish(self) -> None:
        """Write what is left, once, at the end."""
        while self._pending:
            if not await self._write(self._pending.take()):
                return

    async def _write(self, taken: Pending) -> bool:
        self._writing = True
        try:
            await self._database.write(lambda connection: taken.apply(connection, IMAGES))
        except StateError as exc:
            self._pending.put_back(taken)
            self._tell(str(exc))
            return False
        finally:
            self._writing = False
            self._progress.set()
            self._progress = anyio.Event()
        self._tell(None)
        return True

    def _tell(self, error: str | None) -> None:
        if (error is None) != (self._error is None):
            self._events.emit(StateChanged(error=error))
        self._error = error
        if error is not None:
            self._progress.set()
            self._progress = anyio.Event()
