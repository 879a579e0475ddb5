"""JSON of APIs beside the distribution API: single answers, pages, and what is made of answers that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mirrord.errors import (
    AddressRefusedError,
    DeniedError,
    ListingIncompleteError,
    MirrordError,
    NotFoundError,
    ProtocolViolationError,
    UnavailableError,
)
from mirrord.registry.call import Answer
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.pages import MAX_BODY, entries_of, get_json, json_pages
from tests.fakes.clients import open_client
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

API = "https://api.test"
WHAT = "ask the API"


@asynccontextmanager
async def api(routes: Routes, value: str | None = "Bearer of-the-api") -> AsyncIterator[RegistryHttp]:
    async def authorization() -> str | None:
        return value

    async with open_client("registry.test", transport=routes.everywhere()) as client:
        yield client.gateway.handle("registry.test").service.api.open(API, authorization)


def following(answer: Answer, page: object) -> str | None:
    """Return what the page names as the next one; the answer is that of the page."""
    assert answer.status == 200
    found = page.get("next") if isinstance(page, dict) else None
    return found if isinstance(found, str) else None


async def pages_of(routes: Routes, *, most: int = 5, first: str = "/list?page=1") -> list[object]:
    async with api(routes) as http:
        return [page async for page in json_pages(http, first, WHAT, following, most=most)]


# --- single answers


async def test_answer_is_asked_for_with_the_apis_authorization_and_further_headers() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, json={"a": 1})
    async with api(routes) as http:
        assert await get_json(http, "/thing", WHAT, {"X-Version": "1"}) == {"a": 1}

    (request,) = routes.asked
    sent = {name: request.headers.get(name) for name in ("authorization", "accept", "x-version")}
    assert sent == {"authorization": "Bearer of-the-api", "accept": "application/json", "x-version": "1"}


async def test_api_without_authorization_is_asked_for_without() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, content=b"null")
    async with api(routes, None) as http:
        assert await get_json(http, "/thing", WHAT) is None

    assert "authorization" not in routes.asked[0].headers


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"a":', b"\xff\xfe", b"[" * 200_000],
    ids=["empty", "html", "cut off", "other encoding", "nested too deep"],
)
async def test_answer_that_is_no_json_is_told_as_that(body: bytes) -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, content=body)
    async with api(routes) as http:
        with pytest.raises(ProtocolViolationError, match="ask the API: the answer is no JSON") as caught:
            await get_json(http, "/thing", WHAT)

    assert caught.value.code == "API_ANSWER_INVALID"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("status", "error"), [(403, DeniedError), (404, NotFoundError), (500, UnavailableError)], ids=str
)
async def test_refusal_is_the_error_that_its_status_stands_for(status: int, error: type[MirrordError]) -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(status)
    async with api(routes) as http:
        with pytest.raises(error, match="ask the API"):
            await get_json(http, "/thing", WHAT)


async def test_answer_that_is_too_long_is_refused() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(200, content=b" " * (MAX_BODY + 1))
    async with api(routes) as http:
        with pytest.raises(ProtocolViolationError, match="LISTING_TOO_LARGE"):
            await get_json(http, "/thing", WHAT)


async def test_redirect_is_not_followed() -> None:
    routes = Routes()
    routes.get(f"{API}/thing").respond(302, headers={"Location": f"{API}/other"})
    async with api(routes) as http:
        with pytest.raises(MirrordError):
            await get_json(http, "/thing", WHAT)

    assert routes.targets() == [f"GET {API}/thing"]


# --- pages


async def test_pages_are_followed_to_the_one_that_names_no_other() -> None:
    routes = Routes()
    routes.get(f"{API}/list?page=1").respond(200, json={"next": "/list?page=2"})
    routes.get(f"{API}/list?page=2").respond(200, json={"next": f"{API}/list?page=3"})
    routes.get(f"{API}/list?page=3").respond(200, json={"next": None})

    assert len(await pages_of(routes)) == 3
    assert [target.rpartition("=")[2] for target in routes.targets()] == ["1", "2", "3"]


@pytest.mark.parametrize("back", ["/list?page=1", "/list?page=2"])
async def test_pages_that_repeat_are_no_listing(back: str) -> None:
    routes = Routes()
    routes.get(f"{API}/list?page=1").respond(200, json={"next": "/list?page=2"})
    routes.get(f"{API}/list?page=2").respond(200, json={"next": back})

    with pytest.raises(ListingIncompleteError, match="ask the API: the pages repeat"):
        await pages_of(routes)

    assert len(routes.asked) == 2


async def test_pages_without_an_end_are_given_up() -> None:
    routes = Routes()
    for number in range(1, 9):
        routes.get(f"{API}/list?page={number}").respond(200, json={"next": f"/list?page={number + 1}"})

    with pytest.raises(ListingIncompleteError, match="more than 5 pages"):
        await pages_of(routes)

    assert len(routes.asked) == 5


@pytest.mark.parametrize(
    "elsewhere",
    ["https://other.test/list", "http://api.test/list", "https://api.test:8443/list", "//other.test/list"],
)
async def test_pages_elsewhere_are_refused_and_get_no_authorization(elsewhere: str) -> None:
    routes = Routes()
    routes.get(f"{API}/list?page=1").respond(200, json={"next": elsewhere})
    routes.get(host="api.test").respond(404)

    with pytest.raises(MirrordError):
        await pages_of(routes)

    assert {request.url.host for request in routes.asked} == {"api.test"}
    assert {request.url.scheme for request in routes.asked} == {"https"}
    assert {request.url.port for request in routes.asked} == {None}


async def test_page_on_another_origin_is_named_as_what_it_is() -> None:
    routes = Routes()
    routes.get(f"{API}/list?page=1").respond(200, json={"next": "https://other.test/list"})

    with pytest.raises(AddressRefusedError):
        await pages_of(routes)


async def test_page_that_fails_ends_the_listing() -> None:
    routes = Routes()
    routes.get(f"{API}/list?page=1").respond(200, json={"next": "/list?page=2"})
    routes.get(f"{API}/list?page=2").respond(403)

    with pytest.raises(DeniedError):
        await pages_of(routes)


# --- entries


def test_entries_are_the_objects_of_a_list() -> None:
    page = {"tags": [{"a": 1}, None, "b", ["c"], {"d": 2}]}

    assert entries_of(page, "tags", WHAT) == [{"a": 1}, {"d": 2}]


@pytest.mark.parametrize("page", [None, [], "x", 3, {}, {"tags": None}, {"tags": {}}, {"other": []}], ids=repr)
def test_page_without_the_list_is_told_as_that(page: object) -> None:
    with pytest.raises(ProtocolViolationError, match=r'API_ANSWER_INVALID.*has no list "tags"'):
        entries_of(page, "tags", WHAT)
