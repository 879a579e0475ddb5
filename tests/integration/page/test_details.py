"""What opens below a rule: images, digests, runs."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.fakes.pagedata import digest
from tests.fakes.pagescenes import SCENES
from tests.integration.page.browsing import OpenPage


def test_images_are_filtered_searched_and_paged(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    card = seen.open("python")
    rows = card.locator("table.images tbody tr")
    expect(rows).to_have_count(8)
    expect(rows.first).to_contain_text("3.13-slim")
    expect(rows.first).to_contain_text("Waiting")

    card.get_by_label("State of images").select_option("")
    expect(rows).to_have_count(25)
    expect(card.locator(".pager")).to_contain_text("25 of 84 images")
    card.locator(".pager button").click()
    expect(rows).to_have_count(50)
    card.get_by_label("Search images of python").fill("3.9.4")
    expect(rows).to_have_count(2)
    card.get_by_label("Search images of python").fill("nothing like it")

    expect(card.locator(".pager")).to_contain_text("No image is like that.")


def test_digest_is_short_whole_on_focus_and_copied(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    cell = seen.open("python").locator("table.images tbody tr").first.locator("td[data-label=Source]")
    whole = digest("a")

    expect(cell.locator(".digest > span").first).to_have_text(f"{whole[7:15]}…{whole[-4:]}")
    expect(cell.locator(".full")).to_be_hidden()
    cell.locator("button").focus()
    seen.page.keyboard.press("Shift+Tab")
    seen.page.keyboard.press("Tab")
    expect(cell.locator(".full")).to_be_visible()
    expect(cell.locator(".full")).to_have_text(whole)
    seen.page.keyboard.press("Enter")

    expect(seen.page.locator("#toast")).to_have_text("Copied.")
    assert seen.page.evaluate("navigator.clipboard.readText()") == whole


def test_runs_are_drawn_listed_and_told_on_demand(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    card = seen.open("python")

    chart = card.get_by_role("img")
    expect(chart).to_have_attribute(
        "aria-label",
        "How far the targets were behind after each of the last 34 runs; 10 ended behind, the worst by 3 h; 3 failed.",
    )
    runs = card.locator(".runs > li")
    expect(runs).to_have_count(5)
    card.locator(".runs-part > button").click()
    expect(runs).to_have_count(20)
    changed = runs.filter(has_text="4 copied").first
    changed.locator("button").click()

    expect(changed.locator(".run-body")).to_contain_text("by schedule")
    expect(changed.locator(".run-body")).to_contain_text("7 blobs, 412 MiB")
    expect(changed.locator(".changes li").first).to_contain_text("3.13-slim")
