"""Debian's Prometheus and its promtool read what mirrord exposes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirrord.ports.events import RequestDone, RunEnded
from mirrord.telemetry.metrics import Metrics
from tests.fakes.runs import rule
from tests.integration.prometheus import exposed, prometheus, promtool
from tests.unit.telemetry.samples import read
from tests.unit.telemetry.told import MOMENT
from tests.unit.telemetry.view import some_view

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
APP = rule("docker.io/library/app", "a.example/mirror/app", name="app")


def running() -> Metrics:
    """Return the metrics of a service that did something."""
    metrics = Metrics()
    metrics.know([APP])
    metrics.watch(view := some_view())
    run = view.stands.rules[0].last_run
    assert run is not None
    metrics.emit(RunEnded(run=run, looked=True))
    metrics.emit(RequestDone(host="docker.io", method="GET", status=200, seconds=0.3))
    return metrics


@pytest.mark.parametrize("metrics", [running(), Metrics()], ids=["running", "empty"])
def test_promtool_finds_no_fault_in_the_metrics(metrics: Metrics) -> None:
    assert promtool("check", "metrics", text=metrics.expose(None)[0].decode()) == ""


def test_queries_of_the_page_are_queries_of_prometheus(tmp_path: Path) -> None:
    text = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    queries = [found.replace(r"\|", "|") for found in re.findall(r"^\| `mirrord_.*\| `(.+)` \|$", text, re.MULTILINE)]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}), "utf-8")

    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


@contextmanager
def served(metrics: Metrics) -> Iterator[tuple[int, list[str]]]:
    """Serve metrics on a loopback port; yield it, and the formats that were asked for."""
    asked: list[str] = []

    def answer(accept: str | None) -> tuple[bytes, str]:
        text, content_type = metrics.expose(accept)
        asked.append(content_type)
        return text, content_type

    with exposed(answer) as port:
        yield port, asked


def test_prometheus_reads_the_values_that_the_service_says(tmp_path: Path) -> None:
    """Each metric of mirrord comes out of Prometheus with the values and labels with which it went in."""
    metrics = running()
    expected = {name: found for name, found in read(metrics).items() if name.startswith("mirrord_")}
    with served(metrics) as (port, asked), prometheus(tmp_path, port) as there:
        there.wait_for('up{job="mirrord"} == 1')
        there.wait_for("mirrord_build_info")
        found = {name: there.query(name) for name in expected}
        behind = there.query("max by (rule) (mirrord_freshness_seconds)")
        late = there.query("max by (rule) (mirrord_freshness_seconds) > on (rule) mirrord_freshness_objective_seconds")
        exported = there.query('{__name__=~".+", exported_job=~".+"} or {__name__=~".+", exported_instance=~".+"}')

    assert {content_type.partition(";")[0] for content_type in asked} == {"application/openmetrics-text"}
    assert found == expected
    assert found["mirrord_images"][("app", "in_sync", "a.example")] == 5
    assert found["mirrord_last_success_timestamp_seconds"] == {("app",): MOMENT.timestamp() - 3600}
    assert (behind, late) == ({("app",): 90}, {})
    assert exported == {}, "labels that collide with Prometheus' own"
