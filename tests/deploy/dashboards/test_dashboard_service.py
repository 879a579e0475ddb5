"""Every expression of the dashboard has something to show, of a mirrord to which everything happened."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy.dashboards.grafana import Asked, View, asked, dashboard
from tests.deploy.dashboards.incidents import Incidents, incidents
from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool
from tests.integration.daemon import Daemon
from tests.integration.prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RANGE_S = 120
BOARD = dashboard("mirrord")
EMPTY: dict[str, str] = {}
"""Expressions that rightly have nothing to show here, and why."""


@dataclass
class Scene:
    """The service, its registries, and a Prometheus that has seen it all; ``view`` is of all that there is."""

    world: Incidents
    daemon: Daemon
    there: Prometheus

    def view(self, **chosen: list[str]) -> View:
        """Return the dashboard with values chosen."""
        found: dict[str, list[str]] = {}
        for variable in BOARD["templating"]["list"]:
            if variable["type"] == "query":
                query = View(BOARD, found, chosen).put_in(variable["query"]["query"])
                found[variable["name"]] = self.values(query)
        return View(BOARD, found, chosen, range_s=RANGE_S, interval_s=1, scrape_s=1)

    def values(self, query: str) -> list[str]:
        """Return what a query of a variable offers: `label_values(selector, label)`."""
        selector, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        return [str(value) for value in self.there.ask(f"label/{label}/values", **{"match[]": selector})]

    def series(self, one: Asked, view: View) -> list[Any]:
        """Return what Prometheus says to an expression, in the way in which the panel asks."""
        expr, now = view.put_in(one.expr), time.time()
        if one.is_now:
            found = self.there.ask("query", query=expr, time=now)["result"]
            return [{**series, "values": [series["value"]]} for series in found]
        return list(self.there.ask("query_range", query=expr, start=now - RANGE_S, end=now, step=1)["result"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Iterator[Scene]:
    """Run two services: one to which everything happens, and one that has a rule of the same name."""
    require_tool("docker-registry", "prometheus")
    directory = tmp_path_factory.mktemp("incidents")
    with ExitStack() as running:
        world = running.enter_context(incidents(directory))
        world.begin()
        daemons = []
        for name, config in (("one", world.config), ("two", world.second())):
            (directory / name).mkdir()
            mirrord = Mirrord(directory / name)
            running.callback(mirrord.close)
            daemons.append(running.enter_context(Daemon(mirrord, config)))
        there = running.enter_context(prometheus(directory, *(daemon.port for daemon in daemons)))
        happen(world, there)
        yield Scene(world, daemons[0], there)


def happen(world: Incidents, there: Prometheus) -> None:
    """Have everything happen, until Prometheus has seen it."""
    there.wait_for('min(sum by (rule) (mirrord_runs_total{rule!="late"})) > 1')
    there.wait_for('mirrord_images{rule="late", state="in_sync"} == 1')
    world.frail.kill()
    world.publish("late", "v1")
    world.be_short()
    for name in ("app", "web", "app", "web"):
        world.publish(name)
        world.release(f"1.{time.monotonic_ns()}")
        there.wait_for(f'sum(mirrord_images{{rule="{name}", state!="in_sync"}}) == 0')
    there.wait_for('increase(mirrord_image_duration_seconds_count{result="copied"}[1m]) > 0')
    for reason in ("rate_limited", "unavailable"):
        there.wait_for(f'mirrord_retries_total{{reason="{reason}"}} > 0')
    there.wait_for("mirrord_throttled_seconds_total > 0")
    there.wait_for("mirrord_integrity_errors_total > 0")
    there.wait_for('mirrord_fresh{rule="late"} == 0')
    world.spoil_config()
    there.wait_for("mirrord_config_last_reload_successful == 0")


@pytest.mark.parametrize("one", [pytest.param(one, id=one.where) for one in asked(BOARD)])
def test_expression_has_something_to_show(one: Asked, scene: Scene) -> None:
    found = scene.series(one, scene.view())
    numbers = [float(value) for series in found for _, value in series["values"]]
    is_there = any(math.isfinite(number) for number in numbers)

    assert is_there != (one.where in EMPTY), (one.where, scene.view().put_in(one.expr))
