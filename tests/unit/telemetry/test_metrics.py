from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.memory import ImageState
from mirrord.planning.report import (
    BlobOutcome,
    Outcome,
    Problem,
    PullQuota,
    RuleReport,
    RunReport,
    TrafficReport,
    UnitResult,
)
from mirrord.planning.rule import Rule
from mirrord.planning.status import Cause, ProblemStatus, RunResult, RunStatus
from mirrord.ports.events import (
    BlobProgress,
    BlobSettled,
    BreakerChanged,
    GuardRefused,
    IntegrityFailed,
    RegistryPaused,
    RequestDone,
    RequestRetried,
    RunEnded,
    ScheduleSkipped,
    UnitFinished,
)
from mirrord.telemetry.catalog import METRICS, Kind
from mirrord.telemetry.labels import MOST_OTHER_HOSTS
from mirrord.telemetry.metrics import Metrics
from tests.fakes.runs import rule
from tests.unit.telemetry.samples import Samples, read, total
from tests.unit.telemetry.told import EVENT_TYPES, MOMENT, make_event
from tests.unit.telemetry.view import some_view

DIGEST = Digest.of(b"blob")
HUB = Repository("docker.io", "library/app")
A = Repository("a.example", "mirror/app")
APP = rule("docker.io/library/app", "a.example/mirror/app", name="app")

CONTRACT = """
mirrord_images gauge rule,target,state
mirrord_freshness_seconds gauge rule,target
mirrord_freshness_objective_seconds gauge rule
mirrord_fresh gauge rule
mirrord_last_success_timestamp_seconds gauge rule
mirrord_last_run_timestamp_seconds gauge rule
mirrord_next_run_timestamp_seconds gauge rule
mirrord_schedule_interval_seconds gauge rule
mirrord_failed_runs gauge rule
mirrord_credential_refused gauge rule
mirrord_runs_total counter rule,result
mirrord_run_duration_seconds histogram rule,result
mirrord_schedule_skipped_total counter rule,reason
mirrord_images_copied_total counter rule,target,result
mirrord_image_duration_seconds histogram rule,target,result
mirrord_blobs_total counter target,outcome
mirrord_bytes_read_total counter registry
mirrord_bytes_written_total counter registry
mirrord_bytes_saved_total counter target,reason
mirrord_requests_total counter registry,method,code_class
mirrord_request_duration_seconds histogram registry,method,code_class
mirrord_retries_total counter registry,reason
mirrord_rate_limit_remaining gauge registry
mirrord_rate_limit_reserve gauge registry
mirrord_rate_limit_limit gauge registry
mirrord_throttled_seconds_total counter registry
mirrord_transfers_in_flight gauge registry
mirrord_queue_depth gauge -
mirrord_config_last_reload_successful gauge -
mirrord_config_last_reload_timestamp_seconds gauge -
mirrord_state_usable gauge -
mirrord_guard_refusals_total counter rule,reason
mirrord_integrity_errors_total counter registry,reason
mirrord_breaker_open gauge registry
mirrord_event_loop_lag_seconds gauge -
mirrord_memory_limit_bytes gauge -
mirrord_build_info info version,python
"""
"""The names, types and labels that dashboards and alerts of users are built on: a change of any breaks them."""


def known(*rules: Rule) -> Metrics:
    metrics = Metrics()
    metrics.know(rules or (APP,))
    return metrics


def unit(outcome: Outcome, *tags: str, target: Location = A, name: str = "app", seconds: float = 0.0) -> UnitResult:
    pairs = tuple((Tag(tag), Tag(tag)) for tag in tags or ("1.0",))
    return UnitResult(
        rule=name, source=HUB, target=target, tags=pairs, outcome=outcome, reason="", digest=DIGEST, seconds=seconds
    )


def ended_run() -> RunStatus:
    return RunStatus(
        id="1",
        rule="app",
        cause=Cause.SCHEDULE,
        started=MOMENT,
        finished=MOMENT + timedelta(seconds=90),
        result=RunResult.REFUSED,
    )


def settled(outcome: BlobOutcome, size: int = 100, *, shared: bool = False, target: Location = A) -> BlobSettled:
    return BlobSettled(target=target, digest=DIGEST, size=size, outcome=outcome, shared=shared)


def series(metrics: Metrics) -> int:
    return sum(len(samples) for samples in read(metrics).values())


def exposed(metrics: Metrics) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the type and labels of each metric, as they are exposed."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    text = metrics.expose("application/openmetrics-text; version=1.0.0")[0].decode()
    for family in parse_openmetrics(text):  # type: ignore[no-untyped-call] # the library has no types there
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, tuple(sorted(labels)))
    return found


# --- what there is


def test_metrics_are_those_that_users_build_on() -> None:
    contract = [line.split() for line in CONTRACT.split("\n") if line]
    listed = {(spec.name, str(spec.kind), ",".join(spec.labels) or "-") for spec in METRICS}

    assert listed == {(name, kind, labels) for name, kind, labels in contract}


def test_exposed_metrics_are_those_of_the_list() -> None:
    """Names, types and labels, read back from what a service and some events expose."""
    metrics = Metrics()
    metrics.watch(some_view(), lambda: 268_435_456)
    metrics.know([APP], {"app": 900.0})
    metrics.emit(RequestDone(host="docker.io", method="GET", status=200, seconds=0.1))
    metrics.emit(UnitFinished(result=unit(Outcome.COPIED)))
    metrics.emit(RunEnded(run=ended_run(), looked=True))
    found = {name: facts for name, facts in exposed(metrics).items() if name.startswith("mirrord_")}

    assert found == {spec.name: (str(spec.kind), tuple(sorted(spec.labels))) for spec in METRICS}


def test_page_of_metrics_is_that_of_the_list() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(mirrord_\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \| `(.+)` \|$", text, re.MULTILINE)

    assert sorted((name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, *_ in rows) == sorted(
        (spec.name, str(spec.kind), spec.labels) for spec in METRICS
    )
    for name, *_, query in rows:
        assert name in query, "the example is about the metric"


def test_metrics_of_the_process_are_exposed_too() -> None:
    samples = read(known())

    assert samples["process_resident_memory_bytes"][()] > 0
    assert "python_info" in samples


def test_moments_at_which_series_began_are_left_out() -> None:
    assert [name for name in read(known()) if name.endswith("_created")] == []


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html, */*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("nonsense;;;=,,", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_format_is_that_which_is_asked_for(accept: str | None, content_type: str) -> None:
    text, told = known().expose(accept)

    assert told.startswith(content_type)
    assert text.endswith(b"# EOF\n") is content_type.startswith("application/openmetrics")


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = known(), known()
    one.emit(settled(BlobOutcome.UPLOADED))

    assert total(read(other)["mirrord_bytes_written_total"]) == 0


# --- what events count


def test_blobs_are_counted_by_how_they_came_to_the_target() -> None:
    metrics = known()
    for outcome, size in (("existed", 1), ("mounted", 20), ("uploaded", 300), ("uploaded", 300), ("failed", 4000)):
        metrics.emit(settled(BlobOutcome(outcome), size))
    metrics.emit(settled(BlobOutcome.UPLOADED, 50_000, shared=True))
    samples = read(metrics)

    assert samples["mirrord_blobs_total"] == {
        ("existed", "a.example"): 1,
        ("mounted", "a.example"): 1,
        ("uploaded", "a.example"): 3,
        ("failed", "a.example"): 1,
    }
    assert samples["mirrord_bytes_written_total"][("a.example",)] == 50_600
    assert samples["mirrord_bytes_saved_total"] == {
        ("existed", "a.example"): 1,
        ("mounted", "a.example"): 20,
        ("fanout", "a.example"): 50_000,
    }


def test_bytes_that_are_read_count_for_the_registry_that_they_are_read_from() -> None:
    """Two runs of one process may have numbered their transfers alike."""
    metrics = known()
    for host, size in (("docker.io", 5), ("a.example", 7), ("docker.io", 11)):
        metrics.emit(BlobProgress(transfer=1, read=size, host=host))

    assert read(metrics)["mirrord_bytes_read_total"] == {("docker.io",): 16, ("a.example",): 7}


@pytest.mark.parametrize(
    ("status", "label"),
    [(200, "2xx"), (307, "3xx"), (404, "4xx"), (599, "5xx"), (0, "none"), (101, "other"), (700, "other")],
)
def test_requests_are_counted_by_the_class_of_the_answer(status: int, label: str) -> None:
    metrics = known()
    metrics.emit(RequestDone(host="docker.io", method="GET", status=status, seconds=0.2))
    samples = read(metrics)

    assert {k: v for k, v in samples["mirrord_requests_total"].items() if v} == {(label, "GET", "docker.io"): 1}
    assert samples["mirrord_request_duration_seconds_sum"] == {(label, "GET", "docker.io"): 0.2}


def test_images_are_counted_by_tags_and_their_time_by_copies() -> None:
    metrics = known()
    metrics.emit(UnitFinished(result=unit(Outcome.COPIED, "1.0", "latest", seconds=12)))
    metrics.emit(UnitFinished(result=unit(Outcome.BLOCKED, "2.0"), carried_out=False))
    metrics.emit(UnitFinished(result=unit(Outcome.FAILED, "3.0"), carried_out=False))
    metrics.emit(UnitFinished(result=unit(Outcome.IN_SYNC, "4.0"), carried_out=False))
    samples = read(metrics)

    assert samples["mirrord_images_copied_total"] == {
        ("copied", "app", "a.example"): 2,
        ("blocked", "app", "a.example"): 1,
        ("failed", "app", "a.example"): 1,
    }
    assert {k: v for k, v in samples["mirrord_image_duration_seconds_count"].items() if v} == {
        ("copied", "app", "a.example"): 1
    }
    assert total(samples["mirrord_image_duration_seconds_sum"]) == 12


def test_runs_are_counted_with_their_time() -> None:
    metrics = known()
    metrics.emit(RunEnded(run=ended_run(), looked=True))
    samples = read(metrics)

    assert {k: v for k, v in samples["mirrord_runs_total"].items() if v} == {("refused", "app"): 1}
    assert total(samples["mirrord_run_duration_seconds_sum"]) == 90


@pytest.mark.parametrize(
    ("event", "metric", "labels", "value"),
    [
        (RequestRetried(host="docker.io", reason="unavailable", wait_s=1), "retries", ("unavailable", "docker.io"), 1),
        (RequestRetried(host="docker.io", reason="quota_exhausted", wait_s=1), "retries", ("other", "docker.io"), 1),
        (RegistryPaused(host="docker.io", seconds=2.5, reason="x"), "throttled_seconds", ("docker.io",), 2.5),
        (IntegrityFailed(host="docker.io", reason="size"), "integrity_errors", ("size", "docker.io"), 1),
        (GuardRefused(rule="app", reason="rollback"), "guard_refusals", ("rollback", "app"), 1),
        (ScheduleSkipped(rule="app", reason="overlap"), "schedule_skipped", ("overlap", "app"), 1),
    ],
)
def test_event_is_counted(event: Any, metric: str, labels: tuple[str, ...], value: float) -> None:
    metrics = known()
    metrics.emit(event)
    samples = read(metrics)[f"mirrord_{metric}_total"]

    # Labels stand in the order of their names: reason before registry and rule.
    assert {key: found for key, found in samples.items() if found} == {labels: value}


def test_event_that_cannot_be_counted_stops_nobody() -> None:
    metrics = known()
    metrics.emit(RegistryPaused(host="docker.io", seconds=-1, reason="x"))  # a counter never falls

    assert metrics.faults == 1


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.covers("C33")
def test_no_text_of_an_event_becomes_a_label(kind: type[Any]) -> None:
    metrics = known()
    metrics.emit(make_event(kind, lambda _name: "https://x:c4n4ry@y.example/?token=c4n4ry"))

    assert metrics.faults == 0
    assert b"c4n4ry" not in metrics.expose(None)[0]


# --- which series there are


def test_series_begin_at_zero_for_rules_and_hosts_in_force() -> None:
    """A rate from the first event on needs the zero before it."""
    samples = read(known())

    for name in ("runs", "images_copied", "blobs", "bytes_read", "bytes_written", "bytes_saved", "requests", "retries"):
        values = samples[f"mirrord_{name}_total"]
        assert values, name
        assert set(values.values()) == {0}, name
    assert {labels[-1] for labels in samples["mirrord_bytes_read_total"]} == {"docker.io", "a.example"}
    assert set(samples["mirrord_blobs_total"]) == {
        (outcome, "a.example") for outcome in ("uploaded", "mounted", "existed", "failed")
    }


def test_series_of_rules_and_hosts_that_are_gone_end() -> None:
    other = rule("quay.io/team/other", "b.example/mirror/other", name="other")
    metrics = known(APP, other)
    both = metrics.expose(None)[0]
    metrics.emit(settled(BlobOutcome.UPLOADED, target=Repository("b.example", "mirror/other")))
    metrics.know([APP])
    text = metrics.expose(None)[0]

    assert b"b.example" in both
    assert b'"other"' in both
    for gone in (b"b.example", b"quay.io", b'rule="other"'):
        assert gone not in text
    assert text.count(b"\n") == known(APP).expose(None)[0].count(b"\n")


def test_counts_of_what_stays_survive_a_reload() -> None:
    metrics = known()
    metrics.emit(settled(BlobOutcome.UPLOADED))
    metrics.know([APP, rule("quay.io/team/other", "a.example/mirror/other", name="other")])

    assert read(metrics)["mirrord_bytes_written_total"][("a.example",)] == 100


def test_run_that_ends_after_its_rule_is_gone_brings_no_series_back() -> None:
    metrics = known()
    metrics.emit(UnitFinished(result=unit(Outcome.COPIED, name="removed")))

    assert b"removed" not in metrics.expose(None)[0]
    assert read(metrics)["mirrord_images_copied_total"][("copied", "other", "a.example")] == 1


@pytest.mark.covers("E140")
def test_ten_thousand_strange_names_cannot_grow_the_number_of_series() -> None:
    """Whatever registries, errors and images bring: there are the rules, their hosts, a few others, and "other"."""
    chance = random.Random(7)
    metrics = known()

    def word() -> str:
        return f"w{chance.randrange(10**9)}"

    def feed(count: int) -> None:
        for _ in range(count):
            host = f"{word()}.example"
            target: Location = Repository(host, word()) if chance.random() < 0.5 else LayoutDirectory(f"/{word()}")
            for event in (
                RequestDone(host=host, method=word().upper(), status=chance.randrange(1000), seconds=chance.random()),
                RequestRetried(host=host, reason=word(), wait_s=1),
                RegistryPaused(host=host, seconds=1, reason=word()),
                IntegrityFailed(host=host, reason=word()),
                BreakerChanged(host=host, is_open=True),
                BlobProgress(transfer=1, read=1, host=host),
                settled(chance.choice(list(BlobOutcome)), target=target),
                UnitFinished(result=unit(Outcome.FAILED, word(), target=target, name=word(), seconds=1)),
                GuardRefused(rule=word(), reason=word()),
                ScheduleSkipped(rule=word(), reason=word()),
            ):
                metrics.emit(event)

    feed(3_000)
    before, text = series(metrics), metrics.expose(None)[0]
    feed(7_000)

    assert metrics.faults == 0
    assert series(metrics) == before
    hosts = set(re.findall(rb'(?:registry|target)="([^"]*)"', text))
    assert len(hosts) <= 3 + MOST_OTHER_HOSTS + 1
    assert b"oci" in hosts


def test_text_that_is_no_host_is_none_in_a_label() -> None:
    metrics = known()
    for host in ("a/b", 'x"y', "", "https://a.example", "a\nb", "ü.example", "-x", "a" * 300):
        metrics.emit(BlobProgress(transfer=1, read=1, host=host))

    assert read(metrics)["mirrord_bytes_read_total"] == {("docker.io",): 0, ("a.example",): 0, ("other",): 8}


# --- how things stand


def test_gauges_say_what_the_service_says() -> None:
    metrics = known()
    metrics.watch(some_view())
    samples = read(metrics)
    images = {key: value for key, value in samples["mirrord_images"].items() if value}

    assert images == {
        ("app", "in_sync", "a.example"): 5,  # of two targets
        ("app", "failed", "a.example"): 1,
        ("app", "waiting", "oci"): 4,
    }
    assert len(samples["mirrord_images"]) == 2 * len(ImageState)
    assert samples["mirrord_freshness_seconds"] == {("app", "a.example"): 90, ("app", "oci"): 0}
    assert samples["mirrord_freshness_objective_seconds"] == {("app",): 3600}
    assert samples["mirrord_fresh"] == {("app",): 1}
    now = MOMENT.timestamp()
    assert samples["mirrord_last_success_timestamp_seconds"] == {("app",): now - 3600}
    assert samples["mirrord_last_run_timestamp_seconds"] == {("app",): now - 540}
    assert samples["mirrord_next_run_timestamp_seconds"] == {("app",): now + 300}
    assert samples["mirrord_rate_limit_remaining"] == {("docker.io",): 76}
    assert samples["mirrord_rate_limit_limit"] == {("docker.io",): 100}
    assert samples["mirrord_rate_limit_reserve"] == {("docker.io",): 20}
    assert samples["mirrord_transfers_in_flight"] == {("docker.io",): 2, ("a.example",): 1}
    assert samples["mirrord_breaker_open"] == {("docker.io",): 0, ("a.example",): 1}
    assert samples["mirrord_queue_depth"] == {(): 7}
    assert samples["mirrord_event_loop_lag_seconds"] == {(): 0.25}
    assert samples["mirrord_config_last_reload_successful"] == {(): 0}
    assert samples["mirrord_config_last_reload_timestamp_seconds"] == {(): now - 7200}
    assert samples["mirrord_state_usable"] == {(): 1}


def test_state_that_cannot_be_used_is_a_gauge_to_alert_on() -> None:
    view = some_view()
    view.stands = replace(view.stands, state_error="the disk is full")
    metrics = known()
    metrics.watch(view)

    assert read(metrics)["mirrord_state_usable"] == {(): 0}


def test_rule_that_never_saw_its_source_is_not_called_fresh() -> None:
    view = some_view()
    (rule,) = view.stands.rules
    targets = tuple(replace(target, images={}, behind_since=None) for target in rule.targets)
    never = replace(rule, targets=targets, last_looked=None, is_fresh=False)
    view.stands = replace(view.stands, rules=(never,))
    metrics = known()
    metrics.watch(view)

    assert read(metrics).get("mirrord_freshness_seconds", {}) == {}
    assert read(metrics)["mirrord_fresh"] == {("app",): 0}
    assert sum(read(metrics)["mirrord_images"].values()) == 0


def run_of(result: RunResult, *codes: str, name: str = "app") -> RunStatus:
    problems = tuple(ProblemStatus(code=code, message="no") for code in codes)
    return replace(ended_run(), rule=name, result=result, problems=problems)


def watched(last: RunStatus | None, problem: ProblemStatus | None = None) -> Metrics:
    """Return the metrics of a service that has just begun, of whose rule the history knows this last run."""
    view = some_view()
    (rule,) = view.stands.rules
    view.stands = replace(view.stands, rules=(replace(rule, last_run=last, problem=problem),))
    metrics = Metrics()
    metrics.watch(view)
    metrics.know([APP])
    return metrics


def failed_runs(metrics: Metrics) -> float:
    return read(metrics)["mirrord_failed_runs"][("app",)]


def test_runs_that_fail_one_after_another_are_counted_until_one_does_not() -> None:
    metrics = watched(None)
    counts = []
    for result in ("failed", "failed", "interrupted", "failed", "refused", "failed", "ok"):
        metrics.emit(RunEnded(run=run_of(RunResult(result)), looked=False))
        counts.append(failed_runs(metrics))

    assert counts == [1, 2, 2, 3, 0, 1, 0]


@pytest.mark.parametrize(
    ("last", "count"), [(None, 0), (RunResult.OK, 0), (RunResult.FAILED, 1), (RunResult.RUNNING, 0)]
)
def test_failed_run_before_the_start_of_the_service_counts(last: RunResult | None, count: int) -> None:
    metrics = watched(run_of(last) if last is not None else None)
    before = failed_runs(metrics)
    metrics.emit(RunEnded(run=run_of(RunResult.FAILED), looked=False))

    assert (before, failed_runs(metrics)) == (count, count + 1)


def test_failed_runs_survive_a_reload_and_end_with_the_rule() -> None:
    metrics = watched(None)
    metrics.emit(RunEnded(run=run_of(RunResult.FAILED), looked=False))
    metrics.emit(RunEnded(run=run_of(RunResult.FAILED, name="strange"), looked=False))
    metrics.know([APP])
    kept = read(metrics)["mirrord_failed_runs"]
    metrics.know([])

    assert kept == {("app",): 1}
    assert "mirrord_failed_runs" not in read(metrics)


@pytest.mark.parametrize(
    ("codes", "problem", "refused"),
    [
        pytest.param(("UNAVAILABLE",), None, 0, id="unreachable"),
        pytest.param((), None, 0, id="well"),
        pytest.param(("UNAVAILABLE", "AUTH_REJECTED"), None, 1, id="an-image"),
        pytest.param((), "DENIED", 1, id="before-an-interrupted-run"),
    ],
)
def test_refused_credential_is_a_gauge_to_alert_on(codes: tuple[str, ...], problem: str | None, refused: int) -> None:
    last = ProblemStatus(code=problem, message="no") if problem is not None else None
    metrics = watched(run_of(RunResult.FAILED, *codes), last)

    assert read(metrics)["mirrord_credential_refused"] == {("app",): refused}


def test_interval_of_a_schedule_is_there_as_long_as_the_rule_has_one() -> None:
    metrics = watched(None)
    metrics.know([APP], {"app": 900.0})
    with_schedule = read(metrics)["mirrord_schedule_interval_seconds"]
    metrics.know([APP])

    assert with_schedule == {("app",): 900}
    assert "mirrord_schedule_interval_seconds" not in read(metrics)


@pytest.mark.parametrize("limit", [None, 268_435_456])
def test_memory_limit_is_told_where_there_is_one(limit: int | None) -> None:
    metrics = Metrics()
    metrics.watch(some_view(), lambda: limit)

    assert read(metrics).get("mirrord_memory_limit_bytes", {}).get(()) == limit


def test_service_is_asked_once_for_each_scrape() -> None:
    view = some_view()
    metrics = known()
    metrics.watch(view)
    asked = view.asked
    metrics.expose(None)

    assert (asked, view.asked) == (0, 1)


def test_breaker_is_told_without_a_service_too() -> None:
    metrics = known()
    metrics.emit(BreakerChanged(host="docker.io", is_open=True))
    metrics.emit(BreakerChanged(host="a.example", is_open=True))
    metrics.emit(BreakerChanged(host="a.example", is_open=False))

    assert read(metrics)["mirrord_breaker_open"] == {("docker.io",): 1, ("a.example",): 0}


def report_of(*results: UnitResult, interrupted: bool = False, problems: tuple[Problem, ...] = ()) -> RunReport:
    return RunReport(
        started=MOMENT,
        finished=MOMENT + timedelta(seconds=40),
        dry_run=False,
        rules=(RuleReport(rule="app", results=results, problems=problems),),
        traffic=TrafficReport(quotas={"docker.io": PullQuota(remaining=9, limit=100)}),
        interrupted=interrupted,
    )


def after(report: RunReport) -> Samples:
    metrics = known()
    metrics.take_report(report, [APP])
    return read(metrics)


def test_single_run_says_that_a_credential_was_refused() -> None:
    refused = Problem(code="AUTH_REJECTED", message="no")
    of_image = after(report_of(replace(unit(Outcome.FAILED), problem=refused)))
    of_rule = after(report_of(problems=(refused,)))
    well = after(report_of(unit(Outcome.COPIED)))

    assert [found["mirrord_credential_refused"][("app",)] for found in (of_image, of_rule, well)] == [1, 1, 0]


def test_single_run_that_went_well_says_so() -> None:
    samples = after(report_of(unit(Outcome.COPIED, "1", "2"), unit(Outcome.IN_SYNC, "3")))
    end = MOMENT.timestamp() + 40

    assert samples["mirrord_images"][("app", "in_sync", "a.example")] == 3
    assert total(samples["mirrord_images"]) == 3
    assert samples["mirrord_freshness_seconds"] == {("app", "a.example"): 0}
    assert samples["mirrord_last_run_timestamp_seconds"] == {("app",): end}
    assert samples["mirrord_last_success_timestamp_seconds"] == {("app",): end}
    assert {k: v for k, v in samples["mirrord_runs_total"].items() if v} == {("ok", "app"): 1}
    assert total(samples["mirrord_run_duration_seconds_sum"]) == 40
    assert samples["mirrord_rate_limit_remaining"] == {("docker.io",): 9}
    assert "mirrord_queue_depth" not in samples


@pytest.mark.parametrize(
    ("report", "result"),
    [
        pytest.param(report_of(unit(Outcome.IN_SYNC), unit(Outcome.FAILED, "2")), "failed", id="an-image-failed"),
        pytest.param(report_of(unit(Outcome.BLOCKED)), "refused", id="blocked"),
        pytest.param(report_of(problems=(Problem(code="X", message="no"),)), "failed", id="no-listing"),
        pytest.param(report_of(unit(Outcome.SKIPPED), interrupted=True), "interrupted", id="interrupted"),
    ],
)
def test_single_run_that_did_not_go_well_promises_nothing(report: RunReport, result: str) -> None:
    samples = after(report)

    assert {k: v for k, v in samples["mirrord_runs_total"].items() if v} == {(result, "app"): 1}
    assert "mirrord_last_success_timestamp_seconds" not in samples
    assert "mirrord_freshness_seconds" not in samples
    assert samples["mirrord_last_run_timestamp_seconds"] == {("app",): MOMENT.timestamp() + 40}


def test_kinds_of_metrics_have_the_names_that_prometheus_expects() -> None:
    for spec in METRICS:
        assert spec.name.endswith("_total") is (spec.kind is Kind.COUNTER), spec.name
        assert bool(spec.buckets) is (spec.kind is Kind.HISTOGRAM), spec.name
        assert list(spec.buckets) == sorted(set(spec.buckets)), spec.name
