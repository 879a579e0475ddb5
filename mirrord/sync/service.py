"""The long-lived service: lets rules run when they are due or asked for, side by side, none beside itself.

A rule's run is a run of that rule alone, so that one with many tags holds up no other; what keeps runs fair to each
other are the places at each registry, which are taken in the order in which they were asked for. A rule that reads what
another writes waits until that one has run, if it runs or is about to.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from mirrord.errors import MirrordError, StateError
from mirrord.planning.chains import Chains, chain_rules
from mirrord.planning.places import hosts_of
from mirrord.planning.report import Problem, RuleReport
from mirrord.planning.rule import Rule
from mirrord.planning.runstatus import run_status
from mirrord.planning.status import Cause, ProblemStatus, RunResult, RunStatus
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, RunBegan, RunEnded, ScheduleSkipped, StateChanged
from mirrord.ports.history import History
from mirrord.ports.schedule import Firing, Timetable
from mirrord.ports.service import Ticket
from mirrord.sync.board import Board
from mirrord.sync.engine import Engine
from mirrord.sync.meter import RunMeter, measuring
from mirrord.sync.run import Run, unwrap
from mirrord.sync.slots import Asked, Running, Slot, new_run_id
from mirrord.transfer.unit import describe

T = TypeVar("T")

RULES_AT_ONCE = 64
"""Rules that run side by side. What each may ask of a registry is decided by that registry's places."""

WRITE_DEADLINE_S = 10.0
"""How long a run waits for each thing that is written down of it; what cannot be is lost to the history alone."""

BY_HAND = frozenset({Cause.MANUAL, Cause.SIGNAL})
"""Runs that somebody waits for."""

INTERRUPTED = "the service was stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A configuration in force: its rules, what they are carried out with, and what to call when nobody uses that."""

    rules: Sequence[Rule]
    engine: Engine
    release: Callable[[], None] = lambda: None


class Service:
    """Runs rules until it is drained."""

    def __init__(
        self, *, clock: Clock, events: EventSink, history: History, timetable: Timetable, board: Board
    ) -> None:
        """Make a service without rules; `adopt` gives it some."""
        self.board = board
        self._clock = clock
        self._events = events
        self._history = history
        self._timetable = timetable
        self._slots: dict[str, Slot] = {}
        self._leaving: list[Running] = []
        self._chains: Chains = Chains()
        self._setups: list[Setup] = []
        self._orders = itertools.count()
        self._news = anyio.Event()
        self._draining = False
        self._serving = False
        self._interrupted = 0

    @property
    def queue_depth(self) -> int:
        """How many rules wait to begin."""
        return sum(slot.asked is not None for slot in self._slots.values())

    @property
    def is_serving(self) -> bool:
        """Whether `serve` goes on."""
        return self._serving

    @property
    def interrupted(self) -> int:
        """How many runs did not come to their end."""
        return self._interrupted

    @property
    def is_draining(self) -> bool:
        """Whether no run begins any more."""
        return self._draining

    @property
    def running(self) -> Sequence[Running]:
        """The runs that go on."""
        return [*(slot.running for slot in self._slots.values() if slot.running is not None), *self._leaving]

    def adopt(self, setup: Setup) -> None:
        """Go by a configuration from now on. Runs that go on end under the one that they began with.

        Rules that are new or changed, or were due while nobody was there, run as soon as they may.

        Raises:
            StartupError: a schedule cannot be used; nothing changed.
        """
        self._timetable.replace({rule.name: rule.schedule for rule in setup.rules if rule.schedule is not None})
        before = self._slots
        self._setups.append(setup)
        self._chains = chain_rules(setup.rules)
        self._slots = {}
        for rule in setup.rules:
            slot = before.get(rule.name) or Slot(rule, setup.engine)
            self._slots[rule.name] = slot
        self._leaving += [
            slot.running for name, slot in before.items() if name not in self._slots and slot.running is not None
        ]
        self.board.adopt(setup.rules, self._slots)
        for rule in setup.rules:
            slot = self._slots[rule.name]
            is_changed = rule.name in before and slot.rule != rule
            slot.rule, slot.engine = rule, setup.engine
            if rule.schedule is not None and (is_changed or self._is_overdue(rule.name)):
                self.wake(rule.name, Cause.RELOAD if before else Cause.START)
        self._release_unused()
        self._tell()

    def wake(self, rule: str, cause: Cause) -> Ticket | None:
        """Have a rule run as soon as it may; see `ServiceView.wake`."""
        slot = self._slots.get(rule)
        if slot is None or self._draining:
            return None
        if slot.asked is not None:
            if cause in BY_HAND and slot.asked.cause not in BY_HAND:
                slot.asked = replace(slot.asked, cause=cause)  # it goes first now, and asks registries anew
            return Ticket(rule=rule, run=slot.asked.run, already=True)
        slot.asked = Asked(run=new_run_id(self._clock.now()), cause=cause, order=next(self._orders))
        self.board.changed()
        self._tell()
        return Ticket(rule=rule, run=slot.asked.run, already=False)

    def ring(self, firing: Firing) -> None:
        """Have a rule run whose schedule says so. One that runs still is counted as skipped, and runs once more."""
        slot = self._slots.get(firing.rule)
        if slot is None:
            return
        reason = "draining" if self._draining else "overlap" if slot.running is not None else ""
        for _ in range(firing.missed):
            self._events.emit(ScheduleSkipped(rule=firing.rule, reason="missed"))
        if reason or slot.asked is not None:
            self._events.emit(ScheduleSkipped(rule=firing.rule, reason=reason or "overlap"))
        self.wake(firing.rule, Cause.SCHEDULE)

    def drain(self) -> None:
        """Begin nothing any more: images that are being copied are finished, and `serve` ends when they are."""
        self._draining = True
        for slot in self._slots.values():
            slot.asked = None
        for running in self.running:
            running.run.stop()
        self.board.changed()
        self._tell()

    async def serve(self) -> None:
        """Run rules until the service is drained. Cancelling it breaks off what is being copied."""
        self._serving = True
        try:
            async with anyio.create_task_group() as group, anyio.create_task_group() as timing:
                timing.start_soon(self._timetable.serve, self.ring)
                while self.running or not self._draining:
                    news = self._news
                    self._begin_what_may(group)
                    await news.wait()
                timing.cancel_scope.cancel()
        finally:
            self._serving = False

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _is_overdue(self, rule: str) -> bool:
        memory = self.board.memory(rule)
        return self._timetable.overdue(rule, memory.last_success)

    def _begin_what_may(self, group: TaskGroup) -> None:
        """Begin the runs that may, those asked for by hand first, then in the order in which they were asked for."""
        room = RULES_AT_ONCE - len(self.running)
        waiting = [slot for slot in self._slots.values() if slot.asked is not None and self._may_begin(slot)]
        for slot in sorted(waiting, key=_turn)[: max(0, room)]:
            asked, slot.asked = slot.asked, None
            assert asked is not None
            slot.begun = next(self._orders)
            engine, rule = slot.engine, slot.rule
            meter = RunMeter(asked.run, rule.name, self._clock)
            slot.running = Running(
                asked=asked, run=Run(engine.context(), [_as_asked(rule, asked)]), meter=meter, engine=engine, rule=rule
            )
            group.start_soon(self._run, slot, slot.running)
        self.board.changed()

    def _may_begin(self, slot: Slot) -> bool:
        """Say whether a run that was asked for may begin.

        It waits for a rule that feeds it while that runs, or is about to. One that began after this was asked for is
        not waited for a second time, or a rule that is always about to run would hold up its readers for ever.
        """
        asked = slot.asked
        if self._draining or slot.running is not None or asked is None:
            return False
        name = slot.rule.name
        if any(running.rule.name == name for running in self._leaving):
            return False  # it was taken out of the file and put back while it ran
        for other in self._chains.before.get(name, ()):
            first = self._slots.get(other)
            if first is None:
                continue
            if first.running is not None or (first.asked is not None and first.begun < asked.order):
                return False
        return True

    async def _run(self, slot: Slot, running: Running) -> None:
        """Run one rule to its end, whatever happens, and write down what came of it."""
        rule, meter = running.rule, running.meter
        begun = RunStatus(id=meter.run, rule=rule.name, cause=running.asked.cause, started=meter.started)
        interrupted = True
        broken: Problem | None = None
        try:
            self._events.emit(RunBegan(run=begun))
            with measuring(meter):
                await self._carry_out(running, begun)
            interrupted = self._draining and running.run.is_stopped
        except Exception as exc:  # noqa: BLE001 - whatever one run meets, the service goes on
            interrupted = False
            broken = describe(unwrap(exc))
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await self._conclude(running, begun, interrupted=interrupted, broken=broken)
            except Exception as exc:  # noqa: BLE001 - nor does what is wrong with the telling of it end the service
                self._tell_of_fault(begun, exc)
            finally:
                self._leave(slot, running)

    def _leave(self, slot: Slot, running: Running) -> None:
        """Make room for the rule's next run."""
        if running in self._leaving:
            self._leaving.remove(running)
        if slot.running is running:
            slot.running = None
        if not self.running:
            running.engine.forget()
        self._release_unused()
        self.board.changed()
        self._tell()

    async def _carry_out(self, running: Running, begun: RunStatus) -> None:
        await self._write(begun, looked=False)
        alone = running.asked.cause in BY_HAND
        if alone:  # whoever asks may just have mended a password
            running.engine.ask_anew(hosts_of([running.rule]))
        await running.run.carry_out(running.engine.executor(alone=alone))

    async def _conclude(self, running: Running, begun: RunStatus, *, interrupted: bool, broken: Problem | None) -> None:
        """Make the report of a run, write it down and tell of it."""
        rule_run = running.run.rules[0]
        if interrupted:
            settled = len(rule_run.results)
            running.run.conclude(INTERRUPTED)
            interrupted = not rule_run.looked or len(rule_run.results) > settled  # else it had come to its end
        if broken is not None:
            rule_run.problems.append(broken)
        report: RuleReport = rule_run.report()
        await self._in_time(running.engine.memory.flush)
        lag_seconds = await self._in_time(lambda: self.board.refresh(running.rule.name, report)) or 0.0
        ended = run_status(
            begun.id,
            begun.cause,
            started=begun.started,
            finished=self._clock.now(),
            report=report,
            interrupted=interrupted,
            lag_seconds=lag_seconds,
            requests=running.meter.requests,
            pulls=running.meter.pulls,
            fanout_bytes=running.meter.fanout_bytes,
        )
        looked = rule_run.looked and not interrupted
        self._interrupted += interrupted
        self.board.ended(ended, looked=looked)
        await self._write(ended, looked=looked)
        self._events.emit(RunEnded(run=ended, looked=looked))

    def _tell_of_fault(self, begun: RunStatus, error: Exception) -> None:
        problem = describe(unwrap(error))
        now = self._clock.now()
        shown = ProblemStatus(code=problem.code, message=problem.message, remedy=problem.remedy, at=now)
        ended = replace(begun, finished=now, result=RunResult.FAILED, problems=(shown,))
        self.board.ended(ended, looked=False)
        self._events.emit(RunEnded(run=ended, looked=False))

    async def _write(self, run: RunStatus, *, looked: bool) -> None:
        await self._in_time(lambda: self._history.save_run(run, looked=looked))

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what the state store answers; None where it fails or takes too long: no run depends on it."""
        try:
            with anyio.fail_after(WRITE_DEADLINE_S):
                return await work()
        except TimeoutError:
            error: MirrordError = StateError(f"the state store did not answer within {WRITE_DEADLINE_S:.0f} s")
        except MirrordError as exc:
            error = exc
        except Exception as exc:  # noqa: BLE001 - a store that breaks costs what it knows, and no run
            error = StateError(str(describe(unwrap(exc))))
        if self.board.state_error is None:
            self._events.emit(StateChanged(error=str(error)))
        self.board.state_failed(str(error))
        return None

    def _release_unused(self) -> None:
        """Let go of configurations that no run uses any more; the last one is in force."""
        used = {id(running.engine) for running in self.running}
        *earlier, last = self._setups
        self._setups = [*(setup for setup in earlier if id(setup.engine) in used), last]
        for setup in earlier:
            if id(setup.engine) not in used:
                setup.release()


def _turn(slot: Slot) -> tuple[bool, int]:
    assert slot.asked is not None
    return (slot.asked.cause not in BY_HAND, slot.asked.order)


def _as_asked(rule: Rule, asked: Asked) -> Rule:
    """Return the rule as it is run: who asks for it by hand wants targets looked at, whatever was proven lately."""
    if asked.cause is not Cause.MANUAL:
        return rule
    return replace(rule, policy=replace(rule.policy, target_recheck=timedelta(0)))
