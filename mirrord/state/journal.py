"""Writes what is remembered soon after, and goes on trying where that fails: nobody who remembers waits or fails."""

from __future__ import annotations

from collections.abc import Collection

import anyio
from sqlalchemy import Connection, Table

from mirrord.errors import StateError
from mirrord.oci.reference import Location
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.state.database import Statements
from mirrord.state.engine import upsert
from mirrord.state.mapping import UnwritableError
from mirrord.state.pending import Change, Pending
from mirrord.state.tables import FACTS, HOLDERS, IMAGES

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

ROW_DROPPED = "state_row_dropped"
CHECKED = "checked"
"""The fact that tells when something was last written."""


class Journal:
    """Takes changes at once, and writes them as soon as there are any; what comes meanwhile goes along next time."""

    def __init__(self, database: Statements, clock: Clock, events: EventSink) -> None:
        """Begin with nothing to write."""
        self._database = database
        self._health = database.health
        self._clock = clock
        self._events = events
        # Where blobs are is what spares most after a crash, therefore it is written before all else.
        self._pending = Pending(IMAGES, urgent=frozenset({HOLDERS.name}))
        self._flying = Pending(IMAGES)
        self._news = anyio.Event()
        self._progress = anyio.Event()

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return len(self._pending) + len(self._flying)

    def add(self, change: Change) -> None:
        """Have a row written."""
        self._pending.add(change)
        self._news.set()

    def leave_sources(self, rule: str, left: Collection[Location]) -> None:
        """Have all images of a rule forgotten whose source is not among ``left``."""
        self._pending.leave_sources(rule, frozenset(map(str, left)))
        self._news.set()

    def leave_rules(self, left: Collection[str]) -> None:
        """Write no images of other rules than these."""
        self._pending.leave_rules(left)

    async def flush(self) -> bool:
        """Return when all that came before is written, or cannot be at the moment, and which of both."""
        last = self._pending.last
        while self._health.error is None:
            numbers = [number for part in (self._pending, self._flying) if (number := part.oldest) is not None]
            if min(numbers, default=last + 1) > last:
                return True
            await self._progress.wait()
        return False

    async def settle(self, *tables: Table) -> bool:
        """Return whether what is in these tables is all that is to stand there, once that can be said."""
        if not self._pending.concerns(tables) and not self._flying.concerns(tables):
            return True
        return await self.flush()

    async def run(self) -> None:
        """Write until cancelled; while the store fails, see from time to time whether it works again."""
        wait_s = FIRST_WAIT_S
        while True:
            await self._wait_for_work()
            while self._pending or self._health.error is not None:
                if await self._attempt():
                    wait_s = FIRST_WAIT_S
                    continue
                await self._pause(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def finish(self) -> None:
        """Write what is left, once, at the end."""
        while self._pending and await self._attempt():
            pass

    async def probe(self) -> None:
        """Write something small.

        Raises:
            StateError: that fails.
        """
        await self._database.write(self._sign)

    def _sign(self, connection: Connection) -> None:
        """Write down that the store takes something now."""
        upsert(connection, FACTS, [{"name": CHECKED, "at": self._clock.now()}])

    async def _wait_for_work(self) -> None:
        """Return when there is something to write, or the store has come to fail."""
        async with anyio.create_task_group() as group:

            async def wait_for(event: anyio.Event) -> None:
                await event.wait()
                group.cancel_scope.cancel()

            if self._pending or self._health.error is not None:
                return
            self._news = anyio.Event()
            group.start_soon(wait_for, self._news)
            group.start_soon(wait_for, self._health.changed)

    async def _pause(self, seconds: float) -> None:
        """Wait; shorter, if the store is seen to work meanwhile."""
        async with anyio.create_task_group() as group:

            async def sleep() -> None:
                await self._clock.sleep(seconds)
                group.cancel_scope.cancel()

            group.start_soon(sleep)
            if self._health.error is not None:
                await self._health.changed.wait()
            group.cancel_scope.cancel()

    async def _attempt(self) -> bool:
        """Write some of what waits, or try whether anything can be written; return whether that worked."""
        self._flying = self._pending.take()
        try:
            if self._flying:
                await self._write(self._flying)
            else:
                await self.probe()
        except StateError:
            self._pending.put_back(self._flying)
            return False
        except BaseException:  # cancelled before it began: what is left is written at the end
            self._pending.put_back(self._flying)
            raise
        finally:
            self._flying = Pending(IMAGES)
            self._progress.set()
            self._progress = anyio.Event()
        return True

    async def _write(self, part: Pending) -> None:
        """Write rows together; where one of them cannot be written at all, the others, and not that one.

        Raises:
            StateError: the store fails.
        """

        def work(connection: Connection) -> None:
            part.apply(connection)
            self._sign(connection)

        try:
            await self._database.write(work)
        except UnwritableError as exc:
            halves = list(part.halves())
            for half in halves:
                await self._write(half)
            if not halves:
                self._events.emit(Noted(what=ROW_DROPPED, text=f"something cannot be remembered: {exc.message}"))
