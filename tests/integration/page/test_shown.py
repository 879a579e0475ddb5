"""What the page shows of a service, in a real browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from tests.fakes.pagedata import copying
from tests.fakes.pagescenes import SCENES
from tests.integration.page.browsing import OpenPage

WIDTHS = (360, 768, 1280, 2560)


@pytest.mark.parametrize("name", SCENES)
def test_page_shows_every_scene_without_a_complaint(open_page: OpenPage, name: str) -> None:
    """No error, no violation of the policy, no request to elsewhere: the fixture sees to it."""
    seen = open_page(SCENES[name]())

    expect(seen.page.locator("h1")).to_have_text(seen.server.scene.status.verdict.headline)
    expect(seen.page.locator("#verdict")).to_have_attribute("data-level", seen.server.scene.status.verdict.level)


SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.mark.parametrize("name", ["behind", "failed", "refused", "hostile", "empty"])
def test_page_never_scrolls_sideways(open_page: OpenPage, name: str) -> None:
    seen = open_page(SCENES[name]())
    for button in seen.page.locator("article.rule h3 button").all()[:3]:
        button.click()
        expect(seen.page.locator(".runs > li").last).to_be_visible()

    for width in WIDTHS:
        seen.page.set_viewport_size({"width": width, "height": 900})

        assert not seen.page.evaluate(SCROLLS), width


def test_headline_title_and_icon_say_the_same(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())

    expect(seen.page).to_have_title("11 of 12 mirrors are fresh · mirrord")
    assert seen.page.get_attribute("#icon", "href") == "static/icon-bad.svg"
    detail = seen.page.locator("#details li").first
    # 14:32 UTC, in the zone of the browser.
    expect(detail).to_have_text(
        "python is 2 h 10 min behind its promise of 1 h: Docker Hub quota is down to what is kept back until 15:32."
    )
    assert detail.locator("time").get_attribute("title") == "2026-03-05 14:32:00 UTC"


def test_figures_sum_up_the_service(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())

    texts = {
        figure.locator("h2").inner_text(): figure.locator(".value").inner_text()
        for figure in seen.page.locator(".figure").all()
    }

    assert texts == {
        "Images in sync": "1,736 of 1,747",
        "Moving now": "214 MiB/s",
        "Not moved, thanks to dedup, 7 days": "1.9 TiB of 2.3 TiB",
        "Docker Hub pulls left": "12 of 200, 20 kept back",
    }


def test_worst_rule_stands_first(open_page: OpenPage) -> None:
    seen = open_page(SCENES["many"]())

    assert seen.names()[:4] == ["base-images", "python", "team-images", "rule-000"]


def test_card_tells_how_its_rule_stands(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    python, nginx = seen.card("python"), seen.card("nginx")

    expect(python.locator(".pill")).to_have_text("Waiting: quota")
    expect(python.locator(".fresh p")).to_contain_text("3 h 10 min behind")
    expect(python.locator(".fresh p")).to_contain_text("promise 1 h")
    expect(python.locator(".when")).to_contain_text("goes on 15:32, in 47 min")
    expect(python.locator(".chip").last).to_contain_text("ECR eu-west-1")
    expect(nginx.locator(".pill")).to_have_text("In sync")
    expect(nginx.locator(".when")).to_contain_text("next 15:00, in 15 min")


def test_running_rule_tells_progress_rate_and_end(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    card = seen.open("team-images")

    expect(card.locator(".strip")).to_contain_text("5 of 8 images done · 62 % · 214 MiB/s · about 2 min")
    transfer = card.locator(".transfers li").first
    expect(transfer).to_contain_text("ghcr.io/acme/api:2.31.0")
    expect(transfer).to_contain_text("96 MiB/s")
    expect(transfer).to_contain_text("1.2 GiB of 1.9 GiB")
    expect(card.locator(".run")).to_contain_text("61 blobs, 8.8 GiB")


def test_failed_rule_says_what_helps(open_page: OpenPage) -> None:
    seen = open_page(SCENES["failed"]())
    card = seen.open("base-images")

    message = card.locator(".msg").first
    expect(message).to_contain_text("AUTH_REJECTED at 14:32, 12 min ago")
    expect(message).to_contain_text("What helps: check the registry's credential with mirrord auth check.")
    expect(message.locator(".remedy code")).to_have_text("mirrord auth check")
    expect(card.locator(".targets")).to_contain_text("registry.partner.example keeps failing")
    expect(card.locator(".problem li")).to_contain_text("takes no tag")


def test_refused_configuration_and_lost_store_are_told_once_and_in_full(open_page: OpenPage) -> None:
    seen = open_page(SCENES["refused"]())
    banners = seen.page.locator(".banner")

    expect(banners).to_have_count(3)
    expect(banners.nth(0)).to_contain_text("the disk is full")
    expect(banners.nth(1).locator("pre")).to_contain_text("rules[1].freshness: '1 hour' is no duration")
    expect(banners.nth(1)).to_contain_text("The one loaded at 09:12 is in force")
    expect(seen.page.locator("#details li")).to_have_count(0)


def test_empty_service_says_what_to_do(open_page: OpenPage) -> None:
    seen = open_page(SCENES["empty"]())

    expect(seen.page.locator("#empty")).to_contain_text("Write a first rule into /etc/mirrord/config.yaml")
    expect(seen.page.locator("#empty pre")).to_contain_text("targets:")
    expect(seen.page.locator("#figures")).to_be_hidden()


def test_filters_and_search_show_what_is_asked_for(open_page: OpenPage) -> None:
    seen = open_page(SCENES["many"]())

    seen.page.get_by_role("button", name="Behind 3").click()
    assert seen.names() == ["base-images", "python", "team-images"]
    seen.page.get_by_role("button", name="Running 1").click()
    assert seen.names() == ["team-images"]
    seen.page.get_by_role("button", name="Failed 1").click()
    assert seen.names() == ["base-images"]
    seen.page.get_by_role("button", name="All 200").click()
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("image-01 registry.internal")
    expect(seen.page.locator("article.rule:visible")).to_have_count(10)
    expect(seen.page.locator("#shown")).to_have_text("10 rules shown")

    seen.page.fill("#search", "no such rule")

    expect(seen.page.locator("#empty")).to_contain_text("No rule is like that.")
    seen.page.get_by_role("button", name="Show all rules").click()
    expect(seen.page.locator("article.rule:visible")).to_have_count(200)


def test_address_of_a_rule_opens_it(open_page: OpenPage) -> None:
    seen = open_page(SCENES["many"](), path="/#rule=rule-150")

    expect(seen.card("rule-150").locator(".more")).to_be_visible()
    expect(seen.card("rule-150")).to_be_in_viewport()
    expect(seen.card("rule-150").locator("h3 button")).to_be_focused()


def test_two_hundred_rules_are_drawn_fast_and_a_change_touches_one(open_page: OpenPage) -> None:
    seen = open_page(SCENES["many"]())
    expect(seen.page.locator("article.rule")).to_have_count(200)
    seen.page.evaluate(
        """() => {
          window.touched = new Set();
          new MutationObserver((all) => all.forEach((one) => {
            const element = one.target.nodeType === 1 ? one.target : one.target.parentElement;
            const card = element?.closest("article.rule");
            if (card) window.touched.add(card.dataset.rule);
          })).observe(
            document.querySelector("#cards"),
            { subtree: true, childList: true, characterData: true, attributes: true },
          );
        }"""
    )
    moved = copying()
    assert moved.running is not None

    seen.server.change(replace(moved, running=replace(moved.running, done=6, share=0.8)))

    expect(seen.card("team-images").locator(".strip")).to_contain_text("6 of 8 images done · 80 %")
    drawn = seen.page.evaluate("performance.getEntriesByName('first-drawn')[0]?.duration ?? -1")
    assert 0 <= drawn < 1500
    touched = set(seen.page.evaluate("[...window.touched]"))
    assert "team-images" in touched
    assert len(touched) < 20
