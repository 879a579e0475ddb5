"""The API token: asked for when it is needed, kept in the tab, sent to nobody else."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.fakes.pagescenes import fresh_scene
from tests.integration.page.browsing import OpenPage
from tests.integration.page.server import TOKEN, PageServer


def test_run_is_asked_for_with_the_token(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene(), expected=("401",))
    sync = seen.card("nginx").locator(".act button")

    sync.click()
    expect(seen.page.locator("#token")).to_contain_text("To start a run, the API token is needed")
    expect(seen.page.locator("#token")).to_contain_text("MIRRORD_API_TOKEN_FILE")
    seen.page.fill("#token-value", "wrong")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#token-error")).to_contain_text("not accepted")
    seen.page.fill("#token-value", f" {TOKEN} ")
    seen.page.keyboard.press("Enter")

    expect(seen.page.locator("#toast")).to_have_text("nginx runs as soon as it may.")
    expect(sync).to_have_text("Asked")
    assert seen.server.synced == ["nginx"]
    assert seen.page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
    assert TOKEN not in seen.page.content()

    seen.card("redis").locator(".act button").click()

    expect(seen.page.locator("#toast")).to_have_text("redis runs as soon as it may.")
    expect(seen.page.locator("#token")).to_be_hidden()


def test_wrong_token_that_is_given_up_locks_nothing(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene(), expected=("401",))
    seen.card("nginx").locator(".act button").click()
    seen.page.fill("#token-value", "wrong")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#token-error")).to_be_visible()

    seen.page.reload()  # with the form still open: it is forgotten as soon as it is refused

    expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")
    assert seen.server.synced == []


def test_run_that_cannot_be_asked_for_says_why(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene(), expected=("503",))
    seen.server.is_down = True

    seen.card("nginx").locator(".act button").click()

    expect(seen.page.locator("#toast")).to_have_text("nginx could not be asked to run: the service answered 503")
    expect(seen.card("nginx").locator(".act button")).to_have_text("Sync now")


def test_locked_page_opens_with_the_token(open_page: OpenPage) -> None:
    def lock(server: PageServer) -> None:
        server.reads_need_token = True

    seen = open_page(fresh_scene(), prepare=lock, is_live=False, expected=("401",))

    expect(seen.page.locator("#token")).to_contain_text("This page needs the API token")
    expect(seen.page).to_have_title("mirrord: locked")
    seen.page.keyboard.press("Escape")
    seen.page.get_by_role("button", name="Give the token").click()
    seen.page.fill("#token-value", TOKEN)
    seen.page.keyboard.press("Enter")

    expect(seen.page.locator("h1")).to_have_text("All 7 mirrors are fresh")
    expect(seen.page.locator("#link")).to_have_attribute("data-link", "live")

    seen.page.reload()

    expect(seen.page.locator("h1")).to_have_text("All 7 mirrors are fresh")


UNSET = {
    "code": "API_TOKEN_UNSET",
    "message": "this needs the token of the API, and none is set up",
    "remedy": "set `MIRRORD_API_TOKEN_FILE` to a file that holds one, and start mirrord again",
}


def test_token_that_is_not_set_up_is_not_asked_for(open_page: OpenPage) -> None:
    seen = open_page(fresh_scene(), expected=("403",))
    seen.server.refusal = UNSET

    seen.card("nginx").locator(".act button").click()

    expect(seen.page.locator("#toast")).to_contain_text("none is set up; set `MIRRORD_API_TOKEN_FILE` to a file")
    expect(seen.page.locator("#token")).to_be_hidden()


def test_page_that_is_refused_says_why(open_page: OpenPage) -> None:
    def refuse(server: PageServer) -> None:
        server.refusal = UNSET

    seen = open_page(fresh_scene(), prepare=refuse, is_live=False, expected=("403",))

    expect(seen.page.locator("h1")).to_have_text("The service refuses this page")
    expect(seen.page.locator("#details")).to_contain_text("none is set up; set MIRRORD_API_TOKEN_FILE")
    expect(seen.page.locator("#link-word")).to_have_text("refused")

    seen.server.refusal = None

    expect(seen.page.locator("h1")).to_have_text("All 7 mirrors are fresh")
    expect(seen.page.locator("#details li")).to_have_count(0)
