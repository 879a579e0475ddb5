"""Fixtures of the tests of the page: one browser for a module, a server and a window for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.fakes.pagescenes import Scene
from tests.integration.page.browsing import WAIT_MS, OpenPage, Seen, watched
from tests.integration.page.server import Prepare, serve_page
from tests.integration.processes import find_tool

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@pytest.fixture(scope="module")
def browser(require_tool: Callable[..., None]) -> Iterator[Browser]:
    """Debian's chromium, without a window. Of a module and no longer: while it lives, no other event loop can run."""
    require_tool("chromium")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find_tool("chromium"), args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open the page on a scene; at the end it must not have complained, nor have asked another origin for anything."""
    opened: list[Seen] = []
    with ExitStack() as running:

        def open_one(
            scene: Scene,
            *,
            width: int = 1280,
            scheme: Literal["light", "dark"] = "light",
            path: str = "/",
            prepare: Prepare | None = None,
            is_live: bool = True,
            expected: tuple[str, ...] = (),
        ) -> Seen:
            server = running.enter_context(serve_page(scene))
            if prepare is not None:
                prepare(server)
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id="Europe/Berlin"
            )
            running.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            seen = watched(context, server, expected)
            opened.append(seen)
            seen.page.goto(server.address + path)
            if is_live:
                expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
            return seen

        yield open_one

        for seen in opened:
            assert seen.complaints == []
