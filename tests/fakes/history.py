"""A history in memory, which can be told to fail, and a timetable that rings when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio

from mirrord.errors import StateError
from mirrord.planning.memory import TargetSummary
from mirrord.planning.schedule import Schedule
from mirrord.planning.status import ImagePage, QuotaStatus, RunPage, RunResult, RunStatus, Saved
from mirrord.ports.history import History, ImageQuery, RuleMemory
from mirrord.ports.schedule import Firing, Timetable


@dataclass
class RamHistory(History):
    """Remembers runs by id. While ``broken`` nothing can be read or written. ``summaries`` are what a test says."""

    saved_runs: dict[str, RunStatus] = field(default_factory=dict)
    memories: dict[str, RuleMemory] = field(default_factory=dict)
    summaries: dict[str, list[TargetSummary]] = field(default_factory=dict)
    kept_quotas: dict[str, QuotaStatus] = field(default_factory=dict)
    broken: bool = False

    def _check(self) -> None:
        if self.broken:
            raise StateError("the disk is full")

    async def rules(self) -> Mapping[str, RuleMemory]:
        self._check()
        return self.memories

    async def forget_rules(self, left: Collection[str]) -> None:
        self._check()
        self.summaries = {name: found for name, found in self.summaries.items() if name in left}

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        self._check()
        return self.summaries.get(rule, [])

    async def images(self, query: ImageQuery) -> ImagePage:
        self._check()
        return ImagePage()

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        self._check()
        self.saved_runs[run.id] = run
        if run.finished is None:
            return
        before = self.memories.get(run.rule, RuleMemory())
        self.memories[run.rule] = replace(
            before,
            last_run=run,
            last_looked=run.finished if looked else before.last_looked,
            last_success=run.finished if run.result is RunResult.OK else before.last_success,
        )

    async def run(self, run: str) -> RunStatus | None:
        self._check()
        return self.saved_runs.get(run)

    async def runs(self, *, rule: str | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        self._check()
        found = [run for run in self.saved_runs.values() if rule in {None, run.rule}]
        return RunPage(runs=tuple(sorted(found, key=lambda run: run.id, reverse=True)[:limit]))

    async def saved(self, since: datetime) -> Saved:
        self._check()
        return Saved(since=since)

    async def keep_quota(self, quota: QuotaStatus) -> None:
        self._check()
        self.kept_quotas[quota.registry] = quota

    async def quotas(self) -> Sequence[QuotaStatus]:
        self._check()
        return list(self.kept_quotas.values())

    async def owned(self, rule: str) -> Mapping[str, frozenset[str]]:
        self._check()
        return {}

    async def trim(self, now: datetime) -> int:
        self._check()
        return 0

    async def check(self, *, whole: bool = True) -> None:
        self._check()


@dataclass
class HandRung(Timetable):
    """Rings when a test says so. ``due`` are the rules that count as overdue at the start."""

    schedules: dict[str, Schedule] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)
    next: dict[str, datetime] = field(default_factory=dict)
    ring: Callable[[Firing], None] | None = None
    serving: anyio.Event = field(default_factory=anyio.Event)
    ticked: float = 0.0

    def replace(self, schedules: Mapping[str, Schedule]) -> None:
        self.schedules = dict(schedules)

    def next_run(self, rule: str) -> datetime | None:
        return self.next.get(rule)

    def overdue(self, rule: str, last: datetime | None) -> bool:
        return rule in self.due and last is None

    async def serve(self, ring: Callable[[Firing], None]) -> None:
        self.ring = ring
        self.serving.set()
        await anyio.sleep_forever()

    @property
    def ticked_at(self) -> float:
        return self.ticked
