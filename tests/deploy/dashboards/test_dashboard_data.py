"""Every expression has something to show, of a mirrord to which everything happens that the dashboards tell of."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dashboards.grafana import Asked, asked, dashboard, panels
from tests.deploy.dashboards.incidents import Incidents, incidents
from tests.deploy.dashboards.looking import LABEL, Looking
from tests.deploy.dashboards.node import served
from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool
from tests.integration.daemon import Daemon
from tests.integration.prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RANGE_S = 120
LIMITED = ("607 Memory B",)
"""Only where a control group limits memory, which the machine that tests may not do."""
FABRICATED = """\
mirrord_build_info{version="0.1.0",python="3.11.9"} 1
mirrord_memory_limit_bytes 1.34217728e+08
"""
ALERT = {
    "alert": "MirrordTested",
    "expr": "mirrord_failed_runs > 0",
    "labels": {"severity": "ticket", "registry": "of.the.test"},
}
SERVICE, ONCE = dashboard("mirrord"), dashboard("mirrord-once")


@dataclass
class Scene:
    """Two services, a single run, their registries, and a Prometheus that has seen it all."""

    world: Incidents
    one: Daemon
    two: Daemon
    service: Looking
    once: Looking


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Iterator[Scene]:
    """Run a service to which everything happens, one that has a rule of the same name, and a single run."""
    require_tool("docker-registry", "prometheus")
    directory = tmp_path_factory.mktemp("incidents")
    with ExitStack() as running:
        world = running.enter_context(incidents(directory))
        world.bandwidth = "2MiB"
        world.begin()
        runners = {}
        for name in ("one", "two", "once"):
            (directory / name).mkdir()
            runners[name] = Mirrord(directory / name)
            running.callback(runners[name].close)
        one = running.enter_context(Daemon(runners["one"], world.config))
        two = running.enter_context(Daemon(runners["two"], world.second()))
        file = directory / "once" / "mirrord.prom"
        node = running.enter_context(served(file))
        (directory / "limited.prom").write_text(FABRICATED)
        limited = running.enter_context(served(directory / "limited.prom"))
        alerts = directory / "alerts.yaml"
        alerts.write_text(json.dumps({"groups": [{"name": "test", "rules": [ALERT]}]}))
        there = running.enter_context(
            prometheus(directory, one.port, two.port, rules=[alerts], node=node, limited=limited)
        )
        happen(world, there)
        run_once(world, runners["once"], file)
        there.wait_for('mirrord_images{job="node"}')
        yield Scene(world, one, two, Looking(SERVICE, there, RANGE_S), Looking(ONCE, there, RANGE_S))


def happen(world: Incidents, there: Prometheus) -> None:
    """Have everything happen, until Prometheus has seen it."""
    there.wait_for('mirrord_images{rule="edge", state="in_sync"} == 1')
    there.wait_for('min(sum by (rule) (mirrord_runs_total{rule!="edge"})) > 1')
    world.frail.kill()
    world.publish("edge", "v1")
    there.wait_for('mirrord_failed_runs{rule="edge"} == 1')
    world.be_short()
    world.publish("web", size_bytes=4_000_000)
    there.wait_for("sum(mirrord_transfers_in_flight) > 0")  # for two seconds, and a scrape is every second
    for name in ("app", "web", "app", "web"):
        world.publish(name)
        world.release(f"1.{time.monotonic_ns()}")
        there.wait_for(f'sum(mirrord_images{{rule="{name}", state!="in_sync"}}) == 0')
    for seen in (
        'increase(mirrord_image_duration_seconds_count{result="copied"}[1m]) > 0',
        'mirrord_retries_total{reason="rate_limited"} > 0',
        'mirrord_retries_total{reason="unavailable"} > 0',
        "mirrord_throttled_seconds_total > 0",
        "mirrord_integrity_errors_total > 0",
        "mirrord_rate_limit_remaining > 0",
        'increase(mirrord_runs_total{result="failed", rule="edge"}[1m]) > 0',
        'mirrord_fresh{rule="edge"} == 0',
        'mirrord_credential_refused{rule="secret"} == 1',
        'ALERTS{rule="edge", alertstate="firing"}',
    ):
        there.wait_for(seen)
    world.spoil_config()
    there.wait_for("mirrord_config_last_reload_successful == 0")


def run_once(world: Incidents, mirrord: Mirrord, file: Path) -> None:
    """Mirror all rules once, into other repositories, with a registry that is short of breath and one that is dead."""
    world.be_short()
    config = world.write_config(mirrord.work_dir, beneath="once")
    done = mirrord.run("sync", "--once", "--no-progress", "-c", str(config), "--metrics-textfile", str(file))
    assert done.code == 1, done.stderr


def finite(found: list[Any]) -> list[float]:
    numbers = [float(value) for series in found for _, value in series["values"]]
    return [number for number in numbers if math.isfinite(number)]


@pytest.mark.parametrize("one", [pytest.param(one, id=one.where) for one in asked(SERVICE)])
def test_expression_about_the_service_has_something_to_show(one: Asked, scene: Scene) -> None:
    view = scene.service.view({"job": ["limited"] if one.where in LIMITED else ["mirrord"]})

    assert finite(scene.service.series(one, view)), view.put_in(one.expr)


@pytest.mark.parametrize("one", [pytest.param(one, id=one.where) for one in asked(ONCE)])
def test_expression_about_single_runs_has_something_to_show(one: Asked, scene: Scene) -> None:
    view = scene.once.view({"job": ["node"]})

    assert finite(scene.once.series(one, view)), view.put_in(one.expr)


def at(title: str, scene: Scene, chosen: Mapping[str, list[str]] | None = None) -> dict[str, float]:
    """Return what a panel of the service's first expression comes to now, by its rule or registry."""
    (one,) = (one for one in asked(SERVICE) if one.where.endswith(f" {title} A"))
    found = scene.service.series(one, scene.service.view(chosen))
    return {
        series["metric"].get("rule", series["metric"].get("registry", "")): float(series["values"][-1][1])
        for series in found
    }


def wait_for(title: str, value: float, scene: Scene, chosen: Mapping[str, list[str]]) -> None:
    """Wait until a panel of one number has come to a value."""
    (one,) = (one for one in asked(SERVICE) if one.where.endswith(f" {title} A"))
    scene.service.there.wait_for(f"{scene.service.view(chosen).put_in(one.expr)} == {value:g}")


def test_legends_columns_and_links_are_made_of_labels_that_are_there(scene: Scene) -> None:
    wrong = []
    for looking, view in ((scene.service, scene.service.view()), (scene.once, scene.once.view({"job": ["node"]}))):
        tables = {str(panel["id"]): panel for panel in panels(looking.board) if panel["type"] == "table"}
        for one in asked(looking.board):
            labels = [set(series["metric"]) for series in looking.series(one, view)]
            panel = tables.get(one.where.split()[0])
            if panel is not None:
                columns = panel["transformations"][-1]["options"]["renameByName"]
                expected = {name for name in columns if not name.startswith("Value")}
                wrong += [f"{one.where}: {found}" for found in labels if found != expected]
            elif one.legend != "__auto" and " or " not in one.expr:
                expected = set(LABEL.findall(one.legend))
                wrong += [f"{one.where}: {found}" for found in labels if not expected <= found]

    assert wrong == []


def test_panels_say_of_the_rules_what_the_page_says(scene: Scene) -> None:
    rules = {rule["name"]: rule for rule in scene.one.get("status")["rules"]}
    chosen = {"instance": [f"127.0.0.1:{scene.one.port}"]}
    behind = [name for name, rule in rules.items() if not rule["is_fresh"]]

    assert {"edge", "releases", "base", "tools"} <= set(behind)
    assert at("Rules behind", scene, chosen) == {"": len(behind)}
    assert at("Configuration", scene, chosen) == {"": 0}
    wait_for("Images kept back", 2, scene, chosen)  # they are tried again meanwhile
    wait_for("Registries left alone", 1, scene, chosen)
    wait_for("Images failed or stalled", 1, scene, chosen)  # that of the registry which is left alone waits
    assert set(at("Rules", scene, chosen)) == set(rules)
    assert at("Worst use of a promise", scene, chosen)[""] > 1
    assert set(at("Images that need somebody", scene, chosen)) <= {"edge", "releases", "base", "tools"}
    assert set(at("Failed images, by rule", scene, chosen)) >= {"edge", "tools"}


def test_panels_of_a_mirror_at_peace_say_none_or_stay_empty(scene: Scene) -> None:
    """A zero shows the word "none", an empty panel its own; neither is the answer to a question that went astray."""
    chosen = {"instance": [f"127.0.0.1:{scene.two.port}"], "registry": [scene.world.west.address]}

    assert at("Service", scene, chosen) == {"": 1}
    assert at("Images in sync", scene, chosen) == {"": 1}
    for title in (
        *("Rules behind", "Failed runs", "Images failed or stalled", "Images kept back", "Wrong contents"),
        *("Registries left alone", "Oldest change not served"),
    ):
        assert at(title, scene, chosen) == {"": 0}, title
    for title in (
        *("Images that need somebody", "Failed images, by rule", "Throttled"),
        *("Changes that policies kept back", "Wrong contents, by registry", "Requests sent again", "Pulls left"),
        *("Worst use of a promise", "Promise used, by rule", "Least of a quota left"),
    ):
        assert at(title, scene, chosen) == {}, title
    assert at("Configuration", scene, chosen) == {"": 1}


def test_variables_offer_what_there_is_and_narrow_the_panels(scene: Scene) -> None:
    view = scene.service.view({"job": ["mirrord"]})

    assert view.found["job"] == ["limited", "mirrord", "node"]
    assert view.found["instance"] == sorted(f"127.0.0.1:{daemon.port}" for daemon in (scene.one, scene.two))
    assert view.found["rule"] == ["app", "base", "edge", "nginx", "releases", "secret", "tools", "web"]
    assert {scene.world.hub.host, scene.world.frail.address} <= set(view.found["registry"])
    assert set(at("Behind, by rule", scene)) >= {"edge"}
    assert set(at("Behind, by rule", scene, {"rule": ["app"]})) <= {"app"}
    hosts = [scene.world.east.address, scene.world.west.address]
    assert set(at("Written to registries", scene, {"registry": hosts})) == set(hosts)


def test_bars_add_up_to_what_was_counted(scene: Scene) -> None:
    """Whatever the width of the bars. At the edges of what was scraped a window or so is lost."""
    (one,) = (one for one in asked(SERVICE) if one.where.endswith(" Runs, by how they ended A"))
    chosen = {"instance": [f"127.0.0.1:{scene.one.port}"], "rule": ["app"]}
    there, end = scene.service.there, time.time()
    ran = f'mirrord_runs_total{{rule="app", result="ok", instance="127.0.0.1:{scene.one.port}"}}'
    (first,) = there.ask("query", query=f"min_over_time({ran}[{RANGE_S}s])", time=end)["result"]
    (last,) = there.ask("query", query=ran, time=end)["result"]
    counted = float(last["value"][1]) - float(first["value"][1])

    for step in (2, 5, 10):
        view = dataclasses.replace(scene.service.view(chosen), interval_s=step)
        found = scene.service.ask(one.expr, view, is_now=False, step=step, end=end)
        bars = sum(float(value) for series in found for _, value in series["values"])
        assert bars == pytest.approx(counted, abs=4), step
    assert counted >= 6, "enough for twice as much to be too much"


def test_two_instances_with_a_rule_of_one_name_have_rows_of_their_own(scene: Scene) -> None:
    (one,) = (one for one in asked(SERVICE) if one.where.endswith(" Rules A"))

    found = scene.service.series(one, scene.service.view({"job": ["mirrord"], "rule": ["app"]}))

    assert len(found) == 2
    assert len({series["metric"]["instance"] for series in found}) == 2


def test_annotations_stand_at_the_moments_of_which_they_tell(scene: Scene) -> None:
    now = time.time()
    for looking in (scene.service, scene.once):
        for one in asked(looking.board):
            if one.where.startswith("annotation"):
                moments = finite(looking.series(one, looking.view()))
                assert all(now - 2 * RANGE_S < moment / 1000 <= time.time() for moment in moments), one.where
