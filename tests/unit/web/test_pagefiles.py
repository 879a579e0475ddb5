"""The files of the page as they are served, and what none of them may hold."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from importlib.resources import files

import httpx
import pytest
from starlette.applications import Starlette

from mirrord.web.pagefiles import CONTENT_SECURITY_POLICY, INDEX, PageFile, load_page_files, page_routes

MOST_LINES = 400
MOST_BYTES = 160 * 1024
PAGE = load_page_files()
SCRIPTS = {name: file.content.decode() for name, file in PAGE.items() if name.endswith(".js")}
STYLES = {name: file.content.decode() for name, file in PAGE.items() if name.endswith(".css")}
MARKUP = PAGE[INDEX].content.decode()

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=page_routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://mirrord.test") as made:
        yield made


@pytest.mark.parametrize("name", sorted(PAGE))
async def test_file_is_served_whole_with_its_type_and_the_policy(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get("/" if name == INDEX else f"/static/{name}")

    assert answer.status_code == 200
    assert answer.content == PAGE[name].content
    assert answer.headers["content-type"] == PAGE[name].content_type
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_policy_begins_with_nothing_and_allows_nothing_inline() -> None:
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert not re.search(r"https?:|\*|data:|blob:", CONTENT_SECURITY_POLICY)
    for directive in ("base-uri", "form-action", "frame-ancestors"):
        assert f"{directive} 'none'" in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', "*"], ids=["same", "weak", "one-of", "any"])
async def test_file_that_is_known_is_not_sent_again(client: httpx.AsyncClient, condition: str) -> None:
    etag = PAGE["main.js"].etag

    answer = await client.get("/static/main.js", headers={"If-None-Match": condition.format(etag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


async def test_file_that_changed_is_sent_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/main.js", headers={"If-None-Match": '"of-another-version"'})

    assert answer.status_code == 200


async def test_head_tells_all_but_the_content(client: httpx.AsyncClient) -> None:
    answer = await client.head("/static/main.js")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(PAGE["main.js"].content))


async def test_ranges_are_not_served(client: httpx.AsyncClient) -> None:
    answer = await client.get("/static/main.js", headers={"Range": "bytes=0-9"})

    assert answer.status_code == 200
    assert answer.content == PAGE["main.js"].content


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/index.html",
        "/static/nothing.js",
        "/static/../pagefiles.py",
        "/static/..%2fpagefiles.py",
        "/static/%2e%2e%2fpagefiles.py",
        "/static//etc/passwd",
        "/static/main.js%00",
        "/index.html",
    ],
)
async def test_name_that_is_not_known_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_page_is_only_read(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/")

    assert answer.status_code == 405


async def test_files_are_given_as_they_were_when_the_service_began() -> None:
    """A file that is changed later, or a disk that is gone, changes nothing."""
    page: Mapping[str, PageFile] = {
        INDEX: PageFile(name=INDEX, content=b"<!doctype html>", content_type="text/html", etag='"1"')
    }
    app = Starlette(routes=page_routes(page))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://mirrord.test") as client:
        answer = await client.get("/")

    assert answer.text == "<!doctype html>"


def test_every_file_of_the_package_is_on_the_list() -> None:
    there = {entry.name for entry in files("mirrord.web").joinpath("page").iterdir() if not entry.name.startswith("_")}

    assert there == set(PAGE)


def test_page_names_every_file_and_no_other() -> None:
    """A module that is not preloaded costs a round trip; a file that nobody names is dead."""
    named = set(re.findall(r"static/([\w.-]+)", MARKUP + "".join(SCRIPTS.values())))
    icons = {name for name in PAGE if name.startswith("icon-")}

    assert set(PAGE) - named - icons - {INDEX} == set()
    assert {name for name in named if "." in name and "$" not in name} - {"icon-"} <= set(PAGE)
    assert set(re.findall(r'from "\./([\w.]+)"', "".join(SCRIPTS.values()))) <= set(SCRIPTS)


def test_nothing_stands_inline_in_the_page() -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)", MARKUP) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", MARKUP) == []


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_script_makes_no_markup_and_no_code_of_text(name: str) -> None:
    dangerous = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|"
        r"createContextualFragment|DOMParser|setHTML|localStorage|document\.cookie"
    )

    assert re.findall(dangerous, SCRIPTS[name]) == []


@pytest.mark.parametrize("name", sorted({**SCRIPTS, **STYLES, INDEX: MARKUP}))
def test_file_asks_no_other_place_for_anything(name: str) -> None:
    text = {**SCRIPTS, **STYLES, INDEX: MARKUP}[name]
    known = {"http://www.w3.org/2000/svg", "https://html.spec.whatwg.org/multipage/server-sent-events.html"}

    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) - known == set()
    assert "@import" not in text


@pytest.mark.parametrize("name", sorted(PAGE))
def test_file_is_of_a_size_to_read(name: str) -> None:
    assert PAGE[name].content.count(b"\n") <= MOST_LINES


def test_page_is_light() -> None:
    assert sum(len(file.content) for file in PAGE.values()) < MOST_BYTES
