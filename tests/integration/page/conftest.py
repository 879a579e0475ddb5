"""Fixtures of the tests of the page: a server and a window for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.fakes.pagescenes import Scene
from tests.integration.conftest import BROWSER_WAIT_MS
from tests.integration.page.browsing import OpenPage, Seen, watch
from tests.integration.page.server import Prepare, serve_page


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
            context.set_default_timeout(BROWSER_WAIT_MS)
            seen = Seen(page=context.new_page(), server=server)
            watch(seen.page, server.address, seen.complaints, expected)
            opened.append(seen)
            seen.page.goto(server.address + path)
            if is_live:
                expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
            return seen

        yield open_one

        for seen in opened:
            assert seen.complaints == []
