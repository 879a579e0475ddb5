"""The journal of the state store: what waits for it, and what a cancelled write leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from sqlalchemy import Connection, select

from mirrord.ports.events import NullSink
from mirrord.state.database import Database
from mirrord.state.health import Health
from mirrord.state.journal import CHECKED, Journal
from mirrord.state.opening import ready_file
from mirrord.state.pending import Change
from mirrord.state.tables import FACTS
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Gated(Database):
    """Lets a write through when a test says so."""

    def __init__(self, path: Path) -> None:
        ready_file(path, START)
        super().__init__(path, Health(NullSink()))
        self.reached = anyio.Event()
        self.gate = anyio.Event()

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.reached.set()
        await self.gate.wait()
        return await super().write(work)

    def shut(self) -> None:
        self.reached, self.gate = anyio.Event(), anyio.Event()

    async def names(self) -> set[str]:
        return await self.read(lambda connection: set(connection.execute(select(FACTS.c.name)).scalars()) - {CHECKED})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Gated]:
    database = Gated(tmp_path / "state.db")
    yield database
    database.close()


def fact(name: str) -> Change:
    return Change(FACTS, {"name": name}, {"at": START, "value": True})


async def test_flush_waits_for_what_came_before_and_not_for_what_comes_meanwhile(database: Gated) -> None:
    """Rules that write for hours must not hold up the end of another rule's run, nor the page."""
    journal = Journal(database, FakeClock(), NullSink())
    flushed = anyio.Event()

    async def flush() -> None:
        await journal.flush()
        flushed.set()

    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.add(fact("before"))
        await database.reached.wait()
        group.start_soon(flush)
        await anyio.wait_all_tasks_blocked()
        journal.add(fact("meanwhile"))
        waits = not flushed.is_set()
        gate = database.gate
        database.shut()
        gate.set()
        with anyio.fail_after(5):
            await flushed.wait()
            await database.reached.wait()  # the next write stands, and nobody waits for it
        names = await database.names()
        database.gate.set()
        group.cancel_scope.cancel()

    assert waits
    assert names == {"before"}


async def test_what_was_being_written_when_the_process_ends_is_written_at_the_end(database: Gated) -> None:
    journal = Journal(database, FakeClock(), NullSink())

    async with anyio.create_task_group() as group:
        group.start_soon(journal.run)
        journal.add(fact("owned"))
        await database.reached.wait()
        group.cancel_scope.cancel()
    database.gate.set()
    await journal.finish()

    assert await database.names() == {"owned"}
