"""A store is bounded whatever a year brings, and forgets nothing that is still of use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.memory import SeenDigest
from mirrord.ports.memory import MOST_SEEN
from mirrord.state import SqlState
from mirrord.state.trimming import (
    CHANGES_BYTES,
    CHANGES_FOR,
    CREATED_FOR,
    HOLDERS_FOR,
    LEAST_RUNS,
    MOST_CREATED,
    MOST_HOLDERS,
    MOST_RUNS,
    RUNS_FOR,
    SEEN_FOR,
)
from tests.fakes.clock import START, FakeClock
from tests.fakes.states import DAY, MINUTE, ONE, SOURCE, TARGET, TWO, image, opened, run, sql

pytestmark = pytest.mark.anyio

OLD = timedelta(seconds=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def state(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqlState]:
    async with opened(tmp_path, clock=clock) as found:
        yield found


def count(state: SqlState, table: str) -> int:
    ((found,),) = sql(state.path, f"SELECT count(*) FROM {table}")
    assert isinstance(found, int)
    return found


def insert_runs(state: SqlState, rules: Iterable[str], number: int, *, minutes_apart: int = 1) -> None:
    """Have many runs, begun before the start, without waiting for each."""
    for rule in rules:
        sql(
            state.path,
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) "
            "INSERT INTO runs SELECT printf('%06d-%s', 1000000 - value, ?), ?, ? - value * ?, ? - value * ?, "
            "0, 0, 0, 0, '{}', 0, 0, '[]' FROM n",
            *(number, rule, rule),
            *(_microseconds(), minutes_apart * 60_000_000) * 2,
        )


def _microseconds() -> int:
    return int(START.timestamp()) * 1_000_000


async def test_nothing_is_forgotten_of_what_is_young(state: SqlState) -> None:
    await state.history.save_run(run(1, changes=2), looked=True)
    state.memory.keep_images("rule", SOURCE, [image("1.0")])
    state.memory.keep_holder(TARGET, ONE, START)
    state.memory.keep_created(ONE, START)
    state.memory.keep_seen(SOURCE, [SeenDigest(tag="gone", digest=ONE, first_seen=START)])
    await state.memory.flush()

    assert await state.history.trim(START + DAY) == 0
    assert (await state.history.run("run-000001")) == run(1, changes=2)


async def test_runs_of_a_rule_are_bounded_in_number(state: SqlState) -> None:
    insert_runs(state, ["busy"], MOST_RUNS + 1_300)
    insert_runs(state, ["calm"], 5)

    forgotten = await state.history.trim(START)

    kept = sql(state.path, "SELECT rule, count(*), min(id), max(id) FROM runs GROUP BY rule")
    newest, oldest = f"{1_000_000 - 1}-busy", f"{1_000_000 - MOST_RUNS:06}-busy"
    assert forgotten == 1_300
    assert kept == [("busy", MOST_RUNS, oldest, newest), ("calm", 5, "999995-calm", "999999-calm")]


async def test_old_runs_go_but_for_the_last_of_each_rule(state: SqlState) -> None:
    insert_runs(state, ["daily", "old"], 50, minutes_apart=24 * 60)
    sql(state.path, "UPDATE runs SET started = started - ? WHERE rule = 'old'", 365 * 86_400_000_000)

    await state.history.trim(START)

    kept = sql(state.path, "SELECT rule, count(*) FROM runs GROUP BY rule")
    assert kept == [("daily", RUNS_FOR.days), ("old", LEAST_RUNS)]


async def test_last_run_of_a_rule_is_known_however_old(state: SqlState) -> None:
    await state.history.save_run(run(1), looked=True)

    await state.history.trim(START + 1_000 * DAY)

    assert (await state.history.rules())["rule"].last_run == run(1)


async def test_changes_of_old_runs_are_counted_and_not_kept(state: SqlState) -> None:
    await state.history.save_run(replace(run(1, changes=3), changes_left_out=4), looked=True)
    await state.history.save_run(run(2, started=START + DAY, changes=3), looked=True)

    await state.history.trim(START + CHANGES_FOR + MINUTE + OLD)

    old, young = await state.history.run("run-000001"), await state.history.run("run-000002")
    assert old is not None
    assert young is not None
    assert (old.changes, old.changes_left_out) == ((), 7)
    assert (len(young.changes), young.changes_left_out) == (3, 0)


async def test_text_of_changes_is_bounded_in_all(state: SqlState) -> None:
    insert_runs(state, ["rule"], 10)
    sql(state.path, "UPDATE runs SET changes = '[1]', changes_bytes = ?", CHANGES_BYTES // 4)

    await state.history.trim(START)

    kept = [changes for (changes,) in sql(state.path, "SELECT changes FROM runs ORDER BY id DESC")]
    assert kept == ["[1]"] * 4 + ["[]"] * 6


async def test_places_of_blobs_that_were_not_seen_for_long_are_forgotten(state: SqlState) -> None:
    state.memory.keep_holder(TARGET, ONE, START - HOLDERS_FOR - OLD)
    state.memory.keep_holder(TARGET, TWO, START - HOLDERS_FOR + OLD)
    await state.memory.flush()

    assert await state.history.trim(START) == 1
    assert set(await state.memory.holders(TARGET.host, [ONE, TWO])) == {TWO}


@pytest.mark.parametrize(
    ("table", "most", "columns"),
    [
        ("holders", MOST_HOLDERS, "'h', printf('sha256:%064x', value), 'p', ? + value"),
        ("created", MOST_CREATED, "printf('sha256:%064x', value), NULL, ? + value"),
    ],
)
async def test_what_is_known_of_blobs_is_bounded_in_number(
    state: SqlState, table: str, most: int, columns: str
) -> None:
    sql(
        state.path,
        "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) "
        f"INSERT INTO {table} SELECT {columns} FROM n",
        most + 1_200,
        _microseconds(),
    )

    assert await state.history.trim(START) == 1_200
    assert count(state, table) == most
    assert sql(state.path, f"SELECT min(digest) FROM {table}") == [(f"sha256:{1_201:064x}",)]


async def test_times_of_images_that_were_kept_long_ago_are_forgotten(state: SqlState, clock: FakeClock) -> None:
    state.memory.keep_created(ONE, START)
    await state.memory.flush()
    clock.advance(CREATED_FOR.total_seconds())
    state.memory.keep_created(TWO, START)
    await state.memory.flush()

    await state.history.trim(clock.now() + OLD)

    assert await state.memory.created([ONE, TWO]) == {TWO: START}


async def test_digests_of_tags_that_nobody_mirrors_any_more_are_forgotten_after_a_while(state: SqlState) -> None:
    old = START - SEEN_FOR - OLD
    for source in (SOURCE, Repository("other.test", "app")):
        for tag in ("mirrored", "gone"):
            state.memory.keep_seen(source, [SeenDigest(tag=tag, digest=ONE, first_seen=old)])
    state.memory.keep_seen(SOURCE, [SeenDigest(tag="gone lately", digest=ONE, first_seen=START - SEEN_FOR + OLD)])
    state.memory.keep_images("rule", SOURCE, [image("mirrored")])
    await state.memory.flush()

    assert await state.history.trim(START) == 3
    assert set(await state.memory.seen(SOURCE, ["mirrored", "gone", "gone lately"])) == {"mirrored", "gone lately"}


async def test_digests_of_a_tag_that_moves_all_the_time_are_bounded(state: SqlState) -> None:
    every = [
        SeenDigest(tag="latest", digest=Digest.of(b"%d" % n), first_seen=START + n * MINUTE)
        for n in range(MOST_SEEN * 50)
    ]
    state.memory.keep_seen(SOURCE, every)
    state.memory.keep_images("rule", SOURCE, [image("latest")])
    await state.memory.flush()

    await state.history.trim(START + DAY)

    assert count(state, "seen") == MOST_SEEN
    assert list((await state.memory.seen(SOURCE, ["latest"]))["latest"]) == every[-MOST_SEEN:]


async def test_what_a_rule_created_is_never_forgotten(state: SqlState) -> None:
    state.memory.own("rule", TARGET, [Tag("1.0")], START)
    await state.memory.flush()

    await state.history.trim(START + 10_000 * DAY)

    assert await state.history.owned("rule") == {str(TARGET): {"1.0"}}


async def test_file_does_not_grow_with_the_days(state: SqlState, clock: FakeClock) -> None:
    """Fifty days of runs that copy: the file is as large after them as after forty."""
    sizes: list[int] = []
    for day in range(50):
        for number in range(4):
            await state.history.save_run(run(day * 10 + number, started=clock.now(), changes=40), looked=True)
        for number in range(200):
            state.memory.keep_holder(TARGET, Digest.of(b"%d %d" % (day, number)), clock.now())
        state.memory.keep_images("a", SOURCE, [image(f"{n}") for n in range(100)])
        await state.memory.flush()
        clock.advance(DAY.total_seconds())
        await state.history.trim(clock.now())
        ((pages,),) = sql(state.path, "PRAGMA page_count")
        assert isinstance(pages, int)
        sizes.append(pages)

    assert max(sizes[40:]) <= max(sizes[:40]) * 1.1


async def test_room_of_what_is_forgotten_is_given_back(state: SqlState) -> None:
    for n in range(20_000):
        state.memory.keep_holder(TARGET, Digest.of(b"%d" % n), START)
    await state.memory.flush()
    ((before,),) = sql(state.path, "PRAGMA page_count")

    await state.history.trim(START + 100 * DAY)

    ((after,),) = sql(state.path, "PRAGMA page_count")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before / 2
