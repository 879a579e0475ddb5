"""The page for everyone: by keyboard, by ear, in the dark, on paper."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.fakes.pagescenes import SCENES, fresh_scene
from tests.integration.page.browsing import OpenPage

LEAST_CONTRAST = 4.5


def test_rule_opens_and_closes_by_keyboard(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    button = seen.page.get_by_role("button", name="python", exact=True)
    for _ in range(40):
        seen.page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break

    seen.page.keyboard.press("Enter")

    expect(button).to_have_attribute("aria-expanded", "true")
    region = seen.page.get_by_role("region", name="Details of python")
    expect(region).to_be_visible()
    assert region.get_attribute("id") == button.get_attribute("aria-controls")
    assert seen.page.evaluate("location.hash") == "#rule=python"
    seen.page.keyboard.press("Space")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(region).to_be_hidden()


def test_first_tab_stop_skips_to_the_rules(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())

    seen.page.keyboard.press("Tab")

    expect(seen.page.locator(".skip")).to_be_focused()
    assert seen.page.locator(".skip").evaluate("element => getComputedStyle(element).clipPath") == "none"


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const parse = (color) => known.get(color) ?? known.set(color, measure(color)).get(color);
  const measure = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { r, g, b, a: a / 255 };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a),
    g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a),
    a: 1,
  });
  const light = ({ r, g, b }) => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  };
  const back = (element) => {
    if (element === null) return { r: 255, g: 255, b: 255, a: 1 };
    const color = parse(getComputedStyle(element).backgroundColor);
    return color.a === 1 ? color : over(color, back(element.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim()) continue;
    if (element.closest(".unseen, .skip, noscript, dialog:not([open]), svg")) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const behind = back(element);
    const [a, b] = [light(over(parse(style.color), behind)), light(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, element.className, walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["behind", "failed", "refused"])
def test_text_stands_out_from_its_ground(open_page: OpenPage, name: str, scheme: Literal["light", "dark"]) -> None:
    seen = open_page(SCENES[name](), scheme=scheme)
    for button in seen.page.locator("article.rule h3 button").all()[:3]:
        button.click()
    expect(seen.page.locator(".runs > li").first).to_be_visible()

    measured = seen.page.evaluate(CONTRASTS)

    assert len(measured) > 100
    assert [found for found in measured if found[0] < LEAST_CONTRAST] == []


def test_dark_scheme_is_dark_and_light_is_light(open_page: OpenPage) -> None:
    def ground(scheme: Literal["light", "dark"]) -> int:
        seen = open_page(fresh_scene(), scheme=scheme)
        color = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)))

    assert ground("dark") < 100
    assert ground("light") > 650


def test_every_control_has_a_name(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())
    seen.open("python")
    expect(seen.page.locator("table.images tbody tr")).to_have_count(8)

    tree = seen.page.locator("body").aria_snapshot()

    assert not re.search(
        r"^\s*- (button|link|textbox|searchbox|combobox|img|region)(?: \[.*)?:?$", tree, re.MULTILINE
    ), tree


def test_page_prints_all_rules_without_controls(open_page: OpenPage) -> None:
    seen = open_page(SCENES["behind"]())

    seen.page.emulate_media(media="print")

    expect(seen.page.locator(".act").first).to_be_hidden()
    expect(seen.page.locator("#search")).to_be_hidden()
    expect(seen.card("tools")).to_be_visible()
