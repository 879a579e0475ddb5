"""How things stand, as gauges: read from the running service at scrape time, or from the report of a single run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

from mirrord.planning.memory import ImageState
from mirrord.planning.report import EXIT_OK, Outcome, PullQuota, RuleReport, RunReport, exit_code
from mirrord.planning.rule import Rule
from mirrord.planning.status import RuleStatus, ServiceStatus
from mirrord.ports.service import ServiceView
from mirrord.telemetry.catalog import (
    BREAKER_OPEN,
    BUILD_INFO,
    CREDENTIAL_CODES,
    CREDENTIAL_REFUSED,
    FRESH,
    FRESHNESS,
    FRESHNESS_OBJECTIVE,
    IMAGE_STATES,
    IMAGES,
    IN_FLIGHT,
    LAST_RUN,
    LAST_SUCCESS,
    LOOP_LAG,
    METRICS,
    NEXT_RUN,
    QUEUE_DEPTH,
    RATE_LIMIT,
    RATE_REMAINING,
    RATE_RESERVE,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    STATE_USABLE,
    Kind,
    Spec,
)
from mirrord.telemetry.labels import host_label, targets_of

_STATES = {
    Outcome.IN_SYNC: ImageState.IN_SYNC,
    Outcome.COPIED: ImageState.IN_SYNC,
    Outcome.SKIPPED: ImageState.WAITING,
    Outcome.BLOCKED: ImageState.BLOCKED,
    Outcome.FAILED: ImageState.FAILED,
}

_SERVED = (Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED)
"""A whole run skips only what its rule does not want."""


class Standing:
    """Values of gauges at one moment. Of values for the same labels the first one stays, unless `add` sums them up."""

    def __init__(self) -> None:
        """Know no value yet."""
        self._values: dict[Spec, dict[tuple[str, ...], float]] = {spec: {} for spec in METRICS}

    def set(self, spec: Spec, value: float | None, *labels: str) -> None:
        """Set a value; None leaves the series out."""
        if value is not None:
            self._values[spec].setdefault(labels, float(value))

    def add(self, spec: Spec, value: float, *labels: str) -> None:
        """Add to a value."""
        self._values[spec][labels] = self._values[spec].get(labels, 0.0) + value

    def moment(self, spec: Spec, moment: datetime | None, *labels: str) -> None:
        """Set a moment as seconds since 1970; None leaves the series out."""
        self.set(spec, moment.timestamp() if moment is not None else None, *labels)

    def get(self, spec: Spec, *labels: str) -> float | None:
        """Return a value; None: there is none."""
        return self._values[spec].get(labels)

    def families(self) -> Iterator[Metric]:
        """Yield all gauges, those without a series too."""
        for spec, values in self._values.items():
            if spec.kind is Kind.GAUGE:
                family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
                for labels, value in sorted(values.items()):
                    family.add_metric(labels, value)
                yield family


class StandingCollector:
    """Asks how things stand whenever metrics are read."""

    def __init__(self, ask: Callable[[], Standing]) -> None:
        """Know whom to ask."""
        self._ask = ask

    def describe(self) -> list[Metric]:
        """Return the families without values, so that registering asks nobody."""
        return list(Standing().families())

    def collect(self) -> Iterator[Metric]:
        """Yield how things stand now."""
        yield from self._ask().families()


class BuildCollector:
    """Tells which mirrord this is."""

    def __init__(self, version: str, python: str) -> None:
        """Know the versions."""
        self._facts = {"version": version, "python": python}

    def collect(self) -> Iterator[Metric]:
        """Yield the facts."""
        yield InfoMetricFamily(BUILD_INFO.name.removesuffix("_info"), BUILD_INFO.help, value=self._facts)


def standing_of_service(view: ServiceView) -> Standing:
    """Return how the service stands now."""
    status = view.status()
    standing = Standing()
    for rule in status.rules:
        _add_rule(standing, rule, status)
    for registry in status.registries:
        host = host_label(registry.registry)
        standing.add(IN_FLIGHT, registry.transfers, host)
        standing.set(BREAKER_OPEN, not registry.answers, host)
        if registry.quota is not None:
            standing.set(RATE_REMAINING, registry.quota.remaining, host)
            standing.set(RATE_RESERVE, registry.quota.reserve, host)
            standing.set(RATE_LIMIT, registry.quota.limit, host)
    standing.set(QUEUE_DEPTH, view.queue_depth)
    standing.set(LOOP_LAG, view.loop_lag_s)
    standing.set(RELOAD_SUCCESSFUL, status.config.error is None)
    standing.moment(RELOAD_TIMESTAMP, status.config.loaded_at)
    standing.set(STATE_USABLE, status.state_error is None)
    return standing


def _add_rule(standing: Standing, rule: RuleStatus, status: ServiceStatus) -> None:
    oldest: dict[str, float] = defaultdict(float)
    for target in rule.targets:
        host = host_label(target.host)
        for state in IMAGE_STATES:
            standing.add(IMAGES, target.images.get(state, 0), rule.name, host, state)
        behind = (status.now - target.behind_since).total_seconds() if target.behind_since is not None else 0.0
        oldest[host] = max(oldest[host], behind)
    for host, seconds in oldest.items():
        is_known = seconds > 0 or rule.last_looked is not None  # 0 would say that nothing is missing
        standing.set(FRESHNESS, seconds if is_known else None, rule.name, host)
    standing.set(FRESHNESS_OBJECTIVE, rule.objective_seconds, rule.name)
    standing.set(FRESH, rule.is_fresh, rule.name)
    standing.moment(LAST_SUCCESS, rule.last_success, rule.name)
    standing.moment(NEXT_RUN, rule.next_run, rule.name)
    if rule.last_run is not None:
        standing.moment(LAST_RUN, rule.last_run.finished, rule.name)
    told = rule.last_run.problems if rule.last_run is not None else ()
    codes = {problem.code for problem in (rule.problem, *told) if problem is not None}
    standing.set(CREDENTIAL_REFUSED, not codes.isdisjoint(CREDENTIAL_CODES), rule.name)


def standing_of_report(report: RunReport, rules: Sequence[Rule]) -> Standing:
    """Return how things stand after a single run, as far as it can tell: nothing remembers since when an image waits.

    So a freshness is told where it is zero, and left out where something is not served.
    """
    standing = Standing()
    known = {rule.name: rule for rule in rules}
    for done in report.rules:
        rule = known.get(done.rule)
        if rule is None:
            continue
        _add_report(standing, done, rule, is_whole=not report.interrupted)
        standing.moment(LAST_RUN, report.finished, rule.name)
        if went_well(done, report):
            standing.moment(LAST_SUCCESS, report.finished, rule.name)
        standing.set(FRESHNESS_OBJECTIVE, rule.freshness.total_seconds() if rule.freshness else None, rule.name)
    for host, quota in report.traffic.quotas.items():
        add_quota(standing, host, quota)
    return standing


def went_well(done: RuleReport, report: RunReport) -> bool:
    """Say whether a rule's part of a run left everything in sync."""
    return not report.interrupted and exit_code([done]) == EXIT_OK


def add_quota(standing: Standing, host: str, quota: PullQuota) -> None:
    """Add what a registry said of its quota."""
    standing.set(RATE_REMAINING, quota.remaining, host_label(host))
    standing.set(RATE_RESERVE, quota.reserve, host_label(host))
    standing.set(RATE_LIMIT, quota.limit, host_label(host))


def _add_report(standing: Standing, done: RuleReport, rule: Rule, *, is_whole: bool) -> None:
    problems = [*done.problems, *(result.problem for result in done.results if result.problem is not None)]
    refused = any(problem.code in CREDENTIAL_CODES for problem in problems)
    standing.set(CREDENTIAL_REFUSED, refused, rule.name)
    served = dict.fromkeys(sorted(targets_of(rule)), is_whole and not done.problems)
    for host in served:
        for state in IMAGE_STATES:
            standing.set(IMAGES, 0, rule.name, host, state)
    for result in done.results:
        host, state = host_label(result.target.host), _STATES[result.outcome]
        standing.add(IMAGES, len(result.tags), rule.name, host, state)
        if result.outcome not in _SERVED:
            served[host] = False
    for host, is_served in served.items():
        standing.set(FRESHNESS, 0.0 if is_served else None, rule.name, host)
