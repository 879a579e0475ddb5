"""Draw the dashboards from what a real Prometheus says of a real mirrord that got into trouble, with chromium.

    .venv/bin/python scripts/dashboard_pictures.py DIRECTORY [SECONDS]

Runs the registries of tests/deploy/dashboards/incidents.py, the service, single runs and Prometheus for so many seconds
(300), then writes a picture of each row of the dashboards. Time is short: rules run every 5 s, Prometheus asks every
second, a bar counts 15 s instead of two minutes, rates are over 20 s. It is our drawing of the
dashboard's file, not Grafana's.
"""

# ruff: noqa: INP001 - a script, part of no package

from __future__ import annotations

import html
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.pictures.data import Data, Line  # noqa: E402 - found by the path above
from scripts.pictures.drawing import GAP_PX, ROW_PX, WIDTH_PX, panel_html  # noqa: E402 - the same
from tests.deploy.dashboards.grafana import View, dashboard  # noqa: E402 - the same
from tests.deploy.dashboards.incidents import Incidents, incidents  # noqa: E402 - the same
from tests.deploy.dashboards.looking import Looking, legend  # noqa: E402 - the same
from tests.deploy.dashboards.node import served  # noqa: E402 - the same
from tests.integration.command import Mirrord  # noqa: E402 - the same
from tests.integration.daemon import Daemon  # noqa: E402 - the same
from tests.integration.prometheus import Prometheus, prometheus  # noqa: E402 - the same

CHROMIUM = "/usr/bin/chromium"
SECONDS = 300
LINE_S, BAR_S = 5, 15
MADE = (
    "Drawn by scripts/dashboard_pictures.py from the dashboard's file and a real Prometheus' answers, not by Grafana. "
    "Rules run every 5 s, names stand for registries on loopback ports."
)
ROWS = {"mirrord": ("fresh", "moving", "failing", "registries", "saved", "daemon"), "mirrord-once": ("once",)}


def main(directory: Path, seconds: int) -> None:
    """Let it happen, and write the pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, ExitStack() as running:
        there, names = happen(Path(work), running, seconds)
        playwright = running.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        running.callback(browser.close)
        for name, parts in ROWS.items():
            looking = Looking(dashboard(name), there, seconds - 15)
            chosen = {"job": ["mirrord" if name == "mirrord" else "node"]}
            view = replace(looking.view(chosen), interval_s=LINE_S)
            for part, panels in zip(parts, rows_of(looking.board, len(parts)), strict=True):
                page = page_of(looking, view, panels, names)
                take(browser, page, directory / f"dashboard-{part}.png")


def rows_of(board: Any, wanted: int) -> Iterator[list[Any]]:
    """Yield the panels of each row, with the row; of all rows together, if one picture is wanted."""
    starts = [index for index, panel in enumerate(board["panels"]) if panel["type"] == "row"][:wanted]
    for start, end in zip(starts, [*starts[1:], len(board["panels"])], strict=True):
        yield board["panels"][start:end]


def happen(work: Path, running: ExitStack, seconds: int) -> tuple[Prometheus, dict[str, str]]:
    """Run everything for a while; return Prometheus, and names for the addresses of registries and instances."""
    world = running.enter_context(incidents(work))
    world.every = world.slowly = "5s"
    world.promise, world.bandwidth = "40s", "6MiB"
    world.begin()
    runners = {name: Mirrord(work / name) for name in ("service", "once")}
    for runner in runners.values():
        runner.work_dir.mkdir()
        running.callback(runner.close)
    daemon = running.enter_context(Daemon(runners["service"], world.config))
    file = work / "once" / "mirrord.prom"
    node = running.enter_context(served(file))
    there = running.enter_context(
        prometheus(work, daemon.port, rules=[ROOT / "grafana/alerts/mirrord.yaml"], node=node)
    )
    play(world, daemon, runners["once"], file, seconds)
    names = {
        world.source.address: "registry.internal",
        world.east.address: "east.internal",
        world.west.address: "west.internal",
        world.frail.address: "edge.internal",
        world.hub.host: "hub.example",
        world.private.host: "private.example",
        f"127.0.0.1:{daemon.port}": "mirrord-0:8080",
        f"127.0.0.1:{node}": "ci-7:9100",
    }
    return there, names


def play(world: Incidents, daemon: Daemon, once: Mirrord, file: Path, seconds: int) -> None:
    """Go through the incidents, at shares of the time that there is."""
    started = time.monotonic()
    dice = Random(1)  # noqa: S311 - no secret is made
    config = world.write_config(once.work_dir, beneath="once")

    def single() -> None:
        once.run("sync", "--once", "--no-progress", "-c", str(config), "--metrics-textfile", str(file))

    def restart() -> None:
        daemon.end()
        daemon.start()

    acts: list[tuple[float, Callable[[], object]]] = [
        (0.12, lambda: world.be_short(12)),
        (0.2, world.frail.kill),
        (0.21, lambda: world.publish("edge", "v1")),
        (0.3, single),
        (0.33, lambda: world.publish("releases", "v1")),
        (0.4, world.spoil_config),
        (0.45, world.frail.start),
        (0.52, lambda: world.write_config(world.directory)),
        (0.6, restart),
        (0.7, lambda: world.be_short(8)),
        (0.75, lambda: world.publish("edge", "v1")),
        (0.85, single),
    ]
    later = 0.0
    while (now := time.monotonic() - started) < seconds:
        while acts and now > acts[0][0] * seconds:
            acts.pop(0)[1]()
        if now > later:
            world.publish(dice.choice(("app", "web")), size_bytes=dice.randrange(1_000_000, 12_000_000))
            if dice.random() < 0.4:  # noqa: PLR2004 - a release now and then
                world.release(f"1.{dice.randrange(10**6)}")
            later = now + dice.uniform(4, 14)
        time.sleep(0.2)


def page_of(looking: Looking, view: View, panels: list[Any], names: Mapping[str, str]) -> str:
    """Return the page of a row."""
    top = panels[0]["gridPos"]["y"]
    events = events_of(looking, view)
    drawn = "".join(panel_html(panel, data_of(looking, view, panel, names, events), top) for panel in panels)
    tall = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - top
    style = (ROOT / "scripts/pictures/style.css").read_text("utf-8")
    grid = f'<div class="grid" style="height:{tall * (ROW_PX + GAP_PX)}px">{drawn}</div>'
    head = f'<h1>{html.escape(looking.board["title"])}</h1><p class="made">{MADE}</p>'
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style><body>{head}{grid}'


def events_of(looking: Looking, view: View) -> list[tuple[float, str]]:
    """Return the moments of the annotations that are on, with their colours."""
    found: set[tuple[float, str]] = set()
    start = time.time() - looking.range_s
    for one in looking.board["annotations"]["list"]:
        if one["enable"] and not one.get("builtIn"):
            for series in looking.ask(one["expr"], view, is_now=False, step=1):
                moments = {float(value) / 1000 for _, value in series["values"]}
                found |= {(moment, one["iconColor"]) for moment in moments if moment > start}
    return sorted(found)


def data_of(
    looking: Looking, view: View, panel: Any, names: Mapping[str, str], events: list[tuple[float, str]]
) -> Data:
    """Ask for what a panel shows."""
    step = BAR_S if "interval" in panel else LINE_S
    end = time.time() // step * step
    data = Data(end - looking.range_s, end, step, events=events)
    for target in panel.get("targets", ()):
        at_step = replace(view, interval_s=step, scrape_s=1 if step == BAR_S else LINE_S)  # rates over 20 s
        lines = []
        for series in looking.ask(target["expr"], at_step, is_now=target["instant"], step=step, end=end):
            labels = {label: names.get(value, value) for label, value in series["metric"].items()}
            points = [(float(moment), float(value)) for moment, value in series["values"]]
            lines.append(Line(legend(target["legendFormat"], labels), labels, points))
        if lines:
            data.by_query[target["refId"]] = lines
    return data


def take(browser: Browser, text: str, file: Path) -> None:
    """Write the picture of a page."""
    page = browser.new_page(viewport={"width": WIDTH_PX, "height": 400})
    page.set_content(text)
    page.screenshot(path=file, full_page=True)
    page.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)  # noqa: PLR2004 - the second word
