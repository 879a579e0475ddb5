"""What is kept is written soon, goes on being tried while the disk refuses, and never comes in the way of a run."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mirrord.errors import StateError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.memory import ImageState, SeenDigest
from mirrord.planning.status import QuotaStatus
from mirrord.state import SqlState
from mirrord.state.database import Database
from mirrord.state.pending import ROWS_AT_ONCE
from tests.fakes.clock import START, FakeClock
from tests.fakes.states import DAY, ONE, SOURCE, TARGET, Seen, full_disk, image, locked, opened, run, sql, until

pytestmark = pytest.mark.anyio

OTHER = Repository("source.test", "other")


def rows(file: Path, table: str = "images") -> int:
    """Return how many rows another program sees."""
    return len(sql(file, f"SELECT 1 FROM {table}"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def broken(state: SqlState, seen: Seen, clock: FakeClock) -> None:
    """Keep an image while nothing can be written, and return when that was noticed."""
    state.memory.keep_images("rule", SOURCE, [image("1.0")])
    await until(lambda: bool(seen.errors) and bool(clock.slept))


async def test_what_is_kept_is_in_the_file_without_anybody_asking(file: Path) -> None:
    async with opened(file.parent) as state:
        state.memory.keep_holder(TARGET, ONE, START)

        await until(lambda: rows(file, "holders") == 1)


async def test_what_is_left_is_written_at_the_end(file: Path) -> None:
    async with opened(file.parent) as state:
        state.memory.keep_images("rule", SOURCE, [image(f"{n}") for n in range(3 * ROWS_AT_ONCE)])

    assert rows(file) == 3 * ROWS_AT_ONCE


async def test_what_is_left_is_written_also_where_the_body_fails(file: Path) -> None:
    """The error comes out as it was raised, and in no group."""

    async def body() -> None:
        async with opened(file.parent) as state:
            state.memory.keep_images("rule", SOURCE, [image("1.0")])
            raise StateError("of the body")

    with pytest.raises(StateError, match="of the body"):
        await body()

    assert rows(file) == 1


async def test_what_is_left_is_written_also_where_the_body_is_cancelled(file: Path) -> None:
    with anyio.CancelScope() as scope:
        async with opened(file.parent) as state:
            for number in range(3 * ROWS_AT_ONCE):
                state.memory.keep_images("rule", SOURCE, [image(f"{number}")])
            await until(lambda: rows(file) > 0)
            scope.cancel()
            await anyio.sleep_forever()

    assert rows(file) == 3 * ROWS_AT_ONCE


async def test_flush_ends_though_others_go_on_keeping(file: Path) -> None:
    async with opened(file.parent) as state, anyio.create_task_group() as group:

        async def keep_on() -> None:
            number = 0
            while True:
                number += 1
                state.memory.keep_images("rule", OTHER, [image(f"{number}")])
                await anyio.lowlevel.checkpoint()

        group.start_soon(keep_on)
        state.memory.keep_images("rule", SOURCE, [image("1.0")])
        with anyio.fail_after(10):
            await state.memory.flush()
        group.cancel_scope.cancel()

    assert sql(file, "SELECT ref FROM images WHERE source = ?", str(SOURCE)) == [("1.0",)]


async def test_places_of_blobs_are_written_before_what_waits_longer(file: Path) -> None:
    async with opened(file.parent) as state:
        state.memory.keep_images("rule", SOURCE, [image(f"{n}") for n in range(50 * ROWS_AT_ONCE)])
        state.memory.keep_holder(TARGET, ONE, START)
        await until(lambda: rows(file, "holders") == 1)
        behind = rows(file)

    assert behind < 10 * ROWS_AT_ONCE
    assert rows(file) == 50 * ROWS_AT_ONCE


async def test_others_have_their_turn_between_any_two_transactions(file: Path) -> None:
    """However much is kept, the event loop goes on: it is written in threads, a bounded number of rows at once."""
    turns = 0
    async with opened(file.parent) as state:
        state.memory.keep_images("rule", SOURCE, [image(f"{n}") for n in range(20 * ROWS_AT_ONCE)])
        async with anyio.create_task_group() as group:

            async def count() -> None:
                nonlocal turns
                while True:
                    await anyio.lowlevel.checkpoint()
                    turns += 1

            group.start_soon(count)
            await state.memory.flush()
            group.cancel_scope.cancel()

    assert turns > 20
    assert rows(file) == 20 * ROWS_AT_ONCE


@pytest.mark.covers("C44", "D81")
async def test_disk_that_refuses_is_told_once_and_what_waits_is_written_later(file: Path) -> None:
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        await state.memory.flush()
        with full_disk():
            await broken(state, seen, clock)
            for number in range(3):
                state.memory.keep_images("rule", SOURCE, [image(f"2.{number}")])
                clock.advance(60)
                tries = len(clock.slept)
                await until(lambda tries=tries: len(clock.slept) > tries)  # type: ignore[misc]
            during = list(seen.errors)
        clock.advance(60)
        await until(lambda: len(seen.errors) == 2)
        await state.memory.flush()

        assert len(await state.memory.images("rule", SOURCE)) == 4
    assert [type(error) for error in during] == [str]
    assert seen.errors[1] is None
    assert clock.slept[:4] == [1, 2, 4, 8]


@pytest.mark.covers("C44")
async def test_questions_know_nothing_rather_than_something_old_while_writing_fails(file: Path) -> None:
    """What waits may contradict what is in the file: a proof there may be void."""
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        state.memory.keep_images("rule", SOURCE, [image("1.0")])
        state.memory.keep_created(ONE, START)
        await state.memory.flush()
        with full_disk():
            failed = replace(image("1.0"), state=ImageState.FAILED, proven_at=None)
            state.memory.keep_images("rule", SOURCE, [failed])
            await until(lambda: bool(seen.errors))

            with anyio.fail_after(5):
                assert await state.memory.images("rule", SOURCE) == {}
                assert await state.memory.created([ONE]) == {ONE: START}
                await state.memory.flush()
            with pytest.raises(StateError):
                await state.history.summary("rule")
            with pytest.raises(StateError):
                await state.history.save_run(run(1), looked=True)
            clock.advance(0.001)  # SQLite writes nothing where nothing changes
            with pytest.raises(StateError):
                await state.history.check()


@pytest.mark.covers("D85")
async def test_failed_write_is_not_followed_by_one_on_the_same_connection(file: Path) -> None:
    """After a failed fsync SQLite's memory may hold what the disk does not."""
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        await state.memory.flush()
        database = state.memory._database
        assert isinstance(database, Database)
        connections = database._writer.pool
        with full_disk():
            await broken(state, seen, clock)
        after = database._writer.pool

    assert after is not connections


async def test_store_that_works_again_is_noticed_by_a_question_of_the_service(file: Path) -> None:
    """And what waits is written at once, not only after the longest wait."""
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        await state.memory.flush()
        with full_disk():
            await broken(state, seen, clock)

        await state.history.check()
        await until(lambda: rows(file) == 1)

    assert seen.errors[1:] == [None]


async def test_failed_question_of_the_service_is_seen_to_be_over_without_new_rows(file: Path) -> None:
    seen, clock = Seen(), FakeClock()
    async with opened(file.parent, events=seen, clock=clock) as state:
        clock.advance(0.001)
        with full_disk(), pytest.raises(StateError):
            await state.history.check()

        await until(lambda: seen.errors[1:] == [None])


@pytest.mark.covers("D84")
async def test_lock_of_another_program_is_waited_for(file: Path) -> None:
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock, busy_s=0.05) as state:
        await state.memory.flush()
        with locked(file):
            await broken(state, seen, clock)
        clock.advance(1)

        await until(lambda: rows(file) == 1)

    assert "locked" in str(seen.errors[0])
    assert "see what else has the file open" in str(seen.errors[0])


async def test_what_cannot_be_written_is_told_to_readers_as_it_was_told_before(file: Path) -> None:
    """The code stands once: readers get the failure itself, not one about it."""
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock, busy_s=0.05) as state:
        await state.memory.flush()
        with locked(file):
            await broken(state, seen, clock)
            with pytest.raises(StateError) as caught:
                await state.history.summary("rule")

    assert str(caught.value) == seen.errors[0]
    assert str(caught.value).count("STATE_UNUSABLE") == 1


async def test_end_of_the_process_does_not_wait_for_a_disk_that_refuses(file: Path) -> None:
    seen, clock = Seen(), FakeClock(manual=True)
    with ExitStack() as afterwards:
        async with opened(file.parent, events=seen, clock=clock) as state:
            await state.memory.flush()
            afterwards.enter_context(full_disk())
            await broken(state, seen, clock)

    assert rows(file) == 0


@pytest.mark.parametrize("whole", [True, False])
async def test_removed_file_is_told_though_writing_seems_to_work(file: Path, whole: bool) -> None:
    async with opened(file.parent) as state:
        await state.history.check(whole=whole)
        file.rename(file.with_name("moved.db"))  # noqa: ASYNC240

        with pytest.raises(StateError, match="was removed or replaced"):
            await state.history.check(whole=whole)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"reason": "half a character: \ud800"}, id="text"),
        pytest.param({"scope": None}, id="missing"),
        pytest.param({"referrers_mark": {}}, id="type"),
    ],
)
async def test_row_that_cannot_be_written_costs_no_other(file: Path, bad: dict[str, object]) -> None:
    seen = Seen()
    async with opened(file.parent, events=seen) as state:
        many = [image(f"{n}") for n in range(20)]
        many[7] = replace(many[7], **bad)  # type: ignore[arg-type] # on purpose
        state.memory.keep_images("rule", SOURCE, many)
        await state.memory.flush()

        assert len(await state.memory.images("rule", SOURCE)) == 19
    assert seen.notes == ["state_row_dropped"]
    assert seen.errors == []


async def test_numbers_that_a_registry_makes_up_are_kept_as_the_largest_there_is(file: Path) -> None:
    quota = QuotaStatus(registry="docker.io", remaining=10**30, limit=-(10**30), told_at=START)
    async with opened(file.parent) as state:
        await state.history.keep_quota(quota)

        (kept,) = await state.history.quotas()

    assert kept == replace(quota, remaining=2**63 - 1, limit=-(2**63 - 1))


async def test_moment_without_a_zone_is_one_of_utc(file: Path) -> None:
    async with opened(file.parent) as state:
        state.memory.keep_created(ONE, datetime(2020, 5, 17, 12))  # noqa: DTZ001

        assert await state.memory.created([ONE]) == {ONE: datetime.fromisoformat("2020-05-17T12:00:00Z")}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
async def test_every_moment_that_there_is_can_be_kept(file: Path, moment: str) -> None:
    """Images that are built to be reproducible claim to be of 1970, or of year 1."""
    async with opened(file.parent) as state:
        state.memory.keep_created(ONE, datetime.fromisoformat(moment))

        assert (await state.memory.created([ONE]))[ONE] == datetime.fromisoformat(moment)


async def test_what_waits_is_bounded_by_what_there_is_to_know(file: Path) -> None:
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        await state.memory.flush()
        with full_disk():
            for number in range(100):
                at = START + timedelta(minutes=number)
                state.memory.keep_images("rule", SOURCE, [image(f"{n}") for n in range(50)])
                state.memory.keep_holder(TARGET, ONE, at)
                state.memory.keep_seen(SOURCE, [SeenDigest(tag="1.0", digest=ONE, first_seen=at)])
                state.memory.own("rule", TARGET, [Tag("1.0")], at)
            await until(lambda: bool(seen.errors))
            waiting = state.memory._journal.waiting

    assert waiting == 50 + 3


async def test_rows_of_a_failed_write_do_not_replace_newer_ones(file: Path) -> None:
    """The moment of the first time stays also then, and sources that were left stay forgotten."""
    seen, clock = Seen(), FakeClock(manual=True)
    async with opened(file.parent, events=seen, clock=clock) as state:
        await state.memory.flush()
        with full_disk():
            state.memory.keep_seen(SOURCE, [SeenDigest(tag="1.0", digest=ONE, first_seen=START)])
            state.memory.keep_images("rule", OTHER, [image("1.0")])
            state.memory.keep_images("rule", SOURCE, [image("1.0")])
            await until(lambda: not state.memory._journal._pending)  # all of it is on its way to the disk
            state.memory.keep_seen(SOURCE, [SeenDigest(tag="1.0", digest=ONE, first_seen=START + DAY)])
            state.memory.keep_images("rule", SOURCE, [replace(image("1.0"), reason="newer")])
            state.memory.drop_sources("rule", [SOURCE])
            await until(lambda: bool(clock.slept))
        clock.advance(60)
        await until(lambda: seen.errors[1:] == [None])
        await state.memory.flush()

        assert [i.reason for i in (await state.memory.images("rule", SOURCE)).values()] == ["newer"]
        assert await state.memory.images("rule", OTHER) == {}
        assert [s.first_seen for s in (await state.memory.seen(SOURCE, ["1.0"]))["1.0"]] == [START]


async def test_more_sources_than_a_statement_can_name_can_be_left(file: Path) -> None:
    left = [Repository("source.test", f"r{number}") for number in range(40_000)]
    async with opened(file.parent) as state:
        state.memory.keep_images("rule", SOURCE, [image("1.0")])
        state.memory.keep_images("rule", left[39_999], [image("1.0")])
        state.memory.drop_sources("rule", left)

        assert len(await state.memory.images("rule", SOURCE)) == 0
        assert len(await state.memory.images("rule", left[39_999])) == 1


async def test_search_does_not_keep_runs_from_asking(file: Path) -> None:
    """One reader may be busy for long; another answers."""
    async with opened(file.parent) as state, anyio.create_task_group() as group:
        entered, leave = anyio.Event(), anyio.Event()
        database = state.memory._database

        async def search() -> None:
            def work(_connection: object) -> None:
                anyio.from_thread.run_sync(entered.set)
                anyio.from_thread.run(leave.wait)

            await database.read(work)

        group.start_soon(search)
        await entered.wait()
        with anyio.fail_after(5):
            assert await state.memory.created([Digest.of(b"x")]) == {}
        leave.set()


async def test_reader_sees_nothing_of_a_transaction_that_failed(file: Path) -> None:
    async with opened(file.parent) as state:
        await state.history.save_run(run(1), looked=True)
        with closing(sqlite3.connect(file)) as other, other:
            other.execute("CREATE TRIGGER no BEFORE UPDATE ON rules BEGIN SELECT RAISE(ABORT, 'no'); END")

        with pytest.raises(StateError):
            await state.history.save_run(run(2), looked=True)

        assert await state.history.run("run-000002") is None
