"""Reads a state store that may be open elsewhere, for plans: nothing is locked, written or made beside the file."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mirrord.errors import StateError, quote
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted, NullSink
from mirrord.ports.memory import Memory, ReadOnlyMemory
from mirrord.state.database import Statements
from mirrord.state.engine import BUSY_S
from mirrord.state.health import Health
from mirrord.state.journal import Journal
from mirrord.state.mapping import mapped
from mirrord.state.place import look_at, path_of
from mirrord.state.remembering import SqlMemory
from mirrord.state.schema import SCHEMA, version_of

UNREAD = "state_unread"

T = TypeVar("T")


@asynccontextmanager
async def open_memory(url: str, *, clock: Clock, events: EventSink) -> AsyncIterator[Memory]:
    """Open what a state store remembers, without the lock and without any change, also while a service runs on it.

    Where nothing can be read, it knows nothing, as a new store does, and a note says why.

    Args:
        url: ``sqlite://`` and a path.
        clock: time.
        events: told why nothing is known.

    Raises:
        StateError: the URL names another kind of database.
    """
    reading = ReadOnlyFile(path_of(url), events)
    # Nothing ever reaches the journal: what would be kept ends in front of it.
    yield ReadOnlyMemory(SqlMemory(reading, Journal(reading, clock, events), clock))


class ReadOnlyFile(Statements):
    """Opens the file anew for each question: a service that begins or ends meanwhile changes how it is to be read."""

    def __init__(self, path: Path, events: EventSink) -> None:
        """Read the file at ``path``; ``events`` is told once why that is not possible."""
        self._path = path
        self._events = events
        self.health = Health(NullSink())  # that it cannot be read is told as a note
        self._told = False
        self._one = anyio.CapacityLimiter(1)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` finds.

        Raises:
            StateError: there is no file, it is of another version, or it cannot be read.
        """
        try:
            return await anyio.to_thread.run_sync(self._read, work, limiter=self._one)
        except StateError as exc:
            if not self._told:
                text = f'"{quote(str(self._path))}" is not used, this is planned as without memory: {exc.message}'
                self._events.emit(Noted(what=UNREAD, text=text, is_unasked=not isinstance(exc, _NothingYetError)))
            self._told = True
            raise

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Refuse."""
        del work
        raise StateError("a plan writes nothing")

    def _read(self, work: Callable[[Connection], T]) -> T:
        self._check_place()
        with mapped("read"):
            if self._is_open():
                return self._ask(work, "mode=ro")
            try:
                answer = self._ask(work, "immutable=1")
            except SQLAlchemyError:
                if not self._is_open():
                    raise
            else:
                if not self._is_open():
                    return answer
            return self._ask(work, "mode=ro")  # a service came in between, and may have changed what was read

    def _check_place(self) -> None:
        try:
            found = look_at(self._path)
        except OSError as exc:  # a directory on the way is another user's
            raise StateError(f"it cannot be looked at: {exc.strerror}") from exc
        if found is None:
            raise _NothingYetError("there is no such file")
        if not stat.S_ISREG(found.st_mode):
            raise StateError("it is no file")

    def _is_open(self) -> bool:
        """Say whether somebody has the store open, or died with it: then the newest is in the write-ahead log.

        Without one the file is all there is, and SQLite would make a log that it cannot take away again.
        Source: https://sqlite.org/wal.html, "Read-Only Databases".
        """
        return look_at(self._path.with_name(f"{self._path.name}-wal")) is not None

    def _ask(self, work: Callable[[Connection], T], how: str) -> T:
        address = f"{self._path.absolute().as_uri()}?{how}"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(address, uri=True, timeout=BUSY_S)

        # The pool has nothing to keep: the connection is closed in the thread that opened it.
        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
        with engine.connect() as connection:
            _check(version_of(connection, self._path))
            return work(connection)


class _NothingYetError(StateError):
    """There is no store, or nothing in it: so it is before the first run, and nobody is surprised."""


def _check(version: str | None) -> None:
    if version is None:
        raise _NothingYetError("it is empty")
    if version != SCHEMA.head:
        then = "refuse it (STATE_NEWER)" if version > SCHEMA.head else "bring them forward, and use it"
        tables = f"its tables are of version {quote(version, 20)}, and this mirrord reads {SCHEMA.head}"
        raise StateError(f"{tables}; the run would {then}")
