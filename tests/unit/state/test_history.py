"""What the service remembers of runs, rules and quotas, over restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mirrord.errors import UsageError
from mirrord.oci.reference import LayoutDirectory, Tag
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.status import (
    BlobCount,
    BlobCounts,
    Change,
    ProblemStatus,
    QuotaStatus,
    RunPage,
    RunResult,
    Saved,
)
from mirrord.ports.history import History, ImageQuery, RuleMemory
from mirrord.state import SqlState
from tests.fakes.clock import START, FakeClock
from tests.fakes.states import DAY, MINUTE, ONE, SOURCE, TARGET, begun, image, opened, run, sql

pytestmark = pytest.mark.anyio


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqlState]:
    async with opened(tmp_path) as found:
        yield found


@pytest.fixture
def history(state: SqlState) -> History:
    return state.history


async def test_new_store_knows_nothing(history: History) -> None:
    assert await history.rules() == {}
    assert await history.runs() == RunPage()
    assert await history.run("run-000001") is None
    assert await history.quotas() == []
    assert await history.owned("rule") == {}
    assert await history.summary("rule") == []
    assert await history.saved(START) == Saved(since=START)


async def test_run_is_read_back_whole(history: History) -> None:
    problem = ProblemStatus(code="DENIED", message='no "right"', remedy="ask", at=START)
    whole = replace(
        run(1),
        listed=7,
        filtered=2,
        outcomes={"copied": 1, "in_sync": 4},
        blobs=BlobCounts(uploaded=BlobCount(count=2, bytes=2**40), mounted=BlobCount(count=1, bytes=5)),
        lag_seconds=1.5,
        requests={"docker.io": 12},
        pulls={"docker.io": 1},
        problems=(problem,),
        warnings=("careful", "тест"),
        changes=(
            Change(source="a", target="b", tags=("1", "2"), outcome="failed", problem=problem, seconds=0.25),
            Change(source="a", target="b", tags=(), outcome="copied", digest=str(ONE), before="x", uploaded_bytes=9),
        ),
        changes_left_out=3,
    )

    await history.save_run(whole, looked=True)

    assert await history.run(whole.id) == whole


async def test_listing_of_runs_is_newest_first_without_changes(history: History) -> None:
    for number in (2, 1, 3):
        await history.save_run(run(number, rule="even" if number % 2 == 0 else "odd", changes=2), looked=True)

    every, odd = await history.runs(), await history.runs(rule="odd")

    assert [one.id for one in every.runs] == ["run-000003", "run-000002", "run-000001"]
    assert [(one.changes, one.changes_left_out) for one in every.runs] == [((), 2)] * 3
    assert [one.id for one in odd.runs] == ["run-000003", "run-000001"]
    assert every.next is odd.next is None


async def test_pages_of_runs_follow_each_other_though_new_ones_come(history: History) -> None:
    for number in range(7):
        await history.save_run(run(number), looked=True)
    found, after = [], None
    for extra in range(4):
        page = await history.runs(limit=2, after=after)
        found += [one.id for one in page.runs]
        after = page.next
        await history.save_run(run(100 + extra), looked=True)

    assert found == [f"run-{number:06}" for number in range(6, -1, -1)]
    assert after is None


@pytest.mark.parametrize(("asked", "got"), [(-1, 1), (0, 1), (1, 1), (10**9, 3)])
async def test_page_has_at_least_one_run_and_never_all_there_are(history: History, asked: int, got: int) -> None:
    for number in range(3):
        await history.save_run(run(number), looked=True)

    assert len((await history.runs(limit=asked)).runs) == got


@pytest.mark.covers("E128")
@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "!!!!", "WyJhIl0=x", "e30", "W10", "WyJhIiwiYiJd", "WzFd", "WyJcdWQ4MDAiXQ", "bnVsbA", "\xe9"),
        pytest.param("A" * 20_000, id="long"),
        pytest.param("W1tbW1tb" * 2_000, id="deep"),
    ],
)
async def test_forged_cursor_is_refused(history: History, cursor: str) -> None:
    with pytest.raises(UsageError) as of_runs:
        await history.runs(after=cursor)
    with pytest.raises(UsageError) as of_images:
        await history.images(ImageQuery(after=cursor))

    assert {of_runs.value.code, of_images.value.code} == {"CURSOR_INVALID"}


async def test_rule_knows_its_last_run_and_when_it_looked_and_was_in_sync(history: History) -> None:
    ended = START + MINUTE
    await history.save_run(run(1), looked=True)
    failed = replace(run(2, started=START + DAY), result=RunResult.FAILED)
    await history.save_run(failed, looked=True)
    blind = replace(run(3, started=START + 2 * DAY), result=RunResult.FAILED)
    await history.save_run(blind, looked=False)
    await history.save_run(begun(4, started=START + 3 * DAY), looked=False)

    assert await history.rules() == {
        "rule": RuleMemory(last_run=blind, last_looked=ended + DAY, last_success=ended),
    }


async def test_runs_of_a_process_that_died_are_interrupted(tmp_path: Path) -> None:
    """They ended when that process was last seen to write, as far as anybody knows."""
    clock = FakeClock()
    async with opened(tmp_path, clock=clock) as state:
        await state.history.save_run(begun(1), looked=False)
        clock.advance(90)
        await state.history.check()
    clock.advance(24 * 3600)

    async with opened(tmp_path, clock=clock) as state:
        found = await state.history.run("run-000001")
        rules = await state.history.rules()

    assert found is not None
    assert (found.result, found.finished) == (RunResult.INTERRUPTED, START + timedelta(seconds=90))
    assert rules["rule"] == RuleMemory(last_run=found)


async def test_run_of_another_version_is_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as state:
        for number in range(5):
            await state.history.save_run(run(number), looked=True)
    for number, text in enumerate(['{"id": "x"}', "no json", '{"id": 1, "unheard": 2}', "[]"]):
        sql(tmp_path / "state.db", "UPDATE runs SET status = ? WHERE id = ?", text, f"run-{number:06}")

    async with opened(tmp_path) as state:
        page = await state.history.runs()

        assert [one.id for one in page.runs] == ["run-000004"]
        assert await state.history.run("run-000000") is None
        assert set(await state.history.rules()) == {"rule"}


async def test_saved_bytes_are_those_of_runs_that_ended_since(history: History) -> None:
    blobs = BlobCounts(
        uploaded=BlobCount(count=1, bytes=100),
        mounted=BlobCount(count=1, bytes=20),
        existed=BlobCount(count=1, bytes=3),
    )
    await history.save_run(replace(run(1, started=START - DAY), blobs=blobs), looked=True)
    await history.save_run(replace(run(2, started=START), blobs=blobs), looked=True)
    await history.save_run(replace(run(3, started=START), blobs=blobs), looked=True)
    await history.save_run(replace(begun(4), blobs=blobs), looked=True)

    assert await history.saved(START) == Saved(since=START, wanted_bytes=246, uploaded_bytes=200, saved_bytes=46)


async def test_quotas_are_those_told_last(history: History) -> None:
    first = QuotaStatus(registry="docker.io", remaining=90, limit=100, window_seconds=21_600, told_at=START)
    second = replace(first, remaining=80, reserve=5, refills_at=START + DAY)
    other = QuotaStatus(registry="a.test", remaining=0)
    for quota in (first, second, other):
        await history.keep_quota(quota)

    assert await history.quotas() == [other, second]


async def test_owned_tags_are_those_that_the_rule_created(state: SqlState) -> None:
    directory = LayoutDirectory("/mirror")
    state.memory.own("rule", TARGET, [Tag("1.0"), Tag("2.0")], START)
    state.memory.own("rule", directory, [Tag("1.0")], START)
    state.memory.own("other", TARGET, [Tag("3.0")], START)

    assert await state.history.owned("rule") == {str(TARGET): {"1.0", "2.0"}, "oci:/mirror": {"1.0"}}


async def test_summary_counts_images_by_target_and_state_with_the_oldest_change(state: SqlState) -> None:
    directory = LayoutDirectory("/mirror")
    failed = [
        replace(image(f"f{n}", state=ImageState.FAILED), behind_since=START - n * MINUTE if n else None)
        for n in range(3)
    ]
    late = replace(image("late", state=ImageState.OUT_OF_SYNC), behind_since=START)
    state.memory.keep_images("rule", SOURCE, [*failed, late, image("1.0"), image("2.0"), image("1.0", directory)])
    state.memory.keep_images("other", SOURCE, [image("1.0")])

    found = {summary.target: summary for summary in await state.history.summary("rule")}

    assert found == {
        TARGET: TargetSummary(
            target=TARGET,
            images={ImageState.FAILED: 3, ImageState.OUT_OF_SYNC: 1, ImageState.IN_SYNC: 2},
            behind_since=START - 2 * MINUTE,
        ),
        directory: TargetSummary(target=directory, images={ImageState.IN_SYNC: 1}),
    }


@pytest.mark.parametrize("settled", [True, False])
async def test_rules_that_are_gone_leave_their_runs_and_what_they_own(state: SqlState, *, settled: bool) -> None:
    for rule in ("kept", "gone"):
        state.memory.keep_images(rule, SOURCE, [image("1.0")])
        state.memory.own(rule, TARGET, [Tag("1.0")], START)
        await state.history.save_run(run(1 if rule == "kept" else 2, rule), looked=True)
    if settled:
        await state.memory.flush()

    await state.history.forget_rules(["kept", "new"])

    assert set(await state.history.rules()) == {"kept"}
    assert [len(await state.memory.images(rule, SOURCE)) for rule in ("kept", "gone")] == [1, 0]
    assert len((await state.history.runs(rule="gone")).runs) == 1
    assert await state.history.owned("gone") == {str(TARGET): {"1.0"}}


async def test_check_passes_where_all_is_well(history: History) -> None:
    await history.check()
