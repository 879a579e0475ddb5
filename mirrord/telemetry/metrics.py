"""Turns events into counters and histograms, and how things stand into gauges, in a registry of our own."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from mirrord import __version__
from mirrord.planning.report import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    BlobOutcome,
    Outcome,
    RunReport,
    UnitResult,
    exit_code,
)
from mirrord.planning.rule import Rule
from mirrord.planning.status import RunResult, RunStatus
from mirrord.ports.events import (
    BlobProgress,
    BlobSettled,
    BreakerChanged,
    Event,
    EventSink,
    GuardRefused,
    IntegrityFailed,
    RegistryPaused,
    RequestDone,
    RequestRetried,
    RunEnded,
    ScheduleSkipped,
    UnitFinished,
)
from mirrord.ports.service import ServiceView
from mirrord.telemetry import catalog
from mirrord.telemetry.catalog import METRICS, Kind, Spec
from mirrord.telemetry.labels import Names, code_class, host_label, method_label, one_of, targets_of
from mirrord.telemetry.standing import (
    BuildCollector,
    Standing,
    StandingCollector,
    standing_of_report,
    standing_of_service,
)

_RESULTS = {EXIT_OK: RunResult.OK, EXIT_FAILED: RunResult.FAILED, EXIT_REFUSED: RunResult.REFUSED}
_SAVED = {BlobOutcome.MOUNTED: "mounted", BlobOutcome.EXISTED: "existed"}


class Metrics(EventSink):
    """All metrics of the process. ``faults`` counts events that could not be taken, which never stops anybody."""

    def __init__(self) -> None:
        """Count nothing yet; before `know` every rule is an "other" one."""
        self.faults = 0
        self._names = Names()
        self._own = CollectorRegistry()
        self._process = CollectorRegistry()
        self._counters = {spec: self._counter(spec) for spec in METRICS if spec.kind is Kind.COUNTER}
        self._histograms = {spec: self._histogram(spec) for spec in METRICS if spec.kind is Kind.HISTOGRAM}
        self._own.register(StandingCollector(self._stand))
        self._own.register(BuildCollector(__version__, platform.python_version()))
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        self._view: ServiceView | None = None
        self._reported: Callable[[], Standing] = Standing
        self._open: dict[str, bool] = {}
        self._recalled: dict[str, float] = {}
        self._intervals: dict[str, float] = {}
        self._failed_runs: dict[str, int] = {}
        self._memory_limit: Callable[[], int | None] = lambda: None

    def _counter(self, spec: Spec) -> Counter:
        return Counter(spec.name, spec.help, spec.labels, registry=self._own)

    def _histogram(self, spec: Spec) -> Histogram:
        return Histogram(spec.name, spec.help, spec.labels, registry=self._own, buckets=spec.buckets)

    def watch(self, view: ServiceView, memory_limit: Callable[[], int | None] = lambda: None) -> None:
        """Read the gauges from the service from now on; ``memory_limit`` tells bytes, None: there is no limit."""
        self._view = view
        self._memory_limit = memory_limit

    def know(self, rules: Sequence[Rule], intervals: Mapping[str, float] | None = None) -> None:
        """Take the rules in force: their series begin at zero, those of rules and hosts that are gone end.

        ``intervals``: by rule, how far apart the moments of its schedule are at most, in seconds.
        """
        self._intervals = dict(intervals or {})
        rules_before, hosts_before = self._names.rules, self._names.hosts
        self._names.know(rules)
        for name in rules_before - self._names.rules:
            self._remove("rule", name)
            self._failed_runs.pop(name, None)
        for host in hosts_before - self._names.hosts:
            self._remove("registry", host)
            self._remove("target", host)
            self._open.pop(host, None)
        for rule in rules:
            self._begin_rule(rule)
        for host in self._names.hosts:
            self._begin_host(host)

    def take_report(self, report: RunReport, rules: Sequence[Rule]) -> None:
        """Take what a single run came to, where no service is watched and no `RunEnded` was told."""
        self._reported = lambda: standing_of_report(report, rules)
        if report.dry_run:
            self._reported = Standing
            return
        seconds = (report.finished - report.started).total_seconds()
        for done in report.rules:
            code = exit_code([done])
            result = (
                RunResult.OK if code == EXIT_OK else RunResult.REFUSED if code == EXIT_REFUSED else RunResult.FAILED
            )
            self._run(done.rule, RunResult.INTERRUPTED if report.interrupted else result, seconds)

    def recall_success(self, rule: str, moment: float) -> None:
        """Know of a success of a rule before this process, in seconds since 1970, where no service remembers it."""
        if rule in self._names.rules:
            self._recalled[rule] = moment

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Return all metrics as text in the format that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept or "")
        return encode(_Exposed(self._own, self._process)), content_type

    @property
    def collector(self) -> _Exposed:
        """The metrics of mirrord alone, without those of the process: for a run that is over when they are read."""
        return _Exposed(self._own)

    def emit(self, event: Event) -> None:
        """Count an event."""
        try:
            self._count(event)
        except Exception:  # noqa: BLE001 - no measurement may stop what it measures
            self.faults += 1

    def _count(self, event: Event) -> None:
        match event:
            case BlobProgress():
                self._add(catalog.BYTES_READ, event.read, self._names.host(event.host))
            case BlobSettled():
                self._blob(event)
            case RequestDone():
                self._request(event)
            case RequestRetried():
                reason = one_of(event.reason, catalog.RETRY_REASONS)
                self._add(catalog.RETRIES, 1, self._names.host(event.host), reason)
            case UnitFinished():
                self._image(event.result, carried_out=event.carried_out)
            case RegistryPaused():
                self._add(catalog.THROTTLED, event.seconds, self._names.host(event.host))
            case IntegrityFailed():
                reason = one_of(event.reason, catalog.INTEGRITY_REASONS)
                self._add(catalog.INTEGRITY_ERRORS, 1, self._names.host(event.host), reason)
            case BreakerChanged():
                self._open[self._names.host(event.host)] = event.is_open
            case _:
                self._count_of_rule(event)

    def _count_of_rule(self, event: Event) -> None:
        match event:
            case RunEnded():
                self._run_ended(event.run)
            case ScheduleSkipped():
                reason = one_of(event.reason, catalog.SKIP_REASONS)
                self._add(catalog.SCHEDULE_SKIPPED, 1, self._names.rule(event.rule), reason)
            case GuardRefused():
                reason = one_of(event.reason, catalog.GUARD_REASONS)
                self._add(catalog.GUARD_REFUSALS, 1, self._names.rule(event.rule), reason)
            case _:
                pass

    def _blob(self, event: BlobSettled) -> None:
        host = self._names.host(event.target.host)
        self._add(catalog.BLOBS, 1, host, event.outcome)
        if event.outcome in _SAVED:
            self._add(catalog.BYTES_SAVED, event.size, host, _SAVED[event.outcome])
        elif event.outcome is BlobOutcome.UPLOADED:
            self._add(catalog.BYTES_WRITTEN, event.size, host)
            if event.shared:
                self._add(catalog.BYTES_SAVED, event.size, host, "fanout")

    def _request(self, event: RequestDone) -> None:
        labels = (self._names.host(event.host), method_label(event.method), code_class(event.status))
        self._add(catalog.REQUESTS, 1, *labels)
        self._observe(catalog.REQUEST_DURATION, event.seconds, *labels)

    def _image(self, result: UnitResult, *, carried_out: bool) -> None:
        if result.outcome not in catalog.IMAGE_RESULTS:
            return
        labels = (self._names.rule(result.rule), self._names.host(result.target.host), result.outcome)
        self._add(catalog.IMAGES_COPIED, len(result.tags), *labels)
        if carried_out and (result.seconds > 0 or result.outcome is Outcome.COPIED):
            self._observe(catalog.IMAGE_DURATION, result.seconds, *labels)

    def _run_ended(self, run: RunStatus) -> None:
        if run.rule in self._names.rules and run.result is not RunResult.INTERRUPTED:  # which says nothing
            failed = run.result is RunResult.FAILED
            self._failed_runs[run.rule] = self._failed_runs.get(run.rule, 0) + 1 if failed else 0
        self._run(run.rule, run.result, run.seconds or 0.0)

    def _run(self, rule: str, result: RunResult, seconds: float) -> None:
        labels = (self._names.rule(rule), result)
        self._add(catalog.RUNS, 1, *labels)
        self._observe(catalog.RUN_DURATION, seconds, *labels)

    def _add(self, spec: Spec, amount: float, *labels: str) -> None:
        self._counters[spec].labels(*labels).inc(amount)

    def _observe(self, spec: Spec, seconds: float, *labels: str) -> None:
        self._histograms[spec].labels(*labels).observe(seconds)

    def _begin_rule(self, rule: Rule) -> None:
        """Begin the counters; a histogram has a dozen series for each, which come with what is observed first."""
        if rule.name not in self._failed_runs:
            status = self._view.rule(rule.name) if self._view is not None else None
            last = status.last_run if status is not None else None  # of an earlier process
            self._failed_runs[rule.name] = int(last is not None and last.result is RunResult.FAILED)
        for result in catalog.RUN_RESULTS:
            self._add(catalog.RUNS, 0, rule.name, result)
        for spec, reasons in (
            (catalog.SCHEDULE_SKIPPED, catalog.SKIP_REASONS),
            (catalog.GUARD_REFUSALS, catalog.GUARD_REASONS),
        ):
            for reason in reasons:
                self._add(spec, 0, rule.name, reason)
        for target in targets_of(rule):
            for outcome in catalog.IMAGE_RESULTS:
                self._add(catalog.IMAGES_COPIED, 0, rule.name, target, outcome)
            for blob in catalog.BLOB_OUTCOMES:
                self._add(catalog.BLOBS, 0, target, blob)
            for reason in catalog.SAVED_REASONS:
                self._add(catalog.BYTES_SAVED, 0, target, reason)

    def _begin_host(self, host: str) -> None:
        for spec in (catalog.BYTES_READ, catalog.BYTES_WRITTEN, catalog.THROTTLED):
            self._add(spec, 0, host)
        for method in catalog.USUAL_METHODS:
            for code in catalog.CODE_CLASSES:
                self._add(catalog.REQUESTS, 0, host, method, code)
        for spec, reasons in (
            (catalog.RETRIES, catalog.RETRY_REASONS),
            (catalog.INTEGRITY_ERRORS, catalog.INTEGRITY_REASONS),
        ):
            for reason in reasons:
                self._add(spec, 0, host, reason)

    def _remove(self, label: str, value: str) -> None:
        families: list[tuple[Spec, MetricWrapperBase]] = [*self._counters.items(), *self._histograms.items()]
        for spec, family in families:
            if label in spec.labels:
                family.remove_by_labels({label: value})

    def _stand(self) -> Standing:
        if self._view is not None:
            standing = standing_of_service(self._view)
            for rule, interval in self._intervals.items():
                standing.set(catalog.SCHEDULE_INTERVAL, interval, rule)
            for rule, count in self._failed_runs.items():
                standing.set(catalog.FAILED_RUNS, count, rule)
            standing.set(catalog.MEMORY_LIMIT, self._memory_limit())
            return standing
        standing = self._reported()
        for host in self._names.hosts:
            standing.set(catalog.BREAKER_OPEN, self._open.get(host, False), host_label(host))
        for rule, moment in self._recalled.items():
            standing.set(catalog.LAST_SUCCESS, moment, rule)
        return standing


class _Exposed:
    """Registries as they are shown: without the moments at which each series began, which double their number."""

    def __init__(self, *registries: CollectorRegistry) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for registry in self._registries:
            for metric in registry.collect():
                metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
                yield metric
