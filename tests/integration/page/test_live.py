"""What the page follows: events, time, and a service that goes away and comes back."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from playwright.sync_api import expect

from mirrord.planning.memory import ImageState
from mirrord.planning.status import Level, RunResult, Verdict
from tests.fakes.pagedata import copying, failed, in_sync, make_run
from tests.fakes.pagescenes import SCENES, fresh_scene
from tests.integration.page.browsing import OpenPage
from tests.integration.page.server import PageServer, service_without_rules


def put(server: PageServer, **values: object) -> None:
    """Change the service itself, without its rules."""
    server.scene = replace(server.scene, status=replace(server.scene.status, **values))  # type: ignore[arg-type] # fields


def test_change_of_a_rule_is_shown_as_it_comes(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    late = replace(
        failed(), name="nginx", is_fresh=False, images={ImageState.FAILED: 2, ImageState.IN_SYNC: 16}, warnings=()
    )
    verdict = Verdict(level=Level.BAD, headline="6 of 7 mirrors are fresh", details=("nginx has failed.",))

    seen.server.change(late)
    put(seen.server, verdict=verdict)
    seen.server.push("service", service_without_rules(seen.server.scene.status))

    expect(seen.page.locator("h1")).to_have_text("6 of 7 mirrors are fresh")
    expect(seen.page).to_have_title("6 of 7 mirrors are fresh · mirrord")
    expect(seen.page.locator("#icon")).to_have_attribute("href", "static/icon-bad.svg")
    expect(seen.card("nginx").locator(".pill")).to_have_text("Failed 2")
    assert seen.names()[0] == "nginx"


def test_images_that_failed_are_not_counted_as_on_their_way(open_page: OpenPage) -> None:
    """``done`` has those that failed in it."""
    seen = open_page(SCENES["behind"]())
    moved = copying()
    assert moved.running is not None

    seen.server.change(replace(moved, running=replace(moved.running, total=8, done=5, failed=2)))

    card = seen.card(moved.name)
    expect(card.locator(".strip")).to_contain_text("5 of 8 images done, 2 failed")
    expect(card.locator(".state .pill")).to_have_text("Copying 3")
    expect(seen.page.locator(".figure", has_text="Moving now")).to_contain_text("3 images")


def test_cards_stay_where_they_are_under_the_pointer(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    before = seen.names()
    seen.card("busybox").hover()

    seen.server.change(replace(failed(), name="redis"))

    expect(seen.card("redis").locator(".pill")).to_have_text("Failed 3")
    assert seen.names() == before
    seen.page.mouse.move(5, 5)
    expect(seen.page.locator("article.rule h3 bdi").first).to_have_text("redis")


def test_cards_do_not_wait_for_the_pointer_for_ever(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    seen.card("busybox").hover()
    seen.page.clock.install()
    seen.server.change(replace(failed(), name="redis"))
    expect(seen.card("redis").locator(".pill")).to_have_text("Failed 3")

    seen.page.clock.set_system_time((seen.page.evaluate("Date.now()") + 11_000) / 1000)
    seen.server.push("rule", in_sync("nginx"))

    expect(seen.page.locator("article.rule h3 bdi").first).to_have_text("redis")


def test_rule_that_is_gone_leaves_and_a_new_one_comes(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())

    seen.server.push("gone", {"name": "redis"})
    seen.server.push("rule", in_sync("aaa-new"))

    expect(seen.card("redis")).to_have_count(0)
    expect(seen.card("aaa-new")).to_be_visible()
    assert seen.names()[0] == "aaa-new"


def test_ages_go_on_by_themselves(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    seen.page.clock.install()
    seen.page.reload()
    expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
    expect(seen.card("python").locator(".fresh b")).to_have_text("3 h 10 min behind")

    told = seen.page.evaluate("Date.now()")
    seen.page.clock.set_system_time((told + 5 * 60 * 1000) / 1000)

    expect(seen.card("python").locator(".fresh b")).to_have_text("3 h 15 min behind")
    expect(seen.card("python").locator(".when")).to_contain_text("in 42 min")


def test_page_comes_back_after_its_stream_broke(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    put(seen.server, verdict=Verdict(level=Level.NOTICE, headline="Changed while nobody listened"))

    seen.server.break_streams()

    expect(seen.page.locator("h1")).to_have_text("Changed while nobody listened")
    expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
    assert seen.server.requests["/api/v1/events"] == 2


def test_page_that_lost_its_service_does_not_claim_that_all_is_well(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene(), expected=("Failed to load resource",))
    seen.page.clock.install()
    seen.server.is_down = True
    seen.server.break_streams()
    expect(seen.page.locator("#link")).to_have_attribute("data-link", "reconnecting")

    seen.page.clock.run_for(40_000)

    expect(seen.page.locator("#verdict")).to_have_attribute("data-level", "unknown")
    expect(seen.page).to_have_title("mirrord: not connected")
    expect(seen.page.locator("#icon")).to_have_attribute("href", "static/icon-unknown.svg")
    expect(seen.page.locator(".banner")).to_contain_text("Not connected")
    expect(seen.page.locator("#link-word")).to_contain_text("data of")

    seen.server.is_down = False
    seen.page.clock.run_for(40_000)

    expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
    expect(seen.page.locator("#verdict")).to_have_attribute("data-level", "ok")
    expect(seen.page.locator("#banners")).to_be_hidden()


def test_page_behind_a_proxy_that_buffers_asks_instead(open_page: OpenPage) -> None:
    def hold(server: PageServer) -> None:
        server.holds_stream_back = True

    seen = open_page(fresh_scene(), prepare=hold, is_live=False)
    seen.page.clock.install()
    seen.page.reload()
    expect(seen.page.locator("h1")).to_have_text("All 7 mirrors are fresh")

    put(seen.server, verdict=Verdict(level=Level.NOTICE, headline="Asked for"))
    seen.page.clock.run_for(9_000)
    expect(seen.page.locator("#link")).to_have_attribute("data-link", "polling")
    seen.page.clock.run_for(2_000)

    expect(seen.page.locator("h1")).to_have_text("Asked for")
    expect(seen.page.locator("#link")).to_have_text(re.compile("updated every few seconds"))


def test_run_that_ended_renews_what_is_open(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    card = seen.open("nginx")
    expect(card.locator(".runs > li").first).to_contain_text("42 in sync")
    ended = make_run("nginx", 0, id="newest", result=RunResult.FAILED, outcomes={"failed": 2})
    runs = {**seen.server.scene.runs, "nginx": [ended, *seen.server.scene.runs["nginx"]]}
    seen.server.scene = replace(seen.server.scene, runs=runs)

    seen.server.push("run", ended)

    expect(card.locator(".runs > li").first).to_contain_text("2 failed")


def test_event_parser_keeps_to_the_standard(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene())
    text = (
        ': hello\r\nevent: rule\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
        "data:x\n\nevent: empty\n\nid: 7\ndata: last\r\rdata: cut"
    )

    outcome = seen.page.evaluate(
        """async (text) => {
          const { EventParser } = await import("./static/stream.js");
          const seen = [];
          for (const size of [1, 3, text.length]) {
            const found = [];
            const parser = new EventParser((name, data) => found.push([name, data]));
            for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
            seen.push(found);
          }
          return seen;
        }""",
        text,
    )

    expected = [["rule", '{"a":\n1}'], ["message", "x"], ["message", "last"]]
    assert outcome == [expected] * 3, json.dumps(outcome)
