"""A state store read beside its owner: all that is committed is seen, and nothing is changed or left behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mirrord.errors import StateError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState, SeenDigest
from mirrord.ports.events import Noted
from mirrord.ports.memory import Memory
from mirrord.state import SqlState, open_memory, open_state
from mirrord.state.reading import ReadOnlyFile
from tests.fakes.clock import FakeClock
from tests.fakes.memory import Recorder

pytestmark = pytest.mark.anyio

SOURCE = Repository("source.test", "app")
TARGET = Repository("target.test", "app")
DIGEST = Digest.of(b"app")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
IMAGE = ImageMemory(
    key=ImageKey("1.0", TARGET, "1.0"), state=ImageState.IN_SYNC, digest=DIGEST, served=DIGEST, proven_at=NOW
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a state" / "state.db"


@asynccontextmanager
async def service(path: Path) -> AsyncIterator[SqlState]:
    """Have the store open, as its owner."""
    async with open_state(f"sqlite:///{path}", clock=FakeClock(), events=Recorder()) as state:
        yield state


@asynccontextmanager
async def beside(path: Path, events: Recorder | None = None) -> AsyncIterator[Memory]:
    """Read the store beside its owner; without ``events`` it must have nothing to tell."""
    told = events or Recorder()
    async with open_memory(f"sqlite:///{path}", clock=FakeClock(), events=told) as memory:
        yield memory
    assert events is not None or notes(told) == []


def notes(events: Recorder) -> list[str]:
    return [event.text for event in events.events if isinstance(event, Noted)]


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Take the right to write from the file and its directory."""
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        yield
    finally:
        path.parent.chmod(0o700)


async def fill(path: Path) -> None:
    """Leave a store with something of each kind."""
    async with service(path) as state:
        keep(state.memory)


def keep(memory: Memory) -> None:
    memory.keep_images("rule", SOURCE, [IMAGE])
    memory.keep_seen(SOURCE, [SeenDigest(tag="1.0", digest=DIGEST, first_seen=NOW)])
    memory.keep_created(DIGEST, NOW)
    memory.keep_holder(TARGET, DIGEST, NOW)
    memory.own("rule", TARGET, [Tag("1.0")], NOW)


async def known(memory: Memory) -> list[object]:
    """Return what is remembered, a question of each kind."""
    return [
        dict(await memory.images("rule", SOURCE)),
        {tag: list(seen) for tag, seen in (await memory.seen(SOURCE, ["1.0"])).items()},
        dict(await memory.created([DIGEST])),
        {digest: list(places) for digest, places in (await memory.holders(TARGET.host, [DIGEST])).items()},
    ]


ALL = [
    {IMAGE.key: IMAGE},
    {"1.0": [SeenDigest(tag="1.0", digest=DIGEST, first_seen=NOW)]},
    {DIGEST: NOW},
    {DIGEST: [TARGET]},
]


def files(path: Path) -> dict[str, bytes]:
    """Return all files of the store's directory with what is in them."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


async def test_closed_store_is_read_without_a_trace(path: Path) -> None:
    await fill(path)
    before = files(path)

    async with beside(path) as memory:
        found = await known(memory)

    assert found == ALL
    assert files(path) == before


async def test_store_in_a_directory_that_cannot_be_written_is_read(path: Path) -> None:
    await fill(path)
    with read_only(path):
        async with beside(path) as memory:
            found = await known(memory)

    assert found == ALL


async def test_store_is_read_while_a_service_has_it(path: Path) -> None:
    """What is committed is seen at once, and the owner goes on writing."""
    async with service(path) as state, beside(path) as memory:
        before = await known(memory)
        keep(state.memory)
        await state.memory.flush()
        after = await known(memory)
        await state.history.check()

    assert before == [{}, {}, {}, {}]
    assert after == ALL


async def test_store_whose_service_died_is_read_to_its_last_commit(path: Path, tmp_path: Path) -> None:
    left = tmp_path / "left" / path.name
    async with service(path) as state:
        keep(state.memory)
        await state.memory.flush()
        shutil.copytree(path.parent, left.parent)  # what a kill leaves

    async with beside(left) as memory:
        found = await known(memory)

    assert found == ALL


async def test_service_that_begins_or_ends_between_questions_is_noticed(path: Path) -> None:
    await fill(path)
    later = ImageMemory(key=IMAGE.key, state=ImageState.OUT_OF_SYNC, digest=DIGEST)
    async with beside(path) as memory:
        first = await memory.images("rule", SOURCE)
        async with service(path) as state:
            state.memory.keep_images("rule", SOURCE, [later])
            await state.memory.flush()
            second = await memory.images("rule", SOURCE)
        third = await memory.images("rule", SOURCE)

    assert first == {IMAGE.key: IMAGE}
    assert second == third == {IMAGE.key: later}


async def test_service_that_begins_within_a_question_has_it_asked_again(path: Path) -> None:
    """What was read as a file that nobody has open may be half of what the service wrote meanwhile."""
    await fill(path)
    owners: list[sqlite3.Connection] = []

    def work(connection: Connection) -> int:
        found = connection.execute(text("SELECT count(*) FROM owned")).scalar_one()
        if not owners:
            owners.append(sqlite3.connect(path, check_same_thread=False))
            owners[0].execute("DELETE FROM owned")
            owners[0].commit()
        return int(found)

    try:
        found = await ReadOnlyFile(path, Recorder()).read(work)
    finally:
        owners[0].close()

    assert found == 0


async def test_nothing_that_a_plan_finds_out_reaches_the_store(path: Path) -> None:
    await fill(path)
    before = files(path)
    other = Digest.of(b"other")

    async with beside(path) as memory:
        memory.drop_images("rule", SOURCE, [IMAGE.key])
        memory.drop_sources("rule", [])
        memory.drop_holder(TARGET, DIGEST)
        memory.keep_holder(TARGET, other, NOW)
        memory.keep_images("rule", TARGET, [IMAGE])
        memory.keep_seen(TARGET, [SeenDigest(tag="1.0", digest=other, first_seen=NOW)])
        memory.own("rule", TARGET, [Tag("2.0")], NOW)
        memory.keep_created(other, None)
        await memory.flush()
        created = await memory.created([DIGEST, other])
        found = await known(memory)

    assert memory.remembers
    assert created == {DIGEST: NOW, other: None}, "within one plan what was read is known"
    assert found == ALL
    assert files(path) == before


def damage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def older(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (Path.unlink, "there is no such file"),
        (damage, "file is not a database"),
        (empty, "it is empty"),
        (newer, "its tables are of version 9999, and this mirrord reads 0001"),
        (foreign, "it has the table recipes"),
        (directory, "it is no file"),
        (pipe, "it is no file"),
        (older, "its tables are of version 0000, and this mirrord reads 0001; the run would bring them forward"),
    ],
    ids=["missing", "damaged", "empty", "newer", "foreign", "directory", "pipe", "older"],
)
async def test_store_that_cannot_be_used_is_told_once_and_knows_nothing(path: Path, spoil: object, why: str) -> None:
    await fill(path)
    assert callable(spoil)
    spoil(path)
    before = sorted(path.parent.iterdir())
    events = Recorder()

    async with beside(path, events) as memory:
        found = await known(memory)

    assert found == [{}, {}, {}, {}]
    (note,) = notes(events)
    assert f'"{path}" is not used, this is planned as without memory' in note
    assert why in note
    assert sorted(path.parent.iterdir()) == before


async def test_place_that_may_not_be_looked_at_knows_nothing_and_is_told(tmp_path: Path) -> None:
    """As in a directory of another user's; a name that is too long fails likewise, for root too."""
    events = Recorder()

    async with beside(tmp_path / ("x" * 300), events) as memory:
        found = await known(memory)

    assert found == [{}, {}, {}, {}]
    (note,) = notes(events)
    assert note.endswith("it cannot be looked at: File name too long")


async def test_another_kind_of_database_is_refused_as_a_run_would() -> None:
    with pytest.raises(StateError) as caught:
        async with open_memory("postgresql://db/mirrord", clock=FakeClock(), events=Recorder()):
            pass

    assert caught.value.code == "STATE_URL_INVALID"
