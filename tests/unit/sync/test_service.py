from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio
import pytest

from mirrord.errors import DeniedError
from mirrord.oci.reference import Repository
from mirrord.planning.memory import TargetSummary
from mirrord.planning.rule import Rule
from mirrord.planning.schedule import Every
from mirrord.planning.status import Cause, ConfigStatus, RunResult, RunStatus
from mirrord.ports.events import (
    BlobProgress,
    BlobStarted,
    BreakerChanged,
    Event,
    EventSink,
    RunBegan,
    RunEnded,
    ScheduleSkipped,
    Sinks,
    StateChanged,
)
from mirrord.ports.schedule import Firing
from mirrord.sync.board import Board
from mirrord.sync.engine import Engine
from mirrord.sync.meter import Metered
from mirrord.sync.service import Service, Setup
from mirrord.sync.view import View
from tests.fakes.clock import START
from tests.fakes.history import HandRung, RamHistory
from tests.fakes.images import make_image
from tests.fakes.memory import Recorder
from tests.unit.sync.scene import SOURCE, A, B, Scene, make_rule, settle

pytestmark = pytest.mark.anyio

OTHER = Repository("source.test", "other")
C = Repository("target-c.test", "mirror/other")
DIGEST = make_image("app").root.descriptor.digest


@dataclass
class House:
    """A service over registries in memory."""

    scene: Scene = field(default_factory=Scene)
    history: RamHistory = field(default_factory=RamHistory)
    timetable: HandRung = field(default_factory=HandRung)
    heard: Recorder = field(default_factory=Recorder)
    released: list[str] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    faults: list[tuple[EventSink, type[Event]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub = Sinks(self.heard, on_fault=lambda sink, event: self.faults.append((sink, type(event))))
        self.scene.events = Metered(self.hub)
        self.board = Board(self.scene.clock, self.history)
        self.hub.add(self.board)
        self.service = Service(
            clock=self.scene.clock,
            events=self.hub,
            history=self.history,
            timetable=self.timetable,
            board=self.board,
        )
        self.view = View(
            service=self.service,
            timetable=self.timetable,
            clock=self.scene.clock,
            release="1.0",
            config=ConfigStatus(file="mirrord.yaml", loaded_at=START),
        )

    def adopt(self, *rules: Rule, name: str = "first") -> None:
        context = self.scene.context()
        engine = Engine(
            gateway=context.gateway,
            slots=context.slots,
            clock=context.clock,
            events=context.events,
            memory=context.memory,
            make_executor=self.scene.executor,
        )
        self.engines.append(engine)
        self.service.adopt(Setup(rules=rules, engine=engine, release=lambda: self.released.append(name)))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.service.serve)
            await self.timetable.serving.wait()
            yield
            group.cancel_scope.cancel()

    def ring(self, rule: str, missed: int = 0) -> None:
        assert self.timetable.ring is not None
        self.timetable.ring(Firing(rule=rule, due=self.scene.clock.now(), missed=missed))

    def ended(self) -> list[RunStatus]:
        return [event.run for event in self.heard.events if isinstance(event, RunEnded)]

    def skipped(self) -> list[tuple[str, str]]:
        return [(event.rule, event.reason) for event in self.heard.events if isinstance(event, ScheduleSkipped)]

    async def idle(self, runs: int) -> None:
        await settle(lambda: len(self.ended()) == runs and not self.service.running)


def scheduled(rule: Rule) -> Rule:
    return replace(rule, schedule=Every(interval=timedelta(minutes=15)))


@pytest.fixture
def house() -> House:
    house = House()
    house.scene.memory.add(SOURCE, make_image("app"), "1.0")
    house.scene.memory.add(OTHER, make_image("other"), "1.0")
    return house


async def test_rule_runs_when_its_schedule_rings(house: House) -> None:
    house.adopt(scheduled(make_rule("app", A)))

    async with house.serving():
        house.ring("app")
        await house.idle(1)

    (run,) = house.ended()
    assert (run.rule, run.cause, run.result) == ("app", Cause.SCHEDULE, RunResult.OK)
    assert run.outcomes["copied"] == 1
    assert run.blobs.uploaded.count == 3
    assert house.history.saved_runs[run.id] == run
    assert house.scene.served(A) == house.scene.served(SOURCE)


async def test_rule_that_was_due_while_nobody_was_there_runs_at_the_start(house: House) -> None:
    house.timetable.due = {"app"}
    house.adopt(scheduled(make_rule("app", A)), scheduled(make_rule("other", C, source=OTHER)))

    async with house.serving():
        await house.idle(1)

    assert [(run.rule, run.cause) for run in house.ended()] == [("app", Cause.START)]


async def test_rule_without_a_schedule_runs_only_when_asked_to(house: House) -> None:
    house.timetable.due = {"app"}
    house.adopt(make_rule("app", A))

    async with house.serving():
        await anyio.wait_all_tasks_blocked()
        before = house.ended()
        ticket = house.service.wake("app", Cause.MANUAL)
        await house.idle(1)

    assert before == []
    assert ticket is not None
    assert [run.id for run in house.ended()] == [ticket.run]


async def test_rule_that_runs_is_not_run_beside_itself_but_once_more(house: House) -> None:
    house.adopt(scheduled(make_rule("app", A)))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.ring("app")
        await trap.reached.wait()
        for _ in range(5):
            house.ring("app")
        await anyio.wait_all_tasks_blocked()
        running, queued = len(house.service.running), house.service.queue_depth
        trap.open()
        await house.idle(2)

    assert (running, queued) == (1, 1)
    assert house.skipped() == [("app", "overlap")] * 5
    first, second = house.ended()
    assert first.finished is not None
    assert second.started >= first.finished


async def test_moments_that_passed_unheard_are_counted_and_run_once(house: House) -> None:
    house.adopt(scheduled(make_rule("app", A)))

    async with house.serving():
        house.ring("app", missed=3)
        await house.idle(1)

    assert house.skipped() == [("app", "missed")] * 3


async def test_asking_a_thousand_times_queues_one_run(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        tickets = [house.service.wake("app", Cause.MANUAL) for _ in range(1_000)]
        trap.open()
        await house.idle(2)

    assert all(ticket is not None for ticket in tickets)
    assert sum(ticket is not None and not ticket.already for ticket in tickets) == 1
    assert len({ticket.run for ticket in tickets if ticket is not None}) == 1
    assert house.service.wake("no-such-rule", Cause.MANUAL) is None


async def test_rule_with_many_tags_does_not_hold_up_one_with_a_single_tag(house: House) -> None:
    for number in range(300):
        house.scene.memory.add(SOURCE, make_image(f"app-{number}"), f"v{number}")
    house.adopt(make_rule("many", A), make_rule("one", C, source=OTHER))
    trap = house.scene.memory.hold("put_manifest", at=A, times=None)

    async with house.serving():
        house.service.wake("many", Cause.MANUAL)
        await trap.reached.wait()
        house.service.wake("one", Cause.MANUAL)
        await settle(lambda: any(run.rule == "one" for run in house.ended()))
        still_running = [running.rule.name for running in house.service.running]
        trap.open()
        await house.idle(2)

    assert still_running == ["many"]


async def test_rule_that_reads_what_another_writes_waits_for_it(house: House) -> None:
    house.adopt(make_rule("last", B, source=A), make_rule("first", A))

    async with house.serving():
        house.service.wake("last", Cause.MANUAL)
        house.service.wake("first", Cause.MANUAL)
        await house.idle(2)

    assert [run.rule for run in house.ended()] == ["first", "last"]
    assert house.scene.served(B) == house.scene.served(SOURCE)


async def test_failure_of_a_rule_is_told_and_the_others_go_on(house: House) -> None:
    house.scene.memory.fail("list_tags", DeniedError("no", host="source.test"), at=SOURCE, times=None)
    house.adopt(make_rule("app", A), make_rule("other", C, source=OTHER))

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        house.service.wake("other", Cause.MANUAL)
        await house.idle(2)

    results = {run.rule: run.result for run in house.ended()}
    assert results == {"app": RunResult.FAILED, "other": RunResult.OK}
    status = house.view.rule("app")
    assert status is not None
    assert status.problem is not None
    assert status.problem.code == "DENIED"
    assert status.last_looked is None


async def test_new_configuration_leaves_a_run_under_the_one_it_began_with(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        house.adopt(make_rule("app", B), name="second")
        released = list(house.released)
        running = house.service.running[0].rule.targets[0].text
        trap.open()
        await house.idle(1)
        house.service.wake("app", Cause.MANUAL)
        await house.idle(2)

    assert released == []
    assert running == str(A)
    assert house.released == ["first"]
    assert house.scene.served(A) == house.scene.served(B) == house.scene.served(SOURCE)


async def test_rule_that_changed_runs_at_once(house: House) -> None:
    house.adopt(scheduled(make_rule("app", A)), scheduled(make_rule("other", C, source=OTHER)))

    async with house.serving():
        house.adopt(scheduled(make_rule("app", B)), scheduled(make_rule("other", C, source=OTHER)), name="second")
        await house.idle(1)

    assert [(run.rule, run.cause) for run in house.ended()] == [("app", Cause.RELOAD)]
    assert house.released == ["first"]


async def test_rule_that_was_taken_out_and_put_back_does_not_run_beside_itself(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        house.adopt(name="none")
        house.adopt(make_rule("app", A), name="again")
        house.service.wake("app", Cause.MANUAL)
        await anyio.wait_all_tasks_blocked()
        running = len(house.service.running)
        trap.open()
        await house.idle(2)

    assert running == 1
    assert sorted(house.released) == ["first", "none"]


async def test_draining_finishes_images_on_their_way_and_begins_no_others(house: House) -> None:
    for number in range(60):
        house.scene.memory.add(SOURCE, make_image(f"app-{number}"), f"v{number}")
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A, times=None)

    async with anyio.create_task_group() as group:
        group.start_soon(house.service.serve)
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        await anyio.wait_all_tasks_blocked()
        house.service.drain()
        refused = house.service.wake("app", Cause.MANUAL)
        trap.open()

    (run,) = house.ended()
    assert refused is None
    assert run.result is RunResult.INTERRUPTED
    assert 0 < run.outcomes["copied"] < 61
    assert run.outcomes["copied"] + run.outcomes["skipped"] == 61
    assert len(house.scene.served(A)) == run.outcomes["copied"]
    assert not house.scene.memory.violations
    assert house.service.running == []
    assert not house.view.health().is_ready


async def test_drained_service_without_runs_ends_at_once(house: House) -> None:
    house.adopt(make_rule("app", A))

    async with anyio.create_task_group() as group:
        group.start_soon(house.service.serve)
        await house.timetable.serving.wait()
        house.service.drain()

    assert house.ended() == []


async def test_run_that_is_broken_off_is_written_down_as_interrupted(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()

    (run,) = house.ended()
    assert run.result is RunResult.INTERRUPTED
    assert run.outcomes["skipped"] == 1


@pytest.mark.covers("C44")
async def test_state_that_cannot_be_written_stops_no_run(house: House) -> None:
    house.adopt(make_rule("app", A))
    house.history.broken = True

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await house.idle(1)

    status = house.view.status()
    assert house.scene.served(A) == house.scene.served(SOURCE)
    assert status.state_error is not None
    assert "the disk is full" in status.state_error
    assert status.rules[0].images == {"in_sync": 1}
    assert not house.view.health().is_ready
    assert house.view.health().is_live


async def test_runs_side_by_side_have_figures_of_their_own(house: House) -> None:
    for number in range(5):
        house.scene.memory.add(SOURCE, make_image(f"app-{number}"), f"v{number}")
    house.adopt(make_rule("app", A), make_rule("other", C, source=OTHER))

    async with house.serving():
        house.service.wake("app", Cause.SCHEDULE)
        house.service.wake("other", Cause.SCHEDULE)
        await house.idle(2)

    copied = {run.rule: (run.outcomes["copied"], run.blobs.uploaded.count) for run in house.ended()}
    assert copied == {"app": (6, 18), "other": (1, 3)}


async def test_progress_of_a_run_is_seen_while_it_goes_on(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        seen = house.view.rule("app")
        trap.open()
        await house.idle(1)
        after = house.view.rule("app")

    assert seen is not None
    assert seen.running is not None
    assert (seen.running.total, seen.running.done, seen.running.blobs.uploaded.count) == (1, 0, 3)
    assert seen.images == {"copying": 1}
    assert after is not None
    assert after.running is None
    assert after.last_success == after.last_looked is not None


async def test_run_without_progress_is_shown_as_stalled_and_ends_the_liveness(house: House) -> None:
    house.adopt(make_rule("app", A))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        await anyio.wait_all_tasks_blocked()
        house.scene.clock.advance(6 * 60)
        house.timetable.ticked = house.scene.clock.monotonic()
        stalled, live = house.view.rule("app"), house.view.health()
        house.scene.clock.advance(30 * 60)
        house.timetable.ticked = house.scene.clock.monotonic()
        dead = house.view.health()
        trap.open()
        await house.idle(1)

    assert stalled is not None
    assert stalled.images == {"stalled": 1}
    assert live.is_live
    assert not dead.is_live
    assert "app: nothing for 36 min" in dead.live[1].detail


async def test_alarm_that_stands_still_ends_the_liveness(house: House) -> None:
    house.adopt(make_rule("app", A))
    house.scene.clock.advance(10 * 60)

    health = house.view.health()

    assert not health.is_live
    assert health.is_ready


async def test_begun_runs_are_told_before_they_end(house: House) -> None:
    house.adopt(make_rule("app", A))

    async with house.serving():
        house.service.wake("app", Cause.SIGNAL)
        await house.idle(1)

    told = [event for event in house.heard.events if isinstance(event, RunBegan | RunEnded)]
    assert [type(event) for event in told] == [RunBegan, RunEnded]
    assert told[0].run.id == told[1].run.id


async def test_reader_of_a_rule_that_is_always_about_to_run_gets_its_turn(house: House) -> None:
    """A rule due every second runs, or waits to run, at every moment: its readers must not wait for all of that."""
    house.adopt(scheduled(make_rule("first", A)), scheduled(make_rule("last", B, source=A)))
    begun: list[str] = []

    class Again(EventSink):
        def emit(self, event: Event) -> None:
            if isinstance(event, RunBegan):
                begun.append(event.run.rule)
                if event.run.rule == "first" and len(begun) < 20:
                    house.service.wake("first", Cause.SCHEDULE)

    house.hub.add(Again())

    async with house.serving():
        house.ring("last")
        house.ring("first")
        await settle(lambda: "last" in begun)
        await settle(lambda: not house.service.running and not house.service.queue_depth)

    assert begun[:3].count("last") == 1
    assert house.scene.served(B) == house.scene.served(SOURCE)


async def test_asking_by_hand_for_a_rule_that_waits_for_its_schedule_makes_it_one_by_hand(house: House) -> None:
    """Whoever asks may just have mended a password: registries have to be asked anew."""
    house.adopt(scheduled(make_rule("app", A)))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.ring("app")
        await trap.reached.wait()
        house.ring("app")
        ticket = house.service.wake("app", Cause.MANUAL)
        trap.open()
        await house.idle(2)

    assert ticket is not None
    assert ticket.already
    assert [run.cause for run in house.ended()] == [Cause.SCHEDULE, Cause.MANUAL]
    assert house.ended()[1].id == ticket.run


@dataclass
class Hanging(RamHistory):
    """Never answers while ``hangs``."""

    hangs: bool = False

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        if self.hangs:
            await anyio.sleep_forever()
        await super().save_run(run, looked=looked)


async def test_history_that_never_answers_costs_its_deadline_and_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrord.sync.service.WRITE_DEADLINE_S", 0.01)
    house = House(history=Hanging(hangs=True))
    house.scene.memory.add(SOURCE, make_image("app"), "1.0")
    house.adopt(make_rule("app", A))

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await house.idle(1)

    (run,) = house.ended()
    assert run.result is RunResult.OK
    assert house.scene.served(A) == house.scene.served(SOURCE)
    told = [event.error for event in house.heard.events if isinstance(event, StateChanged)]
    assert told == ["STATE_UNUSABLE: the state store did not answer within 0 s"]
    assert house.board.memory("app").last_run == replace(run, changes=())


@dataclass
class Faulty(RamHistory):
    """Raises what no store should."""

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        raise ZeroDivisionError(rule)


async def test_fault_in_the_history_ends_neither_the_run_nor_the_service() -> None:
    house = House(history=Faulty())
    house.scene.memory.add(SOURCE, make_image("app"), "1.0")
    house.adopt(make_rule("app", A))

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        await house.idle(1)
        house.service.wake("app", Cause.MANUAL)
        await house.idle(2)

    assert [run.result for run in house.ended()] == [RunResult.OK, RunResult.OK]
    assert house.board.state_error is not None
    assert "ZeroDivisionError" in house.board.state_error


async def test_listener_that_raises_harms_neither_runs_nor_other_listeners(house: House) -> None:
    class Broken(EventSink):
        def emit(self, event: Event) -> None:
            raise KeyError(type(event).__name__)

    broken, later = Broken(), Recorder()
    house.hub.add(broken)
    house.hub.add(later)
    house.adopt(scheduled(make_rule("app", A)))

    async with house.serving():
        house.ring("app")
        await house.idle(1)

    assert house.ended()[0].result is RunResult.OK
    assert house.ended()[0] in [event.run for event in later.events if isinstance(event, RunEnded)]
    assert (broken, RunEnded) in house.faults


async def test_service_counts_the_runs_that_it_broke_off(house: House) -> None:
    house.adopt(make_rule("app", A), make_rule("other", C, source=OTHER))
    trap = house.scene.memory.hold("put_manifest", at=A)

    async with house.serving():
        house.service.wake("other", Cause.MANUAL)
        await house.idle(1)
        house.service.wake("app", Cause.MANUAL)
        await trap.reached.wait()
        before = house.service.interrupted

    assert (before, house.service.interrupted) == (0, 1)


async def test_run_may_wait_long_for_others_that_move_bytes(house: House) -> None:
    """Layers of tens of gigabytes hold places and blobs for longer than a run without news may be alive."""
    house.adopt(make_rule("app", A), make_rule("other", C, source=OTHER))
    traps = [house.scene.memory.hold("put_manifest", at=place) for place in (A, C)]
    clock = house.scene.clock

    async with house.serving():
        house.service.wake("app", Cause.MANUAL)
        house.service.wake("other", Cause.MANUAL)
        for trap in traps:
            await trap.reached.wait()
        clock.advance(40 * 60)
        house.timetable.ticked = clock.monotonic()
        both_idle = house.view.health().is_live
        busy = next(running.meter for running in house.service.running if running.rule.name == "other")
        busy.emit(BlobStarted(transfer=7, digest=DIGEST, size=9, source=OTHER, targets=(C,)))
        one_busy = house.view.health().is_live
        clock.advance(6 * 3600)
        house.timetable.ticked = clock.monotonic()
        busy.emit(BlobProgress(transfer=7, read=1, host=OTHER.host))
        far_too_long = house.view.health()
        for trap in traps:
            trap.open()
        await house.idle(2)

    assert (both_idle, one_busy, far_too_long.is_live) == (False, True, False)
    assert "app: nothing for 400 min" in far_too_long.live[1].detail


async def test_registry_that_did_not_answer_is_asked_anew_under_a_new_configuration(house: House) -> None:
    """The connections of the configuration before would tell that it answers again, and they are gone."""
    house.adopt(make_rule("app", A))
    house.hub.emit(BreakerChanged(host=A.host, is_open=True))
    before = house.board.registries[A.host].answers

    house.adopt(make_rule("app", A), name="second")

    assert (before, house.board.registries[A.host].answers) == (False, True)


@pytest.mark.parametrize("rules", [0, 300])
async def test_any_number_of_rules_is_served(house: House, rules: int) -> None:
    house.adopt(*(make_rule(f"rule-{number}", f"target-a.test/mirror/{number}") for number in range(rules)))

    async with house.serving():
        for number in range(rules):
            house.service.wake(f"rule-{number}", Cause.SIGNAL)
        with anyio.fail_after(60):
            while house.service.running or house.service.queue_depth:
                await anyio.wait_all_tasks_blocked()

    assert len(house.ended()) == rules
    assert {run.result for run in house.ended()} == ({RunResult.OK} if rules else set())
    assert house.service.queue_depth == 0
