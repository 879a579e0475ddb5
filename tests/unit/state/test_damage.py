# ruff: noqa: ASYNC240 - files of tests are small
"""A store that is damaged or gone is set aside and made anew, and that is told; one that is well never is."""

from __future__ import annotations

import shutil
import struct
from datetime import timedelta
from pathlib import Path

import pytest

from mirrord.errors import StateError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.memory import ImageMemory
from mirrord.state.opening import KEPT_DAMAGED, Found, ready_file
from tests.fakes.clock import START, FakeClock
from tests.fakes.states import ONE, SOURCE, TARGET, Seen, image, locked, opened, sql

pytestmark = pytest.mark.anyio

MANY = 400


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A store that knows something, closed."""
    await fill(tmp_path)
    return tmp_path / "state.db"


async def fill(directory: Path, name: str = "mirror/app") -> None:
    target = Repository("target.test", name)
    async with opened(directory) as state:
        state.memory.keep_images("rule", SOURCE, [image(f"{n}", target) for n in range(MANY)])
        state.memory.own("rule", target, [Tag("1.0")], START)


async def reopen(file: Path) -> tuple[bool, Seen, int, bool]:
    """Return whether the store was made anew, what was told, how many images it knows, and whether it owns any."""
    seen = Seen()
    async with opened(file.parent, events=seen) as state:
        known = await state.memory.images("rule", SOURCE)
        owned = await state.history.owned("rule")
        await state.history.check()
        return state.rebuilt, seen, len(known), bool(owned)


def set_aside(file: Path) -> list[str]:
    return sorted(found.name for found in file.parent.glob("state.db.damaged-*"))


@pytest.mark.covers("C43")
async def test_store_that_is_well_is_opened_as_it_is(file: Path) -> None:
    rebuilt, seen, known, owned = await reopen(file)

    assert (rebuilt, seen.events, known, owned) == (False, [], MANY, True)
    assert set_aside(file) == []


async def test_new_store_is_not_told_as_a_lost_one(tmp_path: Path) -> None:
    rebuilt, seen, _, _ = await reopen(tmp_path / "state.db")

    assert (rebuilt, seen.events) == (False, [])


async def test_empty_file_that_somebody_made_is_taken_as_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()

    rebuilt, seen, _, _ = await reopen(tmp_path / "state.db")

    assert (rebuilt, seen.events) == (False, [])


@pytest.mark.covers("D84", "C43")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"\x07" * len(content), id="other-bytes"),
        pytest.param(lambda content: b"<html>no database</html>", id="a-page"),
        pytest.param(lambda content: b"\0" * len(content), id="zero-bytes"),
        pytest.param(lambda content: content[: len(content) // 2], id="half-of-it"),
        pytest.param(lambda content: content[:50], id="half-a-header"),
        pytest.param(lambda content: content[:-4096], id="a-page-is-missing"),
        pytest.param(lambda content: content[:4096] + b"\xff" * 8192 + content[12288:], id="pages-in-the-middle"),
        pytest.param(lambda content: content[:100] + b"\0" * 3996 + content[4096:], id="no-schema"),
    ],
)
async def test_damaged_file_is_set_aside_and_a_new_one_owns_nothing(file: Path, damage: object) -> None:
    assert callable(damage)
    broken = damage(file.read_bytes())
    file.write_bytes(broken)

    rebuilt, seen, known, owned = await reopen(file)

    assert (rebuilt, seen.notes, known, owned) == (True, ["state_rebuilt"], 0, False)
    (name,) = set_aside(file)
    assert (file.parent / name).read_bytes() == broken


@pytest.mark.covers("D84")
@pytest.mark.parametrize("how", ["removed", "emptied"])
async def test_file_that_is_gone_is_told(file: Path, how: str) -> None:
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(b"")

    rebuilt, seen, known, owned = await reopen(file)

    assert (rebuilt, seen.notes, known, owned) == (True, ["state_rebuilt"], 0, False)
    assert set_aside(file) == []
    assert not (await reopen(file))[0]


@pytest.mark.covers("D84")
async def test_journal_that_was_left_without_its_file_is_set_aside(file: Path) -> None:
    journal = file.with_name("state.db-wal")
    journal.write_bytes(b"frames of what is gone")
    file.unlink()

    rebuilt, _, known, _ = await reopen(file)

    assert (rebuilt, known) == (True, 0)
    assert set_aside(file) == ["state.db.damaged-20260101T000000-wal"]


async def killed_copy(directory: Path, copy: Path, name: str = "mirror/app") -> Path:
    """Return a copy of an open store as a kill would leave it: with its journal."""
    copy.mkdir()
    async with opened(directory) as state:
        await state.memory.flush()
        state.memory.keep_images("rule", SOURCE, [image(f"late {n}", Repository("t.test", name)) for n in range(MANY)])
        await state.memory.flush()
        for suffix in ("", "-wal"):
            shutil.copy(directory / f"state.db{suffix}", copy / f"state.db{suffix}")
    assert (copy / "state.db-wal").stat().st_size > 0
    return copy / "state.db"


async def test_journal_of_a_killed_process_is_read(file: Path, tmp_path: Path) -> None:
    copy = await killed_copy(tmp_path, tmp_path / "copy")

    rebuilt, _, known, owned = await reopen(copy)

    assert (rebuilt, known, owned) == (False, 2 * MANY, True)


@pytest.mark.covers("D84")
async def test_file_whose_journal_is_missing_is_as_it_was_before(file: Path, tmp_path: Path) -> None:
    copy = await killed_copy(tmp_path, tmp_path / "copy")
    (copy.parent / "state.db-wal").unlink()

    rebuilt, _, known, owned = await reopen(copy)

    assert (rebuilt, known, owned) == (False, MANY, True)


@pytest.mark.covers("D84")
async def test_journal_of_another_store_is_not_mixed_in(file: Path, tmp_path: Path) -> None:
    """Its frames are valid, SQLite takes them, and where they are of every page what comes out is well formed."""
    foreign = await killed_copy(tmp_path / "other", tmp_path / "copy", "mirror/other")
    shutil.copy(foreign.with_name("state.db-wal"), file.with_name("state.db-wal"))

    rebuilt, seen, known, owned = await reopen(file)

    assert (rebuilt, seen.notes, known, owned) == (True, ["state_rebuilt"], 0, False)


@pytest.mark.covers("D84")
@pytest.mark.parametrize("content", [b"", b"no journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\1" * 600])
async def test_hot_journal_without_sense_harms_nothing(file: Path, content: bytes) -> None:
    """`state.db-journal` is what SQLite would leave in another mode, or something else by that name."""
    file.with_name("state.db-journal").write_bytes(content)

    rebuilt, _, known, owned = await reopen(file)

    assert (rebuilt, known, owned) in [(False, MANY, True), (True, 0, False)]


async def test_index_that_disagrees_with_its_table_is_found_after_a_kill(file: Path) -> None:
    """As after a write-ahead log was lost in the middle of a checkpoint; the quick check does not see it.

    Index and table have as many rows as each other: newer releases of SQLite count them in the quick check too.
    """
    sql(file, "INSERT INTO created VALUES ('a', 1, 1)")
    sql(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    sql(file, "UPDATE created SET kept_at = 2")
    sql(file, "PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = sql(file, "SELECT rootpage FROM sqlite_schema WHERE name = 'created_by_age'")
    assert isinstance(page, int)
    place = slice((page - 1) * 4096, page * 4096)
    mixed = bytearray(file.read_bytes())
    mixed[place] = before[place]
    file.write_bytes(mixed)
    assert sql(file, "PRAGMA quick_check") == [("ok",)]
    file.with_name("state.db-wal").write_bytes(b"no frame")

    rebuilt, _, known, _ = await reopen(file)

    assert (rebuilt, known) == (True, 0)


async def test_only_the_newest_damaged_files_are_kept(file: Path) -> None:
    for day in range(KEPT_DAMAGED + 2):
        file.write_bytes(b"damage %d" % day)
        file.with_name("state.db-wal").write_bytes(b"journal")
        async with opened(file.parent, clock=FakeClock(START + timedelta(days=day))):
            pass

    kept = {name[:30] for name in set_aside(file)}
    assert kept == {f"state.db.damaged-202601{day:02}T0000" for day in (3, 4, 5)}


@pytest.mark.covers("D84")
async def test_file_that_another_program_has_locked_is_refused_and_not_set_aside(file: Path) -> None:
    with locked(file), pytest.raises(StateError, match="locked") as caught:
        async with opened(file.parent, busy_s=0.05):
            pytest.fail("it was opened")

    assert caught.value.code == "STATE_UNUSABLE"
    assert set_aside(file) == []
    assert (await reopen(file))[2] == MANY


async def test_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    sql(file, "CREATE TABLE invoices (id INTEGER)")

    with pytest.raises(StateError, match="it has the table invoices") as caught:
        await reopen(file)

    assert caught.value.code == "STATE_PATH_INVALID"
    assert set_aside(file) == []
    assert sql(file, "SELECT name FROM sqlite_schema WHERE name = 'invoices'") == [("invoices",)]


async def test_damage_while_it_is_open_is_told_and_mended_by_the_next_start(file: Path) -> None:
    seen = Seen()
    async with opened(file.parent, events=seen) as state:
        await state.memory.flush()
        content = file.read_bytes()
        file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

        assert await state.memory.images("rule", SOURCE) == {}
        with pytest.raises(StateError, match="malformed") as caught:
            await state.history.owned("rule")

    assert "start mirrord again" in caught.value.remedy
    assert seen.errors[0] is not None
    assert (await reopen(file))[0]


async def test_row_that_cannot_be_read_is_left_out(file: Path) -> None:
    """Written by another version, or by hand."""
    statement = "UPDATE images SET {} WHERE ref = '{}'"
    for number, change in enumerate(
        ["state = 'unheard of'", "target = 'No Repository'", "digest = 'md5:1'", "subjects = x'ff'", "digest = 5"]
    ):
        sql(file, statement.format(change, number))
    sql(file, statement.format("proven_at = 'yesterday', first_seen = 9223372036854775807", 10))

    async with opened(file.parent) as state:
        known = {key.ref: found for key, found in (await state.memory.images("rule", SOURCE)).items()}

    odd: ImageMemory = known["10"]
    assert len(known) == MANY - 5
    assert (odd.proven_at, odd.first_seen, odd.served) == (None, None, ONE)


def test_header_names_the_store(tmp_path: Path) -> None:
    """The number of a store stands in the file itself as soon as it is made: by it a foreign journal is known."""
    numbers = set()
    for name in ("a.db", "b.db"):
        assert ready_file(tmp_path / name, START) is Found.SOUND
        numbers.add(struct.unpack(">I", (tmp_path / name).read_bytes()[60:64])[0])

    assert len(numbers - {0}) == 2


async def test_file_is_readable_for_its_user_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        state.memory.keep_holder(TARGET, ONE, START)
        await state.memory.flush()
        modes = {found.name: found.stat().st_mode & 0o777 for found in tmp_path.iterdir()}

    assert modes.pop("state.db-wal") == 0o600
    assert set(modes.values()) == {0o600}
