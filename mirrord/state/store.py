"""Opens the state store of a process: locked, sound, with the newest tables, and written as long as it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.state.database import Database
from mirrord.state.journal import Journal
from mirrord.state.lock import StateLock
from mirrord.state.opening import open_file
from mirrord.state.place import path_of, prepare
from mirrord.state.recalling import SqlHistory
from mirrord.state.remembering import SqlMemory

FAREWELL_S = 10.0
"""How long the end of the process may wait for what is still to be written."""

REBUILT = "state_rebuilt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlState:
    """The state store while it is open. ``rebuilt``: it was damaged, and had to be made anew when it was opened."""

    memory: SqlMemory
    history: SqlHistory
    rebuilt: bool = False


@asynccontextmanager
async def open_state(url: str, *, clock: Clock, events: EventSink) -> AsyncIterator[SqlState]:
    """Open the state store that a URL names, for this process alone.

    A file that is damaged is set aside and a new one made: what it knew is lost, which costs time, and the ownership of
    what rules created.

    Args:
        url: ``sqlite://`` and a path.
        clock: time.
        events: told when the store cannot be written any more, and when it can be again.

    Raises:
        StateError: another process has it (STATE_LOCKED), its place cannot be used (STATE_PATH_INVALID), it is of a
            newer mirrord (STATE_NEWER), or it cannot be opened.
    """
    path = path_of(url)
    await anyio.to_thread.run_sync(prepare, path)
    with StateLock(path, clock.now()):
        engine, rebuilt = await anyio.to_thread.run_sync(open_file, path, clock.now())
        database = Database(path, engine)
        journal = Journal(database, clock, events)
        history = SqlHistory(database, journal, clock)
        state = SqlState(memory=SqlMemory(database, journal, clock), history=history, rebuilt=rebuilt)
        if rebuilt:
            text = f"the state store {path} was damaged; it was set aside and made anew: nothing is owned any more"
            events.emit(Noted(what=REBUILT, text=text))
        try:
            await history.close_runs()
            async with anyio.create_task_group() as group:
                group.start_soon(journal.run)
                try:
                    yield state
                finally:
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(FAREWELL_S):
                await journal.finish()
            database.close()
