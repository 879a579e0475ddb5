"""The timetable of the service: an agenda, an alarm clock that wakes it, and a watch over the wall clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import anyio

from mirrord.jobs.agenda import Agenda
from mirrord.jobs.alarmclock import SchedulerAlarm
from mirrord.planning.schedule import Schedule
from mirrord.ports.clock import Clock
from mirrord.ports.schedule import Firing, Timetable

WATCH_S = 20.0
"""An alarm clock sleeps through changes of the wall clock; they are noticed after this many seconds at most."""


class AlarmClock(Protocol):
    """Calls a function at a moment of the wall clock."""

    def set(self, moment: datetime | None) -> None:
        """Call it at this moment instead of the one set before; at once where that has passed; None: not at all."""
        ...


OpenAlarmClock = Callable[[Callable[[], None]], AbstractAsyncContextManager[AlarmClock]]
"""Makes an alarm clock that calls a function; it is stopped when its context ends."""


class Alarm(Timetable):
    """Rings for rules at their moments. Serve it once at a time."""

    def __init__(self, clock: Clock, alarm_clock: OpenAlarmClock = SchedulerAlarm) -> None:
        """Know the clocks; there are no schedules yet."""
        self._clock = clock
        self._alarm_clock = alarm_clock
        self._agenda = Agenda()
        self._woken = anyio.Event()
        self._ticked_at = clock.monotonic()

    def replace(self, schedules: Mapping[str, Schedule]) -> None:
        """Go by these schedules from now on; see `Timetable`.

        Raises:
            StartupError: one has an expression or a time zone that is not valid; the schedules before stay in force.
        """
        self._agenda.replace(schedules, self._clock.now())
        self._wake()

    def next_run(self, rule: str) -> datetime | None:
        """Return when a rule is due next; see `Timetable`."""
        return self._agenda.next_run(rule)

    def overdue(self, rule: str, last: datetime | None) -> bool:
        """Say whether a moment of a rule's schedule has passed since ``last``; see `Timetable`."""
        return self._agenda.overdue(rule, last, self._clock.now())

    @property
    def ticked_at(self) -> float:
        """When the clock was last looked at, in monotonic seconds."""
        return self._ticked_at

    async def serve(self, ring: Callable[[Firing], None]) -> None:
        """Ring for every rule that is due, until cancelled; see `Timetable`."""
        async with self._alarm_clock(self._wake) as alarm_clock, anyio.create_task_group() as group:
            group.start_soon(self._watch)
            while True:
                self._woken = anyio.Event()
                for firing in self._agenda.due(self._clock.now()):
                    ring(firing)
                self._ticked_at = self._clock.monotonic()
                alarm_clock.set(self._agenda.next_moment)
                await self._woken.wait()  # not for long: the watch wakes it, too

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(WATCH_S)
            self._wake()

    def _wake(self) -> None:
        self._woken.set()
