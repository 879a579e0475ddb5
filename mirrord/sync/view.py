"""The service as others see it: the status of everything, made anew from the board whenever somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mirrord.oci.reference import LAYOUT_SCHEME, LayoutDirectory, Location
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.rule import Rule
from mirrord.planning.rulestate import freshness_seconds, is_fresh, rule_state
from mirrord.planning.schedule import describe
from mirrord.planning.status import (
    Cause,
    ConfigStatus,
    RegistryStatus,
    RuleState,
    RuleStatus,
    RunResult,
    ServiceStatus,
    TargetStatus,
)
from mirrord.planning.target import TargetTemplate
from mirrord.planning.verdict import judge
from mirrord.ports.clock import Clock
from mirrord.ports.schedule import Timetable
from mirrord.ports.service import Health, ServiceView, Ticket
from mirrord.sync.board import Board, Entry, behind_since
from mirrord.sync.health import STALLED_S, live_checks, ready_checks
from mirrord.sync.meter import RunMeter
from mirrord.sync.service import Service


@dataclass(slots=True)
class View(ServiceView):
    """What is seen of a service. ``config`` and ``lag_s`` are kept up to date by their owners."""

    service: Service
    timetable: Timetable
    clock: Clock
    release: str
    config: ConfigStatus
    lag_s: float = 0.0
    started: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Take the moment for that of the start."""
        self.started = self.clock.now()

    @property
    def board(self) -> Board:
        """The facts."""
        return self.service.board

    @property
    def version(self) -> int:
        """A number that grows with every change but those of progress and time."""
        return self.board.version

    @property
    def queue_depth(self) -> int:
        """How many rules wait to begin."""
        return self.service.queue_depth

    @property
    def loop_lag_s(self) -> float:
        """By how much the event loop was late when it was last looked at, in seconds."""
        return self.lag_s

    def wake(self, rule: str, cause: Cause) -> Ticket | None:
        """Have a rule run as soon as it may; see `ServiceView.wake`."""
        return self.service.wake(rule, cause)

    def configured(self, config: ConfigStatus) -> None:
        """Take note of a configuration that is in force, or that was refused."""
        self.config = config
        self.board.changed()

    def health(self) -> Health:
        """Return whether the service is live and ready."""
        since_tick_s = self.clock.monotonic() - self.timetable.ticked_at
        meters = [running.meter for running in self.service.running]
        return Health(
            live=live_checks(0.0 if self.service.is_draining else since_tick_s, meters),
            ready=tuple(ready_checks(self.config.error, self.board.state_error, is_draining=self.service.is_draining)),
        )

    def rule(self, name: str) -> RuleStatus | None:
        """Return how one rule stands now; None: there is none of that name."""
        entry = self.board.entries.get(name)
        return self._rule(entry, self.clock.now()) if entry is not None else None

    def status(self) -> ServiceStatus:
        """Return how everything stands now."""
        now, board = self.clock.now(), self.board
        rules = tuple(self._rule(entry, now) for entry in board.entries.values())
        draining = self.service.is_draining
        return ServiceStatus(
            version=self.release,
            now=now,
            started=self.started,
            verdict=judge(rules, config=self.config, state_error=board.state_error, now=now, draining=draining),
            config=self.config,
            rules=rules,
            registries=tuple(
                RegistryStatus(registry=host, transfers=known.transfers, answers=known.answers, quota=known.quota)
                for host, known in sorted(board.registries.items())
            ),
            saved=board.saved,
            rate=round(sum(rule.running.rate for rule in rules if rule.running is not None), 1),
            state_error=board.state_error,
            draining=draining,
        )

    def _rule(self, entry: Entry, now: datetime) -> RuleStatus:
        rule, memory, running = entry.rule, entry.memory, entry.slot.running
        meter = running.meter if running is not None else None
        targets = tuple(targets_of(rule, entry.summaries, meter))
        images: Counter[ImageState] = Counter()
        for target in targets:
            images.update(target.images)
        last = memory.last_run
        is_blind = last is not None and last.result is RunResult.FAILED and memory.last_looked != last.finished
        state = rule_state(images, has_looked=memory.last_looked is not None, is_blind=is_blind)
        since = behind_since(entry.summaries)
        objective = rule.freshness.total_seconds() if rule.freshness is not None else None
        return RuleStatus(
            name=rule.name,
            source=source_text(rule),
            source_host=rule.source.host,
            targets=targets,
            state=state,
            schedule=describe(rule.schedule) if rule.schedule is not None else "",
            images=dict(images),
            behind_since=since,
            freshness_seconds=round(freshness_seconds(since, now), 3),
            objective_seconds=objective,
            is_fresh=is_fresh(
                state,
                behind_since=since,
                objective_seconds=objective,
                last_looked=memory.last_looked,
                is_blind=is_blind,
                now=now,
            ),
            waiting_until=self._waiting_until(rule, state),
            last_run=last,
            last_looked=memory.last_looked,
            last_success=memory.last_success,
            next_run=self.timetable.next_run(rule.name),
            queued=entry.slot.asked is not None,
            running=meter.progress() if meter is not None else None,
            problem=entry.problem,
            warnings=entry.warnings,
        )

    def _waiting_until(self, rule: Rule, state: RuleState) -> datetime | None:
        """Return when what a rule waits for is expected: more of its source's quota, else its next run."""
        if state is not RuleState.WAITING:
            return None
        known = self.board.registries.get(rule.source.host)
        refills_at = known.quota.refills_at if known is not None and known.quota is not None else None
        return refills_at or self.timetable.next_run(rule.name)


def source_text(rule: Rule) -> str:
    """Return what a rule reads, as its file says."""
    source = rule.source
    if source.repositories is not None:
        return f"{source.repositories.host}/{source.repositories.pattern}"
    text = str(source.location)
    if source.tag is not None:
        text += f":{source.tag}"
    return f"{text}@{source.digest}" if source.digest is not None else text


def targets_of(rule: Rule, summaries: Sequence[TargetSummary], meter: RunMeter | None) -> list[TargetStatus]:
    """Return a rule's targets with the counts of their images; those being copied count as such."""
    by_target: dict[TargetTemplate, list[TargetSummary]] = {target: [] for target in rule.targets}
    copying: Counter[TargetTemplate] = Counter()
    arrived: Counter[TargetTemplate] = Counter()
    for summary in summaries:
        if (target := target_at(rule, summary.target)) is not None:
            by_target[target].append(summary)
    for _, location, _ in meter.copying if meter is not None else ():
        if (target := target_at(rule, location)) is not None:
            copying[target] += 1
    for location, count in meter.arrived.items() if meter is not None else ():
        if (target := target_at(rule, location)) is not None:
            arrived[target] += count
    is_stalled = meter is not None and meter.idle_s > STALLED_S
    return [
        TargetStatus(
            target=target.text,
            host=target.host,
            images=_with_copying(_with_arrived(_sum(found), arrived[target]), copying[target], is_stalled=is_stalled),
            behind_since=behind_since(found),
        )
        for target, found in by_target.items()
    ]


def target_at(rule: Rule, location: Location) -> TargetTemplate | None:
    """Return the target of a rule that a location belongs to: of several at one registry, the longest that fits."""
    is_layout = isinstance(location, LayoutDirectory)
    fitting = [
        target
        for target in rule.targets
        if target.host == location.host or (is_layout and target.text.startswith(LAYOUT_SCHEME))
    ]
    return max(fitting, key=lambda target: _fit(target, location.path), default=None)


def _fit(target: TargetTemplate, path: str) -> int:
    fixed = target.fixed_path
    return len(fixed) if path.startswith(fixed) else -1


def _sum(summaries: Sequence[TargetSummary]) -> Counter[ImageState]:
    total: Counter[ImageState] = Counter()
    for summary in summaries:
        total.update(summary.images)
    return total


def _with_arrived(images: Counter[ImageState], arrived: int) -> Counter[ImageState]:
    """Count what was copied since the images were counted as in sync."""
    for state in (ImageState.OUT_OF_SYNC, ImageState.FAILED, ImageState.WAITING):
        taken = min(arrived, images[state])
        images[state] -= taken
        images[ImageState.IN_SYNC] += taken
        arrived -= taken
    return images


def _with_copying(images: Counter[ImageState], copying: int, *, is_stalled: bool) -> dict[ImageState, int]:
    """Count what is being copied apart from what is only out of sync."""
    left = copying
    for state in (ImageState.OUT_OF_SYNC, ImageState.FAILED, ImageState.WAITING, ImageState.IN_SYNC):
        taken = min(left, images[state])
        images[state] -= taken
        left -= taken
    images[ImageState.STALLED if is_stalled else ImageState.COPYING] += copying
    return {state: count for state, count in images.items() if count}
