"""The status page of the real service, in a browser: what happens at registries is seen without a reload."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import BROWSER_WAIT_MS
from tests.integration.daemon import Daemon
from tests.integration.page.browsing import watch
from tests.integration.scenes import noise
from tests.integration.servers import DockerRegistry

pytestmark = pytest.mark.timeout(120)

REFUSED = "net::ERR_CONNECTION_REFUSED"
UNAUTHORISED = "401"


class Shown:
    """The page of a service. ``is_same``: it was never loaded anew."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.page.evaluate("window.isSame = true")

    @property
    def is_same(self) -> bool:
        return bool(self.page.evaluate("window.isSame === true"))

    @property
    def link(self) -> Locator:
        return self.page.locator("#link")

    def card(self, rule: str) -> Locator:
        return self.page.locator(f"article.rule[data-rule={rule}]")

    def figure(self, label: str) -> Locator:
        return self.page.locator(".figure", has_text=label)


class Serve(Protocol):
    """Starts a service and opens its page. ``expected``: complaints that are no fault; ``settings``: of the source."""

    def __call__(
        self, *rules: Mapping[str, object], expected: Sequence[str] = (), settings: Mapping[str, object] | None = None
    ) -> tuple[Daemon, Shown]: ...


@pytest.fixture
def serve(
    browser: Browser, mirrord: Mirrord, source: DockerRegistry, target: DockerRegistry, tmp_path: Path
) -> Iterator[Serve]:
    """Start a service and open its page; at the end the page must not have complained, nor asked anybody else."""
    complaints: list[str] = []
    with ExitStack() as running:

        def start(
            *rules: Mapping[str, object], expected: Sequence[str] = (), settings: Mapping[str, object] | None = None
        ) -> tuple[Daemon, Shown]:
            registries = {**scenes.plain(target), source.address: {"plain_http": True, **(settings or {})}}
            daemon = running.enter_context(Daemon(mirrord, scenes.write_config(tmp_path, rules, registries)))
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            running.callback(context.close)
            context.set_default_timeout(BROWSER_WAIT_MS)
            page = context.new_page()
            page.clock.install()
            watch(page, daemon.url.rstrip("/"), complaints, tuple(expected))
            page.goto(daemon.url)
            expect(page.locator("#link")).to_have_attribute("data-link", "live")
            return daemon, Shown(page)

        yield start
    assert complaints == []


def rule(source: DockerRegistry, target: DockerRegistry, name: str = "app", **more: object) -> dict[str, object]:
    where = {"source": f"{source.address}/team/{name}", "targets": [f"{target.address}/mirror/{name}"]}
    return {"name": name, **where, **more}


def short(digest: str) -> str:
    """Return a digest as the page shows it."""
    return f"{digest[7:15]}…{digest[-4:]}"


def test_tag_that_moves_is_seen_to_move(serve: Serve, source: DockerRegistry, target: DockerRegistry) -> None:
    first = scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    _, shown = serve(rule(source, target, schedule="1s", freshness="1m"))
    card = shown.card("app")
    expect(card.locator(".state .pill")).to_have_text("In sync")
    card.locator("h3 button").click()
    row = card.locator("table.images tbody tr")
    card.get_by_label("State of images").select_option("")
    expect(row).to_contain_text(short(first.digest))

    second = scenes.push_image(source, "team/app", "1", [noise(2, 5000)])

    expect(row.locator("td[data-label=Source]")).to_contain_text(short(second.digest))
    expect(row.locator("td[data-label=Target]")).to_contain_text(short(second.digest))
    expect(row.locator(".reason")).to_have_text("the target serves this digest")
    expect(card.locator(".runs")).to_contain_text("1 copied")
    expect(shown.page.locator("h1")).to_have_text("The mirror is fresh")
    assert shown.is_same


def test_run_that_is_asked_for_on_the_page_needs_the_token(
    serve: Serve, source: DockerRegistry, target: DockerRegistry
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    daemon, shown = serve(rule(source, target), expected=[UNAUTHORISED])
    page, card = shown.page, shown.card("app")
    expect(card.locator(".state .pill")).to_have_text("Not run yet")

    card.locator(".act button").click()
    page.fill("#token-value", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-error")).to_contain_text("not accepted")
    refused = daemon.get("runs")["runs"]
    page.fill("#token-value", daemon.token)
    page.keyboard.press("Enter")

    expect(page.locator("#toast")).to_have_text("app runs as soon as it may.")
    expect(card.locator(".state .pill")).to_have_text("In sync")
    expect(card.locator(".when")).to_contain_text(re.compile("last .*, ok"))
    (run,) = daemon.get("runs")["runs"]
    assert refused == []
    assert (run["cause"], run["outcomes"]["copied"]) == ("manual", 1)
    assert scenes.tag_digest(target, "mirror/app", "1") is not None


def test_copy_that_takes_its_time_shows_how_far_it_is(
    serve: Serve, source: DockerRegistry, target: DockerRegistry
) -> None:
    for number in range(6):
        scenes.push_image(source, "team/app", f"v{number}", [noise(number, 200_000)])
    daemon, shown = serve(rule(source, target), settings={"bandwidth": "300KiB"})
    card = shown.card("app")

    run = daemon.sync("app")

    strip = card.locator(".strip")
    expect(strip).to_contain_text(re.compile(r"\d of 6 images done · \d+ % · [\d.]+ KiB/s"))
    expect(card.locator(".state .pill")).to_have_text(re.compile(r"Copying [1-6]"))
    expect(shown.figure("Moving now").locator("b")).to_have_text(re.compile(r"[\d.]+ KiB/s"))
    card.locator("h3 button").click()
    expect(card.locator(".transfers li").first).to_contain_text(re.compile(r"KiB of 195 KiB"))
    card.get_by_label("State of images").select_option("")
    expect(card.locator("table.images tbody tr")).to_have_count(6)
    choices = card.get_by_label("State of images").locator("option").all_inner_texts()
    assert not any(choice.startswith("Copying") for choice in choices), "the list knows no image by that"
    expect(strip).to_contain_text(re.compile(r"[1-5] of 6 images done"))

    daemon.wait_for_run(run)

    expect(strip).to_be_hidden()
    expect(card.locator(".state .pill")).to_have_text("In sync")
    expect(shown.figure("Images in sync").locator("b")).to_have_text("6")
    expect(shown.figure("Images in sync").locator("small")).to_have_text("of 6")
    expect(shown.figure("Moving now").locator("b")).to_have_text("Nothing")
    assert shown.is_same


def test_file_that_is_refused_is_told_until_it_is_mended(
    serve: Serve, source: DockerRegistry, target: DockerRegistry
) -> None:
    daemon, shown = serve(rule(source, target))
    good = daemon.config.read_text()
    banner = shown.page.locator(".banner", has_text="The configuration file was refused")

    daemon.config.write_text(good.replace('"app"', '"app", "shedule": "1m"', 1))
    expect(banner).to_contain_text("RELOAD_REJECTED")
    expect(banner).to_contain_text('did you mean "schedule"')
    expect(shown.page.locator("h1")).to_contain_text("the configuration file was refused")

    daemon.config.write_text(good.replace('"app"', '"renamed"', 1))

    expect(banner).to_be_hidden()
    expect(shown.card("renamed")).to_be_visible()
    expect(shown.card("app")).to_have_count(0)
    assert shown.is_same


def test_service_that_is_restarted_is_followed_again(
    serve: Serve, source: DockerRegistry, target: DockerRegistry
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    scenes.push_image(source, "team/more", "1", [noise(2, 5000)])
    daemon, shown = serve(rule(source, target), expected=[REFUSED])
    daemon.wait_for_run(daemon.sync("app"))

    daemon.end()
    expect(shown.link).to_have_attribute("data-link", "reconnecting")
    both = [rule(source, target), rule(source, target, "more", schedule="1h")]
    scenes.write_config(daemon.config.parent, both, scenes.plain(source, target))
    daemon.start()

    expect(shown.link).to_have_attribute("data-link", "live")
    expect(shown.card("more").locator(".state .pill")).to_have_text("In sync")
    expect(shown.card("app").locator(".state .pill")).to_have_text("In sync")  # from the state store
    expect(shown.figure("Images in sync").locator("b")).to_have_text("2")
    assert shown.is_same


def test_service_that_has_ended_leaves_a_page_that_says_of_when_it_is(
    serve: Serve, source: DockerRegistry, target: DockerRegistry
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    daemon, shown = serve(rule(source, target), expected=[REFUSED])
    daemon.wait_for_run(daemon.sync("app"))
    expect(shown.page.locator("#verdict")).to_have_attribute("data-level", "ok")

    daemon.end()
    expect(shown.link).to_have_attribute("data-link", "reconnecting")
    shown.page.clock.run_for(50_000)

    expect(shown.page.locator("#link-word")).to_have_text(re.compile(r"(reconnecting|offline), data of 5\d s ago"))
    expect(shown.page.locator("#verdict")).to_have_attribute("data-level", "unknown")
    expect(shown.page).to_have_title("mirrord: not connected")
    expect(shown.page.locator(".banner")).to_contain_text("What you see is of")
