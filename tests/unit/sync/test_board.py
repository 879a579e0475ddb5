from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import StateError
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.report import Outcome, PullQuota, RuleReport, UnitResult
from mirrord.planning.rule import Rule
from mirrord.planning.status import Cause, Change, ProblemStatus, QuotaStatus, RunResult, RunStatus
from mirrord.ports.events import BlobFinished, BlobStarted, BreakerChanged, QuotaTold, StateChanged, UnitFinished
from mirrord.ports.history import RuleMemory
from mirrord.sync.board import Board, lag_seconds, summaries_of
from mirrord.sync.engine import Engine
from mirrord.sync.meter import RunMeter
from mirrord.sync.run import Run
from mirrord.sync.slots import Asked, Running, Slot, new_run_id
from mirrord.sync.view import source_text, target_at, targets_of
from tests.fakes.clock import START, FakeClock
from tests.fakes.history import RamHistory
from tests.fakes.images import make_image
from tests.unit.sync.scene import SOURCE, A, B, Scene, make_rule, many_repositories, one_image

pytestmark = pytest.mark.anyio

IN_SYNC, BEHIND, COPYING = ImageState.IN_SYNC, ImageState.OUT_OF_SYNC, ImageState.COPYING
DIGEST = make_image("app").root.descriptor.digest
HOUR = timedelta(hours=1)


def engine(scene: Scene) -> Engine:
    context = scene.context()
    return Engine(
        gateway=context.gateway,
        slots=context.slots,
        clock=context.clock,
        events=context.events,
        memory=context.memory,
        make_executor=scene.executor,
    )


def board_of(*rules: Rule, history: RamHistory | None = None) -> Board:
    scene = Scene()
    board = Board(scene.clock, history or RamHistory())
    board.adopt(rules, {rule.name: Slot(rule, engine(scene)) for rule in rules})
    return board


def summary(target: Location, behind: timedelta | None = None, **images: int) -> TargetSummary:
    counts = {ImageState(state): count for state, count in images.items()}
    return TargetSummary(target=target, images=counts, behind_since=START - behind if behind is not None else None)


def run(result: RunResult, *problems: str, rule: str = "rule", number: int = 1) -> RunStatus:
    return RunStatus(
        id=f"run-{number}",
        rule=rule,
        cause=Cause.SCHEDULE,
        started=START,
        finished=START + timedelta(seconds=number),
        result=result,
        problems=tuple(ProblemStatus(code=code, message=code) for code in problems),
    )


# --- what is known of a rule


async def test_lag_is_the_age_of_the_oldest_change_of_any_target() -> None:
    summaries = [summary(A, HOUR, in_sync=3, failed=1), summary(B, 2 * HOUR, out_of_sync=1)]

    assert lag_seconds(summaries, START) == 7200
    assert lag_seconds([summary(A, in_sync=3)], START) == 0
    assert lag_seconds([summary(A, -HOUR, out_of_sync=1)], START) == 0, "a clock that was set back makes no lag"


async def test_last_error_stays_until_all_is_in_sync_again() -> None:
    board = board_of(make_rule())

    board.ended(run(RunResult.FAILED, "DENIED", "UNAVAILABLE"), looked=False)
    failed = board.entries["rule"]
    told = failed.problem
    board.ended(run(RunResult.INTERRUPTED, number=2), looked=False)
    kept = board.entries["rule"].problem
    board.ended(run(RunResult.OK, number=3), looked=True)

    assert told is not None
    assert told.code == "DENIED"
    assert kept == told
    assert board.entries["rule"].problem is None
    memory = board.memory("rule")
    assert memory.last_success == memory.last_looked == START + timedelta(seconds=3)


async def test_what_a_run_changed_is_not_held_in_memory() -> None:
    board = board_of(make_rule())
    change = Change(source="s", target="t", tags=("1",), outcome="copied")

    board.ended(replace(run(RunResult.OK), changes=(change,) * 200), looked=True)

    last = board.memory("rule").last_run
    assert last is not None
    assert last.changes == ()


async def test_what_earlier_processes_knew_is_shown_from_the_start() -> None:
    history = RamHistory()
    history.memories["rule"] = RuleMemory(last_run=run(RunResult.FAILED, "DENIED"), last_looked=START)
    history.kept_quotas["docker.io"] = QuotaStatus(registry="docker.io", remaining=7)
    scene = Scene()
    board = Board(scene.clock, history)

    await board.load()
    rule = make_rule(source=Repository("docker.io", "library/app"))
    board.adopt([rule], {"rule": Slot(rule, engine(scene))})

    assert board.memory("rule").last_looked == START
    assert board.entries["rule"].problem == ProblemStatus(code="DENIED", message="DENIED")
    assert board.registries["docker.io"].quota == QuotaStatus(registry="docker.io", remaining=7)


async def test_rule_that_left_the_file_is_not_known_any_more() -> None:
    board = board_of(make_rule("one", A), make_rule("two", B))
    board.entries["one"].warnings = ("kept",)

    board.adopt([board.entries["one"].rule], {"one": board.entries["one"].slot})
    board.ended(run(RunResult.OK, rule="two"), looked=True)

    assert list(board.entries) == ["one"]
    assert board.entries["one"].warnings == ("kept",)
    assert "target-b.test" not in board.registries


async def test_counts_come_from_the_report_where_the_history_fails() -> None:
    history = RamHistory(broken=True)
    board = board_of(make_rule(), history=history)
    pairs = ((Tag.parse("1"), Tag.parse("1")), (Tag.parse("2"), Tag.parse("2")))
    results = (
        UnitResult(rule="rule", source=SOURCE, target=A, tags=pairs, outcome=Outcome.COPIED, reason=""),
        UnitResult(rule="rule", source=SOURCE, target=A, tags=pairs[:1], outcome=Outcome.FAILED, reason=""),
        UnitResult(rule="rule", source=SOURCE, target=A, tags=pairs[:1], outcome=Outcome.SKIPPED, reason=""),
    )

    await board.refresh("rule", RuleReport(rule="rule", results=results))

    assert board.entries["rule"].summaries == tuple(summaries_of(RuleReport(rule="rule", results=results), START))
    assert board.entries["rule"].summaries[0].images == {IN_SYNC: 2, ImageState.FAILED: 1}
    assert board.state_error is not None
    with pytest.raises(StateError):
        await board.count_saved()


# --- what is known of registries


async def test_transfers_are_counted_at_every_registry_that_takes_part() -> None:
    board = board_of(make_rule("rule", A, B))
    started = BlobStarted(transfer=1, digest=DIGEST, size=5, source=SOURCE, targets=(A, B))

    board.emit(started)
    during = {host: known.transfers for host, known in board.registries.items()}
    board.emit(BlobFinished(transfer=1))
    board.emit(BlobFinished(transfer=1))

    assert during == {"source.test": 1, "target-a.test": 1, "target-b.test": 1}
    assert {known.transfers for known in board.registries.values()} == {0}


async def test_quota_that_ran_dry_is_expected_back_a_window_later() -> None:
    board = board_of(make_rule())
    clock = board.clock
    assert isinstance(clock, FakeClock)

    board.emit(QuotaTold(host="source.test", quota=PullQuota(remaining=30, limit=100, window_s=21_600, reserve=20)))
    plenty = board.registries["source.test"].quota
    board.emit(QuotaTold(host="source.test", quota=PullQuota(remaining=20, limit=100, window_s=21_600, reserve=20)))
    clock.advance(60)
    board.emit(QuotaTold(host="source.test", quota=PullQuota(remaining=19, limit=100, window_s=21_600, reserve=20)))
    dry = board.registries["source.test"].quota
    await board.save_quotas()

    assert plenty is not None
    assert plenty.refills_at is None
    assert dry is not None
    assert dry.refills_at == START + timedelta(seconds=21_600)
    assert isinstance(board.history, RamHistory)
    assert board.history.kept_quotas == {"source.test": dry}


async def test_changes_at_registries_and_in_the_state_are_seen() -> None:
    board = board_of(make_rule())
    version = board.version

    board.emit(BreakerChanged(host="source.test", is_open=True))
    board.emit(StateChanged(error="the disk is full"))
    seen = (board.registries["source.test"].answers, board.state_error)
    board.emit(BreakerChanged(host="source.test", is_open=False))
    board.emit(StateChanged(error=None))

    assert seen == (False, "the disk is full")
    assert (board.registries["source.test"].answers, board.state_error) == (True, None)
    assert board.version == version + 4


# --- targets as their rule names them


@pytest.mark.parametrize(
    ("targets", "location", "expected"),
    [
        pytest.param(["t.test/a"], Repository("t.test", "a"), "t.test/a", id="the only one"),
        pytest.param(["t.test/a", "t.test/a/b"], Repository("t.test", "a/b"), "t.test/a/b", id="the longest that fits"),
        pytest.param(["t.test/x/{name}", "t.test/{name}"], Repository("t.test", "y/z"), "t.test/{name}", id="template"),
        pytest.param(["u.test/a"], Repository("t.test", "a"), None, id="none at that registry"),
        pytest.param(["oci:./gap/{name}", "t.test/a"], LayoutDirectory("./gap/app"), "oci:./gap/{name}", id="layout"),
    ],
)
async def test_location_belongs_to_the_target_that_made_it(
    targets: Sequence[str], location: Location, expected: str | None
) -> None:
    found = target_at(make_rule("rule", *targets), location)

    assert (found.text if found is not None else None) == expected


async def test_images_on_their_way_count_as_being_copied() -> None:
    rule = make_rule("rule", A, B)
    meter = RunMeter("id", "rule", FakeClock())
    meter.copying = {(SOURCE, A, Tag.parse("1")), (SOURCE, A, Tag.parse("2"))}

    targets = targets_of(rule, [summary(A, HOUR, in_sync=5, out_of_sync=3), summary(B, in_sync=8)], meter)

    assert [target.images for target in targets] == [{IN_SYNC: 5, BEHIND: 1, COPYING: 2}, {IN_SYNC: 8}]
    assert [target.behind_since for target in targets] == [START - HOUR, None]


async def test_images_that_were_copied_since_they_were_counted_are_in_sync() -> None:
    rule = make_rule("rule", A, B)
    meter = RunMeter("id", "rule", FakeClock())
    meter.copying = {(SOURCE, A, Tag.parse("1"))}
    for number in range(2, 4):
        meter.emit(UnitFinished(result=copied(A, str(number)), carried_out=True))

    targets = targets_of(rule, [summary(A, HOUR, in_sync=5, out_of_sync=4), summary(B, in_sync=8)], meter)

    assert [target.images for target in targets] == [{IN_SYNC: 7, BEHIND: 1, COPYING: 1}, {IN_SYNC: 8}]


async def test_images_that_were_counted_anew_are_not_counted_twice() -> None:
    rule = make_rule("rule", A)
    history = RamHistory()
    board = board_of(rule, history=history)
    entry = board.entries["rule"]
    meter = RunMeter("id", "rule", FakeClock())
    asked = Asked(run="id", cause=Cause.MANUAL, order=1)
    run = Run(Scene().context(), [rule])
    entry.slot.running = Running(asked=asked, run=run, meter=meter, engine=entry.slot.engine, rule=rule)
    meter.emit(UnitFinished(result=copied(A, "1"), carried_out=True))
    history.summaries["rule"] = [summary(A, in_sync=1, out_of_sync=3)]

    await board.refresh("rule")

    (target,) = targets_of(rule, entry.summaries, meter)
    assert target.images == {IN_SYNC: 1, BEHIND: 3}


def copied(target: Location, tag: str) -> UnitResult:
    tags = ((Tag.parse(tag), Tag.parse(tag)),)
    return UnitResult(rule="rule", source=SOURCE, target=target, tags=tags, outcome=Outcome.COPIED, reason="")


async def test_source_is_told_as_the_file_says_it() -> None:
    assert source_text(make_rule()) == "source.test/app"
    assert source_text(many_repositories("rule", "team/*", "t.test/{name}")) == "source.test/team/*"
    assert source_text(one_image("rule", A, tag="1.0")) == "source.test/app:1.0"
    assert source_text(one_image("rule", A, digest=DIGEST)) == f"source.test/app@{DIGEST}"


async def test_ids_of_runs_sort_by_their_moment_and_differ() -> None:
    early, late = new_run_id(START), new_run_id(START + timedelta(milliseconds=1))

    assert early < late
    assert new_run_id(START) != new_run_id(START)


async def test_runs_that_begin_together_share_what_they_learn_of_blobs() -> None:
    scene = Scene()
    one = engine(scene)

    first = one.executor()
    together = one.executor()
    by_hand = one.executor(alone=True)
    scene.clock.advance(6)
    later = one.executor()
    one.forget()
    after = one.executor()

    assert first is together
    assert len({id(first), id(by_hand), id(later), id(after)}) == 4


async def test_rule_of_a_layout_is_no_registry() -> None:
    rule = replace(
        make_rule("rule", A, source=SOURCE), source=replace(make_rule().source, location=LayoutDirectory("x"))
    )

    assert list(board_of(rule).registries) == ["target-a.test"]
