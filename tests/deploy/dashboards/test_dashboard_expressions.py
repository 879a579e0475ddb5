"""What the dashboards ask exists: metrics, labels and their values are those of the code, and none is forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrord.telemetry import catalog
from mirrord.telemetry.catalog import METRICS, Kind, Spec
from tests.deploy.dashboards.grafana import NAMES, ROOT, Asked, View, asked, dashboard, panels
from tests.integration.conftest import RequireTool
from tests.integration.prometheus import promtool

each = pytest.mark.parametrize("name", NAMES)

SELECTOR = re.compile(r"\b(?P<metric>(?:mirrord|process)_\w+|up|ALERTS)\b(?:\{(?P<matchers>[^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
MULTI = re.compile(r"\$(?!__)(\w+)")

OF_THE_PROCESS = {
    *("process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"),
    *("process_open_fds", "process_max_fds"),
}
OF_PROMETHEUS = {"up", "ALERTS", *OF_THE_PROCESS}
OF_ALERTS = {"alertname", "alertstate", "job", "severity", "rule", "registry"}
NOT_AFTER_A_SINGLE_RUN = {
    catalog.FRESH,
    catalog.NEXT_RUN,
    catalog.SCHEDULE_INTERVAL,
    catalog.FAILED_RUNS,
    catalog.MEMORY_LIMIT,
    catalog.QUEUE_DEPTH,
    catalog.RELOAD_SUCCESSFUL,
    catalog.RELOAD_TIMESTAMP,
    catalog.STATE_USABLE,
    catalog.LOOP_LAG,
    catalog.IN_FLIGHT,
}
"""docs/reference/metrics.md, "After a single run"."""
NOT_ON_THE_SMALL_ONE = {
    catalog.SCHEDULE_SKIPPED: "there is no schedule",
}
VALUES: dict[str, set[str]] = {
    "state": {*catalog.IMAGE_STATES},
    "code_class": set(catalog.CODE_CLASSES),
    "method": set(catalog.METHODS),
    "alertstate": {"pending", "firing"},
    "alertname": {"Mirrord.+"},
    "outcome": {*catalog.BLOB_OUTCOMES},
}


def spec_of(metric: str) -> Spec | None:
    """Return what is known of a metric by its name or that of a part of a histogram."""
    for spec in METRICS:
        parts = ("_bucket", "_sum", "_count") if spec.kind is Kind.HISTOGRAM else ("",)
        if metric in {spec.name + part for part in parts}:
            return spec
    return None


def selectors(expr: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield the metrics of an expression with their matchers."""
    for match in SELECTOR.finditer(expr):
        yield match["metric"], MATCHER.findall(match["matchers"] or "")


def labels_of(metric: str) -> set[str]:
    """Return the labels that a metric has."""
    if metric == "ALERTS":
        return OF_ALERTS
    spec = spec_of(metric)
    own = set(spec.labels) if spec else set()
    return own | {"job", "instance"} | ({"le"} if metric.endswith("_bucket") else set())


def reasons_of(metric: str) -> set[str]:
    """Return what the labels ``reason`` and ``result`` of a metric may say."""
    known: dict[str, set[str]] = {
        catalog.RUNS.name: set(catalog.RUN_RESULTS),
        catalog.IMAGES_COPIED.name: set(catalog.IMAGE_RESULTS),
        f"{catalog.IMAGE_DURATION.name}_bucket": set(catalog.IMAGE_RESULTS),
        catalog.BYTES_SAVED.name: set(catalog.SAVED_REASONS),
    }
    return known[metric]


def all_asked() -> list[Asked]:
    return [one for name in NAMES for one in asked(dashboard(name))]


def used_by(name: str) -> set[str]:
    return {metric for one in asked(dashboard(name)) for metric, _ in selectors(one.expr)}


def test_metrics_and_labels_that_are_asked_for_exist() -> None:
    wrong = []
    for one in all_asked():
        for metric, matchers in selectors(one.expr):
            if metric not in OF_PROMETHEUS and spec_of(metric) is None:
                wrong.append(f"{one.where}: {metric}")
            wrong += [
                f"{one.where}: {metric} has no {label}" for label, _, _ in matchers if label not in labels_of(metric)
            ]

    assert wrong == []


def test_groupings_and_legends_name_labels_that_the_metrics_have() -> None:
    wrong = []
    for one in all_asked():
        metrics = [metric for metric, _ in selectors(one.expr)]
        known = {label for metric in metrics for label in labels_of(metric)}
        named = {name.strip() for group in GROUPING.findall(one.expr) for name in group.split(",") if name.strip()}
        wrong += [f"{one.where}: by {label}" for label in named - known]
        grouped = named | set(re.findall(r'label_replace\(.*?"(\w+)", ', one.expr))
        if not one.where.startswith("annotation"):
            wrong += [f"{one.where}: legend {label}" for label in set(LEGEND.findall(one.legend)) - grouped]

    assert wrong == []


def test_values_that_are_asked_for_are_those_of_the_code() -> None:
    wrong = []
    for one in all_asked():
        for metric, matchers in selectors(one.expr):
            for label, _, value in matchers:
                if "$" not in value:
                    known = VALUES.get(label) or reasons_of(metric)
                    wrong += [f"{one.where}: {label}={part}" for part in set(value.split("|")) - known]

    assert wrong == []


def test_every_metric_is_on_the_dashboard_of_the_service() -> None:
    used = {spec_of(metric) for metric in used_by("mirrord")}
    page = (ROOT / "docs/reference/metrics.md").read_text("utf-8")

    assert {spec.name for spec in METRICS} == set(re.findall(r"^\| `(mirrord_\w+)`", page, re.MULTILINE))
    assert set(METRICS) - used == set()
    assert used_by("mirrord") >= OF_PROMETHEUS


def test_dashboard_of_single_runs_asks_what_a_single_run_leaves() -> None:
    used = {spec_of(metric) for metric in used_by("mirrord-once")}

    assert used & NOT_AFTER_A_SINGLE_RUN == set()
    assert used_by("mirrord-once") & OF_PROMETHEUS == set()
    assert set(METRICS) - used - NOT_AFTER_A_SINGLE_RUN == set(NOT_ON_THE_SMALL_ONE)


def test_counters_of_single_runs_are_not_taken_as_rates() -> None:
    """They stand still between runs and begin anew with each: a rate of them is noise."""
    rates = [
        one.where for one in asked(dashboard("mirrord-once")) if re.search(r"\b\w*(rate|increase|delta)\(", one.expr)
    ]

    assert rates == []


def test_quantiles_add_up_buckets_by_their_bound() -> None:
    quantiles = [one for one in all_asked() if "histogram_quantile" in one.expr]

    assert len(quantiles) >= 6
    assert all(re.search(r"histogram_quantile\([\d.]+, sum by \(le\b", one.expr) for one in quantiles)


@each
def test_variables_of_several_values_are_matched_as_regular_expressions(name: str) -> None:
    board = dashboard(name)
    several = {one["name"] for one in board["templating"]["list"] if one.get("multi")}
    queries = [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    exprs = [*(one.expr for one in asked(board)), *queries]

    assert {variable for expr in exprs for variable in MULTI.findall(expr)} <= several
    for expr in exprs:
        plain = [
            value
            for _, matchers in selectors(expr)
            for _, operator, value in matchers
            if "$" in value and operator != "=~"
        ]
        assert plain == [], expr


@each
def test_every_selector_keeps_to_the_instances_that_were_chosen(name: str) -> None:
    for one in asked(dashboard(name)):
        for metric, matchers in selectors(one.expr):
            chosen = {label: value for label, _, value in matchers}
            if metric == "ALERTS":  # alerts outlive instances, and some are of no job that still is
                assert chosen["job"] == "$job|"
                continue
            assert chosen.get("job") == "$job", (one.where, metric)
            assert chosen.get("instance") == "$instance", (one.where, metric)
            for label in ("rule", "registry", "target"):
                if label in chosen:
                    assert chosen[label] == ("$rule" if label == "rule" else "$registry"), one.where


def test_all_jobs_are_those_that_have_mirrord() -> None:
    """Metrics of processes are everybody's: `job=~".*"` would show those of all."""
    variables = {one["name"]: one for one in dashboard("mirrord")["templating"]["list"]}

    assert variables["job"]["allValue"] is None
    assert variables["instance"]["allValue"] is None
    assert "mirrord_build_info" in variables["job"]["query"]["query"]


def test_ratios_over_instances_match_by_instance() -> None:
    """Two instances may have rules of one name: a ratio without `instance` would be refused, or mix them up."""
    for one in all_asked():
        for labels in re.findall(r"\bon \(([^)]*)\) group_left", one.expr):
            assert {"job", "instance"} <= {label.strip() for label in labels.split(",")}, one.where


def choices(board: Any) -> list[View]:
    """Return ways to look at a dashboard: all, one of each, several with signs that mean something to regexes."""
    names = [one["name"] for one in board["templating"]["list"] if one["type"] == "query"]
    found = {name: ["a.b:5000", "c"] for name in names}
    one, several = ["127.0.0.1:5000"], ["a.b-c", "d|e", "[::1]:5000", r"f\g"]
    return [
        View(board, found),
        View(board, found, dict.fromkeys(names, one), range_s=604_800, interval_s=600),
        View(board, found, dict.fromkeys(names, several), interval_s=1, scrape_s=1),
        View(board),
    ]


@pytest.mark.integration
@each
def test_promtool_parses_every_expression(name: str, tmp_path: Path, require_tool: RequireTool) -> None:
    require_tool("promtool")
    board = dashboard(name)
    exprs = [view.put_in(one.expr) for view in choices(board) for one in asked(board)]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")

    assert not [expr for expr in exprs if "$" in expr.replace(r"\\$", "")]
    assert f"{len(exprs)} rules found" in promtool("check", "rules", str(file))
    assert len(panels(board)) <= len(exprs) / 4


def test_bars_count_what_happened_in_their_step_alone() -> None:
    """An increase over `$__rate_interval`, which is longer than a step, counts what lies between two steps twice."""
    board = dashboard("mirrord")
    bars = [one for one in panels(board) if one["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle") == "bars"]

    assert len(bars) >= 6
    for panel in bars:
        for target in panel["targets"]:
            assert re.search(r"\[\$__rate_interval\]\)\) \* \$__interval_ms / 1000( > 0)?$", target["expr"]), panel[
                "title"
            ]
            assert panel["interval"], "the least width of a bar"
    assert not [one.where for one in all_asked() if re.search(r"increase\([^)]*\[\$__rate_interval", one.expr)]


def test_numbers_are_those_of_this_moment() -> None:
    """The last value of a range would show a service that is dead since an hour as it was an hour ago."""
    for name in NAMES:
        for panel in panels(dashboard(name)):
            if panel["type"] in {"stat", "bargauge", "table"}:
                assert all(target["instant"] and not target["range"] for target in panel["targets"]), panel["title"]
            else:
                assert all(target["range"] and not target["instant"] for target in panel["targets"]), panel["title"]
