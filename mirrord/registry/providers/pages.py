"""JSON of APIs beside the distribution API: one answer, or pages up to their proven end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping

from mirrord.errors import ListingIncompleteError, ProtocolViolationError, quote
from mirrord.registry.call import Answer, Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.scopes import NO_SCOPE, Scopes

MAX_PAGES = 1000
"""Most APIs give 100 entries at a time: that makes as many tags as a plain listing may have."""

MAX_BODY = 16 * 1024 * 1024


async def get_json(http: RegistryHttp, target: str, what: str, headers: Mapping[str, str] | None = None) -> object:
    """Return the JSON of a GET.

    Args:
        http: a client of the API.
        target: path and query, or a URL of the same origin.
        what: what is tried, in words that begin an error's message.
        headers: further headers.

    Raises:
        ProtocolViolationError: the answer is no JSON.
        RegistryError: the API refused, or could not be asked.
    """
    return read_json(await _ask(http, target, what, headers), what)


async def json_pages(
    http: RegistryHttp,
    first: str,
    what: str,
    following: Callable[[Answer, object], str | None],
    *,
    headers: Mapping[str, str] | None = None,
    most: int = MAX_PAGES,
    access: Scopes = NO_SCOPE,
) -> AsyncIterator[object]:
    """Yield the JSON of each page, from ``first`` on.

    Args:
        http: a client of the API.
        first: path and query of the first page.
        what: what is tried, in words that begin an error's message.
        following: returns path or URL of the page after an answer and its JSON, None after the last one. A URL of
            another origin is refused when it is asked for.
        headers: further headers of each request.
        most: pages after which the listing is given up.
        access: what it needs, where ``http`` is the registry's own client.

    Raises:
        ListingIncompleteError: a page came twice, or there are more than ``most``.
        RegistryError: as with `get_json`.
    """
    visited: set[str] = set()
    target: str | None = first
    while target is not None:
        if target in visited or len(visited) >= most:
            reason = "the pages repeat" if target in visited else f"more than {most} pages"
            raise ListingIncompleteError(f"{what}: {reason}", host=http.host)
        visited.add(target)
        answer = await _ask(http, target, what, headers, access)
        page = read_json(answer, what)
        yield page
        target = following(answer, page)


def read_json(answer: Answer, what: str) -> object:
    """Return the JSON of an answer.

    Raises:
        ProtocolViolationError: it is none (API_ANSWER_INVALID).
    """
    try:
        found: object = json.loads(answer.body)
    except (ValueError, RecursionError) as exc:
        raise ProtocolViolationError(
            f'{what}: the answer is no JSON; it begins with "{quote(answer.body[:60], 60)}"', code="API_ANSWER_INVALID"
        ) from exc
    return found


def entries_of(page: object, key: str, what: str) -> list[dict[str, object]]:
    """Return the objects in the list under ``key`` of a page; what is no object is passed over.

    Raises:
        ProtocolViolationError: the page is no object, or has no such list (API_ANSWER_INVALID).
    """
    found = page.get(key) if isinstance(page, dict) else None
    if not isinstance(found, list):
        raise ProtocolViolationError(f'{what}: the answer has no list "{key}"', code="API_ANSWER_INVALID")
    return [entry for entry in found if isinstance(entry, dict)]


def items_of(page: object, what: str) -> list[dict[str, object]]:
    """Return the objects of a page that is a list itself; what is no object is passed over.

    Raises:
        ProtocolViolationError: the page is no list (API_ANSWER_INVALID).
    """
    if not isinstance(page, list):
        raise ProtocolViolationError(f"{what}: the answer is no list", code="API_ANSWER_INVALID")
    return [entry for entry in page if isinstance(entry, dict)]


async def _ask(
    http: RegistryHttp, target: str, what: str, headers: Mapping[str, str] | None, access: Scopes = NO_SCOPE
) -> Answer:
    call = Call(
        method="GET",
        target=target,
        what=what,
        scopes=access,
        headers={"Accept": "application/json", **(headers or {})},
        limit=MAX_BODY,
        too_large_code="LISTING_TOO_LARGE",
        follow=False,
    )
    return await http.request(call)
