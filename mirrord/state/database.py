"""A file that is read and written in threads: readers do not wait for the writer, and see what is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from mirrord.errors import StateError, quote
from mirrord.state.engine import BUSY_S, begin_to_write, command, connect
from mirrord.state.health import Health
from mirrord.state.mapping import UnwritableError, mapped

T = TypeVar("T")

READERS = 2
"""Questions that are answered side by side: a long search keeps nobody from asking where a blob is."""


class Statements(Protocol):
    """Runs functions over a connection; ``health`` is told whether that works."""

    health: Health

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` finds; raises StateError."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction; raises StateError."""
        ...


class Database(Statements):
    """Runs functions over connections in threads, and says by ``health`` whether that works."""

    def __init__(self, path: Path, health: Health, *, busy_s: float = BUSY_S) -> None:
        """Work on the file at ``path``, which has all tables."""
        self.health = health
        self._path = path
        self._file = path.stat().st_ino
        self._writer = connect(path, busy_s=busy_s)
        event.listen(self._writer, "begin", begin_to_write)
        self._reader = connect(path, connections=READERS, busy_s=busy_s)
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(READERS)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` finds.

        Raises:
            StateError: the file cannot be read.
        """

        def run() -> T:
            with mapped("read"), _anew_after_failure(self._reader), self._reader.connect() as connection:
                return work(connection)

        with self._judged():
            return await anyio.to_thread.run_sync(run, limiter=self._reading)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, and return what it returns once that is committed.

        Raises:
            StateError: it could not be written, and nothing of it was; or the file has its name no more. The next
                transaction has a new connection: what SQLite may have in memory after a failed fsync is not to be
                trusted.
            UnwritableError: the file is well, but a value cannot be written.
        """

        def run() -> T:
            self._see_file()
            with mapped("write"), _anew_after_failure(self._writer), self._writer.begin() as connection:
                return work(connection)

        with self._judged():
            result = await anyio.to_thread.run_sync(run, limiter=self._writing)
        self.health.worked()
        return result

    async def vacuum(self, pages: int) -> None:
        """Give at most so many unused pages of the file back to the disk.

        Raises:
            StateError: the file cannot be written.
        """

        def run() -> None:
            with mapped("write"), _anew_after_failure(self._writer):
                command(self._writer, f"incremental_vacuum({pages:d})")

        with self._judged():
            await anyio.to_thread.run_sync(run, limiter=self._writing)

    async def check_file(self) -> None:
        """See that the file that is open still is the one that has the name.

        Raises:
            StateError: it was removed or replaced: what is written now is lost.
        """
        with self._judged():
            await anyio.to_thread.run_sync(self._see_file)

    def _see_file(self) -> None:
        try:
            found = self._path.stat().st_ino
        except OSError:
            found = None
        if found != self._file:
            raise StateError(
                f'the file of the state store, "{quote(str(self._path))}", was removed or replaced',
                remedy="start mirrord again, so that it opens the file that is there",
            )

    def close(self) -> None:
        """Close all connections; what the journal of SQLite holds goes into the file."""
        for engine in (self._reader, self._writer):
            with suppress(SQLAlchemyError):
                engine.dispose()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Have the health know of a failure of the file; a value that cannot be written is none."""
        try:
            yield
        except UnwritableError:
            raise
        except StateError as exc:
            self.health.failed(exc)
            raise


@contextmanager
def _anew_after_failure(engine: Engine) -> Iterator[None]:
    """Close the connections after a failure, so that the next question or change has a new one."""
    try:
        yield
    except BaseException:
        with suppress(SQLAlchemyError):
            engine.dispose()
        raise
