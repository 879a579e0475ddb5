"""What a registry or a file may name things, and what the page makes of it: text."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.fakes.pagescenes import HOSTILE, SCENES, fresh_scene
from tests.integration.page.browsing import OpenPage


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(open_page: OpenPage, text: str) -> None:
    seen = open_page(SCENES["hostile"]())
    shown = text.replace("\u202e", "\\u202e")
    card = seen.open(shown)
    expect(card.locator("table.images tbody tr")).to_have_count(1)

    body = seen.page.locator("body").inner_text()

    assert "\u202e" not in body
    assert shown in body
    assert "49" not in card.locator("h3").inner_text()
    assert (
        seen.page.evaluate(
            "document.querySelectorAll('main script, main img, main [onerror], main [style*=javascript]').length"
        )
        == 0
    )
    assert seen.page.evaluate("document.querySelectorAll('main a[href^=\"javascript:\"]').length") == 0


def test_policy_keeps_text_from_becoming_markup(open_page: OpenPage) -> None:
    """Proves that the policy bites: a slip in a script of the page would end in an error, not in markup."""
    seen = open_page(fresh_scene(), expected=("TrustedHTML", "Content Security Policy", "requires"))

    outcome = seen.page.evaluate(
        "() => { try { document.createElement('div').innerHTML = '<b>x</b>'; return 'made'; }"
        " catch (error) { return error.name; } }"
    )

    assert outcome == "TypeError"


def test_page_works_under_a_path_of_a_proxy(open_page: OpenPage) -> None:
    """Every address in the files is relative."""
    seen = open_page(fresh_scene())

    addresses = seen.page.evaluate(
        "[...document.querySelectorAll('[href], [src]')]"
        ".map((one) => one.getAttribute('href') ?? one.getAttribute('src'))"
    )

    assert [address for address in addresses if address.startswith("/") or ":" in address] == []
