"""The alarm: on a clock that tests move, and with APScheduler for real."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from mirrord.app import SystemClock
from mirrord.jobs.alarm import WATCH_S, Alarm
from mirrord.jobs.alarmclock import SchedulerAlarm
from mirrord.planning.schedule import Cron, Every
from mirrord.ports.schedule import Firing
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
QUARTER = Every(interval=15 * MINUTE)


class FakeAlarmClock:
    """Keeps the moment that was set; the test says when it wakes. ``stopped``: its context ended."""

    def __init__(self) -> None:
        self.moment: datetime | None = None
        self.was_set = anyio.Event()
        self.stopped = False
        self.wake: Callable[[], None] = lambda: None

    def set(self, moment: datetime | None) -> None:
        self.moment = moment
        self.was_set.set()
        self.was_set = anyio.Event()

    @asynccontextmanager
    async def __call__(self, wake: Callable[[], None]) -> AsyncIterator[FakeAlarmClock]:
        self.wake = wake
        try:
            yield self
        finally:
            self.stopped = True


class Bench:
    """An alarm on a clock that the test moves, and what rang."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.alarm_clock = FakeAlarmClock()
        self.alarm = Alarm(self.clock, self.alarm_clock)
        self.rang: list[Firing] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.alarm.serve, self.rang.append)
            await self.look()
            await anyio.lowlevel.checkpoint()  # the watch begins to sleep
            yield
            group.cancel_scope.cancel()

    async def sleep_to_the_alarm(self) -> None:
        """Let time pass up to the moment that is set, and wake the alarm."""
        assert self.alarm_clock.moment is not None
        self.clock.advance((self.alarm_clock.moment - self.clock.now()).total_seconds())
        self.alarm_clock.wake()
        await self.look()

    async def pass_s(self, seconds: float) -> None:
        """Let time pass that is enough for the watch to look at the clock."""
        self.clock.advance(seconds)
        await self.look()

    async def look(self) -> None:
        """Wait until the alarm has looked at the clock once more, which it does not fail to do."""
        with anyio.fail_after(10):
            await self.alarm_clock.was_set.wait()


class JumpingClock(FakeClock):
    """A clock that waits for the test, and whose wall clock can be set without time passing."""

    def __init__(self) -> None:
        super().__init__(manual=True)
        self.error = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.error


@pytest.fixture
def bench() -> Bench:
    return Bench()


def names(firings: list[Firing]) -> list[str]:
    return [firing.rule for firing in firings]


async def test_alarm_rings_at_each_moment_and_sets_the_next(bench: Bench) -> None:
    bench.alarm.replace({"a": QUARTER, "b": Cron(expression="30 * * * *")})

    async with bench.serving():
        for _ in range(5):
            await bench.sleep_to_the_alarm()

    assert names(bench.rang) == ["a", "b", "a", "a", "a"] or names(bench.rang) == ["a", "a", "b", "a", "a"]
    assert [firing.missed for firing in bench.rang] == [0] * 5
    assert bench.alarm.next_run("a") == bench.alarm_clock.moment


async def test_alarm_without_schedules_waits_for_some(bench: Bench) -> None:
    async with bench.serving():
        unset = bench.alarm_clock.moment
        bench.alarm.replace({"a": QUARTER})
        await bench.look()

        assert unset is None
        assert bench.alarm_clock.moment == bench.alarm.next_run("a") is not None

        bench.alarm.replace({})
        await bench.look()

        assert bench.alarm_clock.moment is None


async def test_schedules_that_are_replaced_take_effect_at_once(bench: Bench) -> None:
    bench.alarm.replace({"a": QUARTER, "b": QUARTER, "c": QUARTER})

    async with bench.serving():
        kept = bench.alarm.next_run("c")
        bench.alarm.replace({"b": Every(interval=MINUTE), "c": QUARTER, "d": Every(interval=MINUTE)})
        await bench.look()
        await bench.sleep_to_the_alarm()
        await bench.sleep_to_the_alarm()

    assert sorted(names(bench.rang)) == ["b", "d"]
    assert bench.alarm.next_run("c") == kept
    assert bench.alarm.next_run("a") is None


async def test_alarm_looks_at_the_clock_twice_a_minute_at_least(bench: Bench) -> None:
    assert WATCH_S < 30
    async with bench.serving():
        for _ in range(5):
            await bench.pass_s(WATCH_S)

            assert bench.alarm.ticked_at == bench.clock.monotonic()


@pytest.mark.covers("C45", "D88")
@pytest.mark.parametrize("years", [3, 10])
async def test_clock_that_jumps_forward_by_years_is_noticed_and_rings_once(bench: Bench, years: int) -> None:
    bench.alarm.replace({"a": QUARTER, "b": Cron(expression="0 3 * * *", timezone="Europe/Berlin")})

    async with bench.serving():
        bench.clock.error = timedelta(days=365 * years)
        await bench.pass_s(WATCH_S)
        rang = sorted(names(bench.rang))
        await bench.pass_s(WATCH_S)

    assert rang == ["a", "b"]
    assert names(bench.rang[2:]) in ([], ["a"])
    assert all(firing.missed == 1000 for firing in bench.rang[:2])


@pytest.mark.covers("C45", "D88")
@pytest.mark.parametrize("back", [timedelta(days=3650), timedelta(days=1095), timedelta(hours=1), timedelta(minutes=1)])
async def test_clock_that_jumps_back_is_noticed_and_rules_go_on(bench: Bench, back: timedelta) -> None:
    """An alarm clock that was set for the time before would sleep for years."""
    bench.alarm.replace({"a": QUARTER})

    async with bench.serving():
        for _ in range(4):
            await bench.sleep_to_the_alarm()
        bench.clock.error = -back
        await bench.pass_s(WATCH_S)
        at_once = len(bench.rang)
        for _ in range(4):
            begun = bench.clock.monotonic()
            await bench.sleep_to_the_alarm()
            assert bench.clock.monotonic() - begun <= 2 * QUARTER.interval.total_seconds()

    assert at_once == 4
    assert names(bench.rang) == ["a"] * 8


async def test_overdue_is_asked_at_the_clock(bench: Bench) -> None:
    bench.alarm.replace({"a": Cron(expression="* * * * *")})

    assert bench.alarm.overdue("a", None)
    assert not bench.alarm.overdue("a", START)

    bench.clock.advance(60)

    assert bench.alarm.overdue("a", START)
    assert not bench.alarm.overdue("a", START + MINUTE)
    assert not bench.alarm.overdue("b", None)


async def test_moments_before_serving_began_ring_when_it_does(bench: Bench) -> None:
    bench.alarm.replace({"a": Every(interval=MINUTE)})
    bench.clock.advance(120)

    async with bench.serving():
        pass

    assert [(firing.rule, firing.missed) for firing in bench.rang] == [("a", 1)]
    assert bench.alarm_clock.stopped


on_both_loops = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


@on_both_loops
async def test_apscheduler_wakes_the_alarm_and_leaves_nothing_behind() -> None:
    """In real time: two rules of one second, which ring twice each."""
    alarm = Alarm(SystemClock())
    alarm.replace({"a": Every(interval=timedelta(seconds=1)), "b": Every(interval=timedelta(seconds=1))})
    rang: list[tuple[Firing, datetime]] = []
    enough = anyio.Event()

    def ring(firing: Firing) -> None:
        rang.append((firing, datetime.now(UTC)))
        if len(rang) == 4:
            enough.set()

    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    async with anyio.create_task_group() as group:
        group.start_soon(alarm.serve, ring)
        with anyio.fail_after(20):
            await enough.wait()
        group.cancel_scope.cancel()

    assert sorted(firing.rule for firing, _ in rang[:2]) == ["a", "b"]
    assert all(firing.due <= at for firing, at in rang)
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) <= threads  # those of earlier tests may end meanwhile


@on_both_loops
async def test_apscheduler_forgets_the_moment_before_when_another_is_set() -> None:
    woken = anyio.Event()

    async with SchedulerAlarm(woken.set) as alarm_clock:
        alarm_clock.set(datetime.now(UTC) + timedelta(days=3650))
        alarm_clock.set(None)
        alarm_clock.set(None)
        await anyio.wait_all_tasks_blocked()
        assert not woken.is_set()
        alarm_clock.set(datetime.now(UTC) - timedelta(days=3650))
        with anyio.fail_after(10):
            await woken.wait()


@on_both_loops
async def test_alarm_that_is_cancelled_as_it_begins_leaves_nothing_behind() -> None:
    alarm = Alarm(SystemClock())
    alarm.replace({"a": Every(interval=timedelta(seconds=1))})
    tasks = asyncio.all_tasks()

    with anyio.move_on_after(0):
        await alarm.serve(lambda firing: None)

    assert asyncio.all_tasks() == tasks


@on_both_loops
async def test_apscheduler_that_was_stopped_is_held_by_no_timer() -> None:
    alarm_clock = SchedulerAlarm(lambda: None)
    held = weakref.ref(alarm_clock)

    async with alarm_clock:
        alarm_clock.set(datetime.now(UTC) + MINUTE)
        await anyio.lowlevel.checkpoint()
    del alarm_clock
    gc.collect()

    assert held() is None
