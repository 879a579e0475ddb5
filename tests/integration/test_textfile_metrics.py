"""The file for node_exporter says what the report of the same run says, number for number."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import StartRegistry
from tests.integration.fiverules import SHARED, make_world, seconds, without_zeros
from tests.integration.prometheus import promtool
from tests.integration.scenes import noise

pytestmark = pytest.mark.timeout(120)


def test_file_for_node_exporter_says_what_the_report_of_the_run_says(
    start_registry: StartRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    world = make_world(start_registry, tmp_path)
    mirrord.run("sync", "--once", "-c", str(world.config))
    world.fall_behind()
    for registry in world.reachable:
        registry.forget_requests()
    scenes.push_image(world.source, "team/app", "v9", [SHARED, noise(300, 5000)])
    scenes.push_image(world.source, "team/both", "v9", [noise(301, 5000), noise(302, 5000)])
    file = tmp_path / "mirrord.prom"

    done = mirrord.run("sync", "--once", "-c", str(world.config), "--output", "json", "--metrics-textfile", str(file))

    report = json.loads(done.stdout)
    assert done.code == report["exit_code"] == 1
    assert promtool("check", "metrics", text=file.read_text()) == ""
    assert OfFile(file).told() == of_report(report)


class OfFile:
    """The metrics of a file, added up in the shape of `of_report`."""

    def __init__(self, file: Path) -> None:
        families = text_string_to_metric_families(file.read_text())
        self._samples = [sample for family in families for sample in family.samples]

    def told(self) -> dict[str, object]:
        blobs = self.by("mirrord_blobs_total", "outcome")
        saved = self.by("mirrord_bytes_saved_total", "reason")
        written = self.by("mirrord_bytes_written_total", "registry")
        return {
            "images": self.by("mirrord_images", "rule", "state"),
            "worked on": self.by("mirrord_images_copied_total", "rule", "result"),
            "blobs": {(name,): blobs[(name,)] for name in ("uploaded", "mounted", "existed")},
            "bytes": {"uploaded": sum(written.values()), **{name: saved[(name,)] for name in ("mounted", "existed")}},
            "requests": self.by("mirrord_requests_total", "registry"),
            "read": self.by("mirrord_bytes_read_total", "registry"),
            "written": written,
            "retries": sum(self.by("mirrord_retries_total").values()),
            "runs": self.by("mirrord_runs_total", "rule", "result"),
            "last run": self.by("mirrord_last_run_timestamp_seconds", "rule"),
            "last success": self.by("mirrord_last_success_timestamp_seconds", "rule"),
        }

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return the sums by labels, but those of zero."""
        found: dict[tuple[str, ...], float] = defaultdict(float)
        for sample in self._samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += sample.value
        return without_zeros(found)


def of_report(report: Any) -> dict[str, object]:
    """Return what the JSON of a run says, by what metrics call it."""
    states: Counter[tuple[str, ...]] = Counter()
    worked_on: dict[tuple[str, ...], float] = {}
    runs: dict[tuple[str, ...], float] = {}
    for rule in report["rules"]:
        name, totals = rule["rule"], rule["totals"]
        for image in rule["images"]:
            state = {"copied": "in_sync"}.get(image["outcome"], image["outcome"])
            states[name, state] += len(image["tags"])
        worked_on |= {(name, result): totals[result] for result in ("copied", "blocked", "failed")}
        bad, refused = rule["problems"] or totals["failed"], totals["blocked"]
        runs[name, "failed" if bad else "refused" if refused else "ok"] = 1
    finished = pytest.approx(seconds(report["finished"]), abs=0.001)
    blobs, traffic = report["blobs"], report["traffic"]
    return {
        "images": dict(states),
        "worked on": without_zeros(worked_on),
        "blobs": {(name,): told["count"] for name, told in blobs.items()},
        "bytes": {name: told["bytes"] for name, told in blobs.items()},
        "requests": {(host,): count for host, count in traffic["requests"].items()},
        "read": {(host,): size for host, size in traffic["bytes_read"].items()},
        "written": {(host,): size for host, size in traffic["bytes_written"].items()},
        "retries": traffic["retries"],
        "runs": runs,
        "last run": {(name,): finished for name, _ in runs},
        "last success": {(name,): finished for name, result in runs if result == "ok"},
    }
