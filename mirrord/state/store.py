"""Opens the state store of a process: locked, sound, with the newest tables, and written as long as it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.state.database import Database
from mirrord.state.engine import BUSY_S
from mirrord.state.health import Health
from mirrord.state.journal import Journal
from mirrord.state.lock import StateLock
from mirrord.state.mapping import mapped
from mirrord.state.opening import Found, ready_file
from mirrord.state.place import path_of, prepare
from mirrord.state.recalling import SqlHistory
from mirrord.state.remembering import SqlMemory

FAREWELL_S = 10.0
"""How long the end of the process may wait for what is still to be written."""

REBUILT = "state_rebuilt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlState:
    """The state store while it is open.

    ``rebuilt``: it was damaged or gone, and had to be made anew when it was opened. Nothing is owned then.
    """

    memory: SqlMemory
    history: SqlHistory
    path: Path
    rebuilt: bool = False


@asynccontextmanager
async def open_state(url: str, *, clock: Clock, events: EventSink, busy_s: float = BUSY_S) -> AsyncIterator[SqlState]:
    """Open the state store that a URL names, for this process alone.

    A file that is damaged is set aside and a new one made: what it knew is lost, which costs time, and the ownership of
    what rules created.

    Args:
        url: ``sqlite://`` and a path: `mirrord.state.place.path_of`.
        clock: time.
        events: told when the store cannot be used any more, and when it can be again.
        busy_s: how long to wait, in seconds, where another program has the file locked.

    Raises:
        StateError: another process has it (STATE_LOCKED), its place cannot be used (STATE_PATH_INVALID), it is of a
            newer mirrord (STATE_NEWER), or it cannot be opened.
    """
    path = await anyio.to_thread.run_sync(prepare, path_of(url))
    with StateLock(path, clock.now()) as lock:
        found = await anyio.to_thread.run_sync(
            lambda: ready_file(path, clock.now(), was_used=lock.was_used, busy_s=busy_s)
        )
        lock.sign()
        if found is not Found.SOUND:
            text = f"the state store {path} {found.value}; a new one is made: nothing counts as created by mirrord"
            events.emit(Noted(what=REBUILT, text=text))
        with mapped("open"):
            database = Database(path, Health(events), busy_s=busy_s)
        try:
            async with _written(Journal(database, clock, events)) as journal:
                history = SqlHistory(database, journal, clock)
                # A reader that is there from the start can go on where the disk becomes full.
                await history.rules()
                await history.close_runs()
                memory = SqlMemory(database, journal, clock)
                yield SqlState(memory=memory, history=history, path=path, rebuilt=found is not Found.SOUND)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(database.close)


@asynccontextmanager
async def _written(journal: Journal) -> AsyncIterator[Journal]:
    """Have a journal written while the context lasts, and what is left of it at the end.

    An error of the body comes out as it is, and in no group.
    """
    error: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(journal.run)
            try:
                yield journal
            except BaseException as exc:
                if isinstance(exc, anyio.get_cancelled_exc_class()):
                    raise
                error = exc  # raised again outside of the group
            finally:
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL_S):
            await journal.finish()
    if error is not None:
        raise error
