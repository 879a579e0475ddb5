"""Take pictures of the status page in every scene of `tests/fakes/pagedata.py`, with the chromium of the system.

    .venv/bin/python scripts/page_screenshots.py DIRECTORY [SCENE ...]

Writes SCENE-SCHEME-WIDTH.png, with the first rule opened where that tells more.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.pagedata import SCENES  # noqa: E402
from tests.integration.pageserver import serve_page  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
SIZES = ((360, 780), (1280, 900), (2560, 1300))
OPENED = {"behind": ("python", "team-images"), "failed": ("base-images",), "hostile": ("evil\u202egnp.exe",)}


def main(directory: Path, scenes: list[str]) -> None:
    """Write the pictures of these scenes, or of all."""
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name in scenes or SCENES:
            with serve_page(SCENES[name]()) as server:
                for scheme in ("light", "dark"):
                    for width, height in SIZES:
                        context = browser.new_context(
                            viewport={"width": width, "height": height},
                            color_scheme=scheme,  # type: ignore[arg-type] # one of two words
                            timezone_id="Europe/Berlin",
                            reduced_motion="reduce",
                        )
                        page = context.new_page()
                        page.goto(server.address)
                        settle(page, OPENED.get(name, ()))
                        page.screenshot(path=directory / f"{name}-{scheme}-{width}.png", full_page=name != "many")
                        context.close()
        browser.close()


def settle(page: Page, opened: tuple[str, ...]) -> None:
    """Wait until the page is live, open rules, and wait for what they show."""
    page.locator("#link[data-link=live]").wait_for()
    for name in opened:
        page.locator("article", has_text=name.split("\u202e")[0]).locator("h3 button").first.click()
    page.wait_for_load_state("load")
    page.wait_for_timeout(400)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
