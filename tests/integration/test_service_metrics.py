"""The whole service, asked three ways at once: by Prometheus, over the API, and on the page; the answers are one."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool
from tests.integration.daemon import Daemon
from tests.integration.fiverules import PROMISE_S, World, make_world, seconds, without_zeros
from tests.integration.page.browsing import watch
from tests.integration.prometheus import Prometheus, prometheus, promtool
from tests.integration.servers import DockerRegistry

pytestmark = pytest.mark.timeout(120)


@dataclass
class Whole:
    """The service after it ran all, and a Prometheus that has seen the outcome.

    ``runs`` are those that ended, whole, as the API tells them; ``status`` is how things stand.
    """

    world: World
    daemon: Daemon
    there: Prometheus
    runs: list[Any]
    status: Any

    @property
    def rules(self) -> dict[str, Any]:
        """How the rules stand, by name."""
        return {rule["name"]: rule for rule in self.status["rules"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Iterator[Whole]:
    """A service of five rules: in sync, two targets, blocked, behind, and one that has no source."""
    require_tool("docker-registry", "prometheus", "promtool")
    directory = tmp_path_factory.mktemp("whole")
    with ExitStack() as running:

        def start() -> DockerRegistry:
            return running.enter_context(DockerRegistry(directory / f"registry-{len(list(directory.iterdir()))}"))

        world = make_world(start, directory)
        for registry in world.reachable:
            registry.forget_requests()
        (directory / "mirrord").mkdir()
        mirrord = Mirrord(directory / "mirrord")
        running.callback(mirrord.close)
        daemon = running.enter_context(Daemon(mirrord, world.config))
        there = running.enter_context(prometheus(directory, daemon.port))
        daemon.wait_until(lambda: bool(daemon.get("rules/app")["last_success"]), "the run at the start")
        for name in ("both", "kept", "late"):
            daemon.wait_for_run(daemon.sync(name))
        world.fall_behind()
        for name in ("both", "late", "missing"):
            daemon.wait_for_run(daemon.sync(name))
        listed = daemon.get("runs?limit=100")["runs"]
        runs = [daemon.get(f"runs/{run['id']}") for run in listed]
        there.wait_for('mirrord_fresh{rule="late"} == 0')  # its promise is over
        wait_for_scrape(there)
        yield Whole(world, daemon, there, runs, daemon.get("status"))


def wait_for_scrape(there: Prometheus) -> None:
    """Wait until Prometheus has asked anew from beginning to end."""
    there.wait_for(f"timestamp(mirrord_queue_depth) > {time.time() + 0.01:.3f}")


def test_prometheus_says_of_images_and_moments_what_the_api_says(whole: Whole) -> None:
    rules, query = whole.rules, whole.there.query
    images = {
        (name, state, target["host"]): count
        for name, rule in rules.items()
        for target in rule["targets"]
        for state, count in target["images"].items()
    }
    assert {name: rule["state"] for name, rule in rules.items()} == {
        "app": "in_sync",
        "both": "in_sync",
        "kept": "blocked",
        "late": "failed",
        "missing": "failed",
    }

    assert without_zeros(query("mirrord_images")) == images
    assert sum(images.values()) == 3 + 2 * 2 + 2 + 1
    for metric, moments in {
        "last_success": {name: rule["last_success"] for name, rule in rules.items()},
        "last_run": {name: rule["last_run"]["finished"] for name, rule in rules.items()},
        "next_run": {name: rule["next_run"] for name, rule in rules.items()},
    }.items():
        expected = {(name,): seconds(moment) for name, moment in moments.items() if moment is not None}
        assert query(f"mirrord_{metric}_timestamp_seconds") == pytest.approx(expected, abs=0.001), metric
    assert set(query("mirrord_next_run_timestamp_seconds")) == {("app",)}
    assert set(query("mirrord_last_success_timestamp_seconds")) == {("app",), ("both",), ("late",)}
    assert query("mirrord_fresh") == {(name,): rule["is_fresh"] for name, rule in rules.items()}
    objectives = {(name,): rule["objective_seconds"] for name, rule in rules.items() if rule["objective_seconds"]}
    assert query("mirrord_freshness_objective_seconds") == objectives == {("kept",): 3600, ("late",): PROMISE_S}


def test_prometheus_sees_a_rule_fall_behind_as_the_api_does(whole: Whole) -> None:
    query = whole.there.query
    since = seconds(whole.rules["late"]["behind_since"])

    def behind() -> tuple[float, float]:
        """Return the freshness, and the moment at which Prometheus asked for it."""
        (value,) = query('max by (rule) (mirrord_freshness_seconds{rule="late"})').values()
        (asked,) = query('max by (rule) (timestamp(mirrord_freshness_seconds{rule="late"}))').values()
        return value, asked

    first, first_asked = behind()
    wait_for_scrape(whole.there)
    later, later_asked = behind()

    assert first == pytest.approx(first_asked - since, abs=1.5)
    assert later == pytest.approx(later_asked - since, abs=1.5)
    assert later > first > 0
    whole.there.wait_for('max by (rule) (mirrord_freshness_seconds{rule="late"}) > 1')
    late = query("max by (rule) (mirrord_freshness_seconds) > on (rule) mirrord_freshness_objective_seconds")
    assert set(late) == {("late",)}
    broken = {name for name, rule in whole.rules.items() if rule["objective_seconds"] and not rule["is_fresh"]}
    assert broken <= {"late"}
    fresh = query("max by (rule) (mirrord_freshness_seconds) == 0")
    assert set(fresh) == {("app",), ("both",)}, "a source that was never seen is not fresh"


def test_prometheus_counts_what_the_runs_of_the_api_add_up_to(whole: Whole) -> None:
    query, runs = whole.there.query, whole.runs
    results = Counter((run["result"], run["rule"]) for run in runs)
    outcomes: Counter[tuple[str, ...]] = Counter()
    blobs: Counter[tuple[str, ...]] = Counter()
    sizes: Counter[str] = Counter()
    for run in runs:
        for result in ("copied", "blocked", "failed"):
            outcomes[result, run["rule"]] += run["outcomes"][result]
        for outcome, told in run["blobs"].items():
            blobs[(outcome,)] += told["count"]
            sizes[outcome] += told["bytes"]

    assert without_zeros(query("mirrord_runs_total")) == dict(results)
    assert len(runs) == 7
    assert without_zeros(query("sum by (result, rule) (mirrord_images_copied_total)")) == without_zeros(outcomes)
    counted = query('sum by (outcome) (mirrord_blobs_total{outcome!="failed"})')
    assert without_zeros(counted) == without_zeros(blobs)
    assert query("sum(mirrord_bytes_written_total)") == {(): sizes["uploaded"]}
    saved = {reason: value for (reason,), value in query("sum by (reason) (mirrord_bytes_saved_total)").items()}
    assert (saved["mounted"], saved["existed"]) == (sizes["mounted"], sizes["existed"])
    assert query("sum(mirrord_bytes_read_total)") == {(): sizes["uploaded"] - saved["fanout"]}
    assert saved["fanout"] > 40_000, "layers of both were read once for two targets"
    page = whole.status["saved"]
    assert page["saved_bytes"] == saved["mounted"] + saved["existed"]
    assert (page["uploaded_bytes"], page["fanout_bytes"]) == (sizes["uploaded"], saved["fanout"])


def test_prometheus_counts_requests_as_runs_and_registries_do(whole: Whole) -> None:
    of_runs: Counter[tuple[str, ...]] = Counter()
    for run in whole.runs:
        for registry, count in run["requests"].items():
            of_runs[(registry,)] += count

    counted = without_zeros(whole.there.query("sum by (registry) (mirrord_requests_total)"))

    assert counted == dict(of_runs)
    pushes = re.compile(r"/v2/team/")
    for registry in whole.world.reachable:
        logged = registry.requests()
        if registry is whole.world.source:  # what the test itself pushed is no request of the service
            logged = [one for one in logged if not (pushes.match(one.path) and one.method not in {"GET", "HEAD"})]
        assert counted[(registry.address,)] == len(logged), registry.address


def test_prometheus_says_whether_the_configuration_is_in_force(whole: Whole) -> None:
    query, config = whole.there.query, whole.world.config
    loaded_before = query("mirrord_config_last_reload_timestamp_seconds")
    assert query("mirrord_config_last_reload_successful") == {(): 1}
    assert loaded_before == {(): pytest.approx(seconds(whole.daemon.get("status")["config"]["loaded_at"]), abs=0.001)}
    good = config.read_text()

    config.write_text(good[:-1])
    whole.there.wait_for("mirrord_config_last_reload_successful == 0")
    refused = query("mirrord_config_last_reload_timestamp_seconds")
    config.write_text(good + "\n")  # no rule changes, so that none runs
    whole.there.wait_for("mirrord_config_last_reload_successful == 1")
    loaded = whole.daemon.get("status")["config"]["loaded_at"]

    assert refused == loaded_before, "the one before stays in force"
    after = query("mirrord_config_last_reload_timestamp_seconds")
    assert after == {(): pytest.approx(seconds(loaded), abs=0.001)}
    assert after != refused


def test_promtool_finds_no_fault_in_what_the_service_exposes(whole: Whole) -> None:
    text = whole.daemon.send("GET", "metrics")[1].decode()

    assert promtool("check", "metrics", text=text) == ""
    assert whole.there.query("scrape_samples_scraped") == {
        (): pytest.approx(text.count("\n") - text.count("\n#"), abs=2)
    }


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Daemon], Page]]:
    """Open the page of a service; at the end it must not have complained."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def open_one(daemon: Daemon) -> Page:
        page = context.new_page()
        watch(page, daemon.url.rstrip("/"), complaints, ())
        page.goto(daemon.url)
        expect(page.locator("#link")).to_have_attribute("data-link", "live")
        return page

    yield open_one
    context.close()
    assert complaints == []


def test_page_shows_what_prometheus_says(whole: Whole, open_page: Callable[[Daemon], Page]) -> None:
    query, page = whole.there.query, open_page(whole.daemon)
    states = {
        (rule,): page.locator(f"article.rule[data-rule={rule}]").get_attribute("data-state") for rule in whole.rules
    }
    figure = page.locator(".figure", has_text="Images in sync")
    behind = page.locator("article.rule[data-rule=late] .fresh b").inner_text()
    wait_for_scrape(whole.there)

    (in_sync,) = query('sum(mirrord_images{state="in_sync"})').values()
    (images,) = query("sum(mirrord_images)").values()
    expect(figure.locator("b")).to_have_text(f"{in_sync:g}")
    expect(figure.locator("small")).to_have_text(f"of {images:g}")
    failing = query('sum by (rule) (mirrord_images{state="failed"}) > 0')
    blocked = query('sum by (rule) (mirrord_images{state="blocked"}) > 0')
    assert {rule for rule, state in states.items() if state == "blocked"} == set(blocked) == {("kept",)}
    assert {rule for rule, state in states.items() if state == "failed"} == set(failing) | {("missing",)}
    expect(page.locator("article.rule[data-rule=kept] .pill")).to_have_text(f"Blocked {blocked[('kept',)]:g}")
    (freshness,) = query('mirrord_freshness_seconds{rule="late"}').values()
    shown = re.fullmatch(r"(\d+) s behind", behind)
    assert shown is not None, behind
    assert int(shown[1]) == pytest.approx(freshness, abs=4)
