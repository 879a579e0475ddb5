"""What is due next: a heap of moments that holds no clock of its own."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirrord.jobs.moments import next_moment, passed
from mirrord.planning.schedule import Schedule
from mirrord.ports.schedule import Firing

REPEAT_LIMIT = timedelta(hours=2)
"""A clock set back by no more than this, and by no more than a rule's pause, lets none of its moments ring again."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A rule: its next moment (None: never), and the last one that rang under this schedule."""

    schedule: Schedule
    moment: datetime | None
    rang: datetime | None = None


class Agenda:
    """The next moment of every rule. It is told the time, and tells what is due."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._looked: datetime | None = None

    def replace(self, schedules: Mapping[str, Schedule], now: datetime) -> None:
        """Go by these schedules, by rule; one that is the same as before keeps its moment."""
        kept = {}
        for rule, schedule in schedules.items():
            entry = self._entries.get(rule)
            if entry is None or entry.schedule != schedule:
                entry = _Entry(schedule, next_moment(schedule, rule, now))
            kept[rule] = entry
        self._entries = kept
        self._order()

    def due(self, now: datetime) -> list[Firing]:
        """Return the rules of which a moment has passed, earliest first, each once; they are planned anew.

        A ``now`` that is earlier than the one before says that the clock was set back: all are planned anew.
        """
        if self._looked is not None and now < self._looked:
            self._plan_anew(now)
        self._looked = now
        firings = []
        while self._heap and self._heap[0][0] <= now:
            first, rule = self._heap[0]
            entry = self._entries[rule]
            entry.rang, missed = passed(entry.schedule, rule, first, now)
            entry.moment = next_moment(entry.schedule, rule, now)
            if entry.moment is None:
                heapq.heappop(self._heap)
            else:
                heapq.heapreplace(self._heap, (entry.moment, rule))
            firings.append(Firing(rule=rule, due=entry.rang, missed=missed))
        return firings

    @property
    def next_moment(self) -> datetime | None:
        """When the next rule is due; None: none ever is."""
        return self._heap[0][0] if self._heap else None

    def next_run(self, rule: str) -> datetime | None:
        """Return when a rule is due next; None: never, or there is no such rule."""
        entry = self._entries.get(rule)
        return entry.moment if entry else None

    def overdue(self, rule: str, last: datetime | None, now: datetime) -> bool:
        """Say whether a moment of a rule has passed since ``last``; with None: whether there is such a rule."""
        entry = self._entries.get(rule)
        if entry is None or last is None:
            return entry is not None
        moment = next_moment(entry.schedule, rule, last)
        return moment is not None and moment <= now

    def _plan_anew(self, now: datetime) -> None:
        for rule, entry in self._entries.items():
            entry.moment = next_moment(entry.schedule, rule, _plan_from(entry, now))
        self._order()

    def _order(self) -> None:
        self._heap = [(entry.moment, rule) for rule, entry in self._entries.items() if entry.moment is not None]
        heapq.heapify(self._heap)


def _plan_from(entry: _Entry, now: datetime) -> datetime:
    """Return after what a rule's next moment is to be sought, on a clock that was set back to ``now``.

    What rang is not repeated after a small step, as when the clock is set by a time server. But a rule must not wait
    for the clock to catch up over years, nor over more than the time that lies between its moments anyway.
    """
    if entry.rang is None or entry.rang <= now:
        return now
    usual = entry.moment - entry.rang if entry.moment is not None else REPEAT_LIMIT
    return entry.rang if entry.rang - now <= min(usual, REPEAT_LIMIT) else now
