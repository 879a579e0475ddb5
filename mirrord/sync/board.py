"""What is known of every rule and registry now: kept in memory, for whoever looks, however often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mirrord.errors import MirrordError
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.places import hosts_of
from mirrord.planning.report import Outcome, RuleReport
from mirrord.planning.rule import Rule
from mirrord.planning.status import ProblemStatus, QuotaStatus, RunResult, RunStatus, Saved
from mirrord.ports.clock import Clock
from mirrord.ports.events import BlobFinished, BlobStarted, BreakerChanged, Event, EventSink, QuotaTold, StateChanged
from mirrord.ports.history import History, RuleMemory
from mirrord.sync.slots import Slot

SAVED_OVER = timedelta(days=7)
"""The span over which the page tells what was saved."""


@dataclass(slots=True)
class Entry:
    """What is known of one rule."""

    slot: Slot
    memory: RuleMemory = field(default_factory=RuleMemory)
    summaries: tuple[TargetSummary, ...] = ()
    problem: ProblemStatus | None = None
    warnings: tuple[str, ...] = ()

    @property
    def behind_since(self) -> datetime | None:
        """The moment of the oldest change that a target does not serve; None: all is served."""
        return behind_since(self.summaries)

    @property
    def rule(self) -> Rule:
        """The rule as it is in force."""
        return self.slot.rule


@dataclass(slots=True)
class Registry:
    """What is known of one registry. ``dry_since``: since when nothing may be spent of its quota."""

    transfers: int = 0
    answers: bool = True
    quota: QuotaStatus | None = None
    dry_since: datetime | None = None


@dataclass(slots=True)
class Board(EventSink):
    """Facts by rule and by registry. ``version`` grows with every change but those of progress and time.

    ``saved_is_old``: runs ended since ``saved`` was counted that moved something, or found it there.
    """

    clock: Clock
    history: History
    version: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    registries: dict[str, Registry] = field(default_factory=dict)
    saved: Saved | None = None
    state_error: str | None = None
    saved_is_old: bool = False
    _transfers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _memories: dict[str, RuleMemory] = field(default_factory=dict)
    _unsaved_quotas: dict[str, QuotaStatus] = field(default_factory=dict)

    def changed(self) -> None:
        """Say that something is not as it was."""
        self.version += 1

    def emit(self, event: Event) -> None:
        """Take in what happens at registries and with the state store."""
        match event:
            case QuotaTold():
                self._take_quota(event)
            case BreakerChanged():
                self._registry(event.host).answers = not event.is_open
                self.changed()
            case BlobStarted():
                hosts = (event.source.host, *(target.host for target in event.targets))
                self._transfers[event.transfer] = tuple(dict.fromkeys(hosts))
                for host in self._transfers[event.transfer]:
                    self._registry(host).transfers += 1
            case BlobFinished():
                for host in self._transfers.pop(event.transfer, ()):
                    self._registry(host).transfers -= 1
            case StateChanged():
                self.state_error = event.error
                self.changed()
            case _:
                pass

    async def load(self) -> None:
        """Take in what the history knows from earlier processes.

        Raises:
            StateError: it cannot be read.
        """
        self._memories = dict(await self.history.rules())
        for quota in await self.history.quotas():
            self._registry(quota.registry).quota = quota
        await self.count_saved()

    def adopt(self, rules: Sequence[Rule], slots: Mapping[str, Slot]) -> None:
        """Show these rules from now on; what is known of those that stay is kept."""
        before = self.entries
        self.entries = {}
        for rule in rules:
            entry = before.get(rule.name) or self._entry(rule.name, slots[rule.name])
            entry.slot = slots[rule.name]
            self.entries[rule.name] = entry
        hosts = hosts_of(rules)
        for host in hosts:
            self._registry(host).answers = True  # they are asked anew, over other connections
        for host in set(self.registries).difference(hosts):
            if not self.registries[host].transfers:
                del self.registries[host]
        self.changed()

    def memory(self, rule: str) -> RuleMemory:
        """Return what is remembered of a rule's runs."""
        return self.entries[rule].memory

    async def refresh(self, rule: str, report: RuleReport | None = None) -> float:
        """Count a rule's images anew, by the history, or where that fails by a report; return the lag in seconds."""
        entry = self.entries.get(rule)
        meter = entry.slot.running.meter if entry is not None and entry.slot.running is not None else None
        counted = Counter(meter.arrived) if meter is not None else Counter()
        try:
            summaries = tuple(await self.history.summary(rule))
        except MirrordError as exc:
            self.state_failed(str(exc))
            summaries = tuple(summaries_of(report, self.clock.now())) if report is not None else ()
        if entry is not None and (summaries or report is not None):
            entry.summaries = summaries
            if meter is not None:
                meter.arrived -= counted
        self.changed()
        return lag_seconds(summaries, self.clock.now())

    async def refresh_all(self) -> None:
        """Count the images of all rules anew."""
        for rule in list(self.entries):
            await self.refresh(rule)

    def ended(self, run: RunStatus, *, looked: bool) -> None:
        """Take in how a run ended."""
        entry = self.entries.get(run.rule)
        if entry is None:
            return
        memory = entry.memory
        entry.memory = RuleMemory(
            last_run=replace(run, changes=()),  # the history has them; here they would be held for good
            last_looked=run.finished if looked else memory.last_looked,
            last_success=run.finished if run.result is RunResult.OK else memory.last_success,
        )
        entry.warnings = run.warnings
        blobs = run.blobs
        self.saved_is_old = self.saved_is_old or bool(
            blobs.uploaded.count or blobs.mounted.count or blobs.existed.count
        )
        if run.result is RunResult.OK:
            entry.problem = None
        elif run.problems:
            entry.problem = run.problems[0]
        self.changed()

    async def count_saved(self) -> None:
        """Add up anew what was saved lately.

        Raises:
            StateError: the history cannot be read.
        """
        self.saved_is_old = False
        self.saved = await self.history.saved(self.clock.now() - SAVED_OVER)
        self.changed()

    def state_failed(self, error: str) -> None:
        """Take note that the state store could not be used."""
        if self.state_error != error:
            self.state_error = error
            self.changed()

    async def save_quotas(self) -> None:
        """Write down what registries said of their quotas since the last time.

        Raises:
            StateError: it cannot be written.
        """
        while self._unsaved_quotas:
            host, quota = self._unsaved_quotas.popitem()
            try:
                await self.history.keep_quota(quota)
            except BaseException:
                self._unsaved_quotas.setdefault(host, quota)
                raise

    def _entry(self, rule: str, slot: Slot) -> Entry:
        memory = self._memories.pop(rule, RuleMemory())
        last = memory.last_run
        problem = last.problems[0] if last is not None and last.problems else None
        return Entry(slot, memory, problem=problem, warnings=last.warnings if last is not None else ())

    def _registry(self, host: str) -> Registry:
        return self.registries.setdefault(host, Registry())

    def _take_quota(self, event: QuotaTold) -> None:
        registry, quota, now = self._registry(event.host), event.quota, self.clock.now()
        if quota.free:
            registry.dry_since = None
        elif registry.dry_since is None:
            registry.dry_since = now
        refills_at = None
        if registry.dry_since is not None and quota.window_s is not None:
            refills_at = registry.dry_since + timedelta(seconds=quota.window_s)
        registry.quota = QuotaStatus(
            registry=event.host,
            remaining=quota.remaining,
            limit=quota.limit,
            window_seconds=quota.window_s,
            reserve=quota.reserve,
            told_at=now,
            refills_at=refills_at,
        )
        self._unsaved_quotas[event.host] = registry.quota
        self.changed()


def behind_since(summaries: Sequence[TargetSummary]) -> datetime | None:
    """Return the moment of the oldest change that a target does not serve; None: all is served."""
    return min((one.behind_since for one in summaries if one.behind_since is not None), default=None)


def lag_seconds(summaries: Sequence[TargetSummary], now: datetime) -> float:
    """Return the age of the oldest change that a target does not serve, in seconds; 0: there is none."""
    since = behind_since(summaries)
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0


def summaries_of(report: RuleReport, now: datetime) -> list[TargetSummary]:
    """Return a rule's images by target as its report tells them: for when nothing is remembered."""
    found: dict[object, TargetSummary] = {}
    for result in report.results:
        state = _STATES.get(result.outcome)
        if state is None:
            continue
        known = found.get(result.target) or TargetSummary(target=result.target, images={})
        images = {**known.images, state: known.images.get(state, 0) + len(result.tags)}
        behind = known.behind_since if state is ImageState.IN_SYNC else (known.behind_since or now)
        found[result.target] = TargetSummary(target=result.target, images=images, behind_since=behind)
    return list(found.values())


_STATES = {
    Outcome.IN_SYNC: ImageState.IN_SYNC,
    Outcome.COPIED: ImageState.IN_SYNC,
    Outcome.BLOCKED: ImageState.BLOCKED,
    Outcome.FAILED: ImageState.FAILED,
}
