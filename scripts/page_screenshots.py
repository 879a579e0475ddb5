"""Take pictures of the status page in the scenes of `tests/fakes/pagescenes.py`, with the chromium of the system.

    .venv/bin/python scripts/page_screenshots.py DIRECTORY [--readme | SCENE ...]

Writes SCENE-SCHEME-WIDTH.png of the whole page. With `--readme`, writes light.png, dark.png and narrow.png instead: the
top of the page, as the README shows it.
"""

# ruff: noqa: INP001 - a script, part of no package

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.pagescenes import SCENES  # noqa: E402 - found by the path above
from tests.integration.page.server import serve_page  # noqa: E402 - the same

CHROMIUM = "/usr/bin/chromium"
WIDTHS = (360, 768, 1280, 2560)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
OPENED = {"behind": ("python", "team-images"), "failed": ("base-images",), "hostile": ("evil",)}
README: tuple[tuple[str, Literal["light", "dark"], int, int], ...] = (
    ("light", "light", 1280, 960),
    ("dark", "dark", 1280, 960),
    ("narrow", "light", 360, 860),
)
TALLEST = 6000
FIRST_HEIGHT = 900


def main(directory: Path, scenes: Sequence[str]) -> None:
    """Write the pictures of these scenes."""
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        if scenes == ["--readme"]:
            with serve_page(SCENES["behind"]()) as server:
                for name, scheme, width, height in README:
                    opened = ("python",) if width > WIDTHS[0] else ()
                    file = directory / f"{name}.png"
                    take(browser, server.address, file, width=width, scheme=scheme, opened=opened, height=height)
            scenes = ()
        for name in scenes:
            with serve_page(SCENES[name]()) as server:
                for scheme in SCHEMES:
                    for width in WIDTHS:
                        file = directory / f"{name}-{scheme}-{width}.png"
                        take(browser, server.address, file, width=width, scheme=scheme, opened=OPENED.get(name, ()))
        browser.close()


def take(
    browser: Browser,
    address: str,
    file: Path,
    *,
    width: int,
    scheme: Literal["light", "dark"],
    opened: tuple[str, ...] = (),
    height: int | None = None,
) -> None:
    """Write one picture: the page at a width, with rules opened; of its top alone if there is a height."""
    context = browser.new_context(
        viewport={"width": width, "height": FIRST_HEIGHT},
        color_scheme=scheme,
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address)
    page.locator("#link:is([data-link=live], [data-link=locked])").wait_for()
    for name in opened:
        page.locator("article h3 button", has_text=name).first.click()
    settle(page)
    # A window as tall as the page: beyond its edge cards are not drawn.
    tall = height or min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": width, "height": tall})
    page.mouse.move(0, 0)
    settle(page)
    page.screenshot(path=file)
    context.close()


def settle(page: Page) -> None:
    """Wait until the page has what it asked for, and has drawn it."""
    page.evaluate("document.activeElement.matches('input') || document.activeElement.blur(); scrollTo(0, 0)")
    page.wait_for_load_state("load")
    page.wait_for_timeout(400)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(SCENES))
