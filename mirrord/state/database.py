"""A file that is read and written in threads, one statement after another on each of two connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine

from mirrord.state.mapping import mapped
from mirrord.state.opening import connect

T = TypeVar("T")


class Statements(Protocol):
    """Runs functions over a connection."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` finds; raises StateError."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction; raises StateError."""
        ...


class Database(Statements):
    """Runs functions over a connection. Readers do not wait for the writer, and see what is committed."""

    def __init__(self, path: Path, writer: Engine) -> None:
        """Work on the file at ``path``, which ``writer`` has open."""
        self.path = path
        self._writer = writer
        self._reader = connect(path)
        self._writing = anyio.CapacityLimiter(1)
        self._reading = anyio.CapacityLimiter(1)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` finds.

        Raises:
            StateError: the file cannot be read.
        """

        def run() -> T:
            with mapped("read"), self._reader.connect() as connection:
                return work(connection)

        return await anyio.to_thread.run_sync(run, limiter=self._reading)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, and return what it returns once that is committed.

        Raises:
            StateError: it could not be written, and nothing of it was. The next transaction has a new connection: what
                SQLite may have in memory after a failed fsync is not to be trusted.
        """

        def run() -> T:
            try:
                with mapped("write"), self._writer.begin() as connection:
                    return work(connection)
            except BaseException:
                self._writer.dispose()
                raise

        return await anyio.to_thread.run_sync(run, limiter=self._writing)

    def close(self) -> None:
        """Close both connections."""
        self._reader.dispose()
        self._writer.dispose()
