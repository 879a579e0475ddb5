"""Tag lists and the catalog, page by page, with every form of pagination that registries use.

A listing either comes to a proven end (an answer without a continuation) or raises: it never ends early in silence.
Source: distribution-spec v1.1.1 "Listing tags" (end-8); distribution's catalog API.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote as percent
from urllib.parse import urlsplit

from mirrord.errors import (
    AddressRefusedError,
    InvalidReferenceError,
    ListingIncompleteError,
    NotFoundError,
    ProtocolViolationError,
    RegistryError,
    UnsupportedError,
    quote,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag, parse_repository_path
from mirrord.planning.listing import TagEntry, TagPage
from mirrord.registry import scopes
from mirrord.registry.call import Answer, Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import next_link
from mirrord.registry.scopes import Scopes

MAX_PAGES = 1_000
MAX_NAMES = 100_000
MAX_BODY = 32 * 1024 * 1024
_RESTARTS = 3
_ROUND = 1000


class TagHint(NamedTuple):
    """What a page tells of a tag beside its name."""

    digest: Digest | None = None
    created: datetime | None = None


def _no_hints(_page: Mapping[str, object]) -> Mapping[str, TagHint]:
    return {}


async def list_tags(
    http: RegistryHttp,
    path: str,
    page_size: int,
    *,
    hints: Callable[[Mapping[str, object]], Mapping[str, TagHint]] = _no_hints,
    doubts_full_pages: bool = False,
) -> AsyncIterator[TagPage]:
    """Yield a repository's tags, each once.

    Args:
        http: the registry.
        path: the repository.
        page_size: tags to ask for at once.
        hints: reads from a page what it tells of its tags, by their names.
        doubts_full_pages: a page as long as was asked for, or of a round thousand of entries, may be cut although it
            has no continuation: ask for what comes after it.

    Raises:
        NotFoundError: there is no such repository.
        ListingIncompleteError: no proven end: pages that repeat, too many pages or tags, an error on a later page.
    """
    pages = _pages(
        http,
        what=f"list the tags of {http.host}/{path}",
        target=f"/v2/{path}/tags/list",
        page_size=page_size,
        access=scopes.pull(path),
    )
    seen: set[str] = set()
    async for page in pages:
        answer = page.answer
        fields = _json_object(answer, f"the tag list of {http.host}/{path}")
        _check_name(fields.get("name"), http, path)
        names = _names(fields, "tags", f"the tag list of {http.host}/{path}")
        if doubts_full_pages and _may_be_cut(fields, names, page_size):
            page.last = next((name for name in reversed(names) if isinstance(name, str)), None)
        told = hints(fields)
        entries, skipped = [], 0
        for name in names:
            if not isinstance(name, str):
                skipped += 1
                continue
            if name in seen:
                continue
            seen.add(name)
            try:
                hint = told.get(name, TagHint())
                entries.append(TagEntry(tag=Tag.parse(name), digest=hint.digest, created=hint.created))
            except InvalidReferenceError:
                skipped += 1
        if len(seen) > MAX_NAMES:
            raise ListingIncompleteError(
                f"{http.host}/{path} lists more than {MAX_NAMES} tags", code="LISTING_TOO_LARGE", host=http.host
            )
        yield TagPage(entries=tuple(entries), skipped=skipped)


async def list_repositories(http: RegistryHttp, prefix: str, page_size: int) -> AsyncIterator[Repository]:
    """Yield the repositories of a registry's catalog whose path begins with ``prefix``, each once.

    Raises:
        UnsupportedError: the registry has no catalog.
        ListingIncompleteError: as with tags.
    """
    what = f"list the repositories of {http.host}"
    seen: set[str] = set()
    pages = _pages(http, what=what, target="/v2/_catalog", page_size=page_size, access=scopes.CATALOG)
    try:
        async for page in pages:
            for name in _names(_json_object(page.answer, f"the catalog of {http.host}"), "repositories", what):
                if not isinstance(name, str) or name in seen:
                    continue
                seen.add(name)
                if len(seen) > MAX_NAMES:
                    raise ListingIncompleteError(
                        f"{http.host} lists more than {MAX_NAMES} repositories", code="LISTING_TOO_LARGE"
                    )
                try:
                    path = parse_repository_path(name)
                except InvalidReferenceError:
                    continue
                if path.startswith(prefix):
                    yield Repository(http.host, path)
    except NotFoundError as exc:
        raise UnsupportedError(f"{what}: the registry has no catalog", host=http.host, status=exc.status) from exc


@dataclass(slots=True)
class _Page:
    """One answer of a listing. ``last``: whoever read it doubts that it was the end, should it look like it."""

    answer: Answer
    last: str | None = None


@dataclass(slots=True)
class _Walk:
    """Where a paged listing stands. ``proven`` names the page before, for errors."""

    url: str
    pages: int = 0
    restarts: int = 0


async def _pages(http: RegistryHttp, *, what: str, target: str, page_size: int, access: Scopes) -> AsyncIterator[_Page]:
    first = f"{target}?n={page_size}"
    walk = _Walk(first)
    visited: set[str] = set()
    while True:
        answer = await _page(http, walk, what, first, access)
        if walk.url == first and answer.status == 400:  # noqa: PLR2004 - Bad Request: n is too large for it
            answer = await _ask(http, what, target, access)
        if answer.status == 404 and walk.restarts < _RESTARTS:  # noqa: PLR2004 - the page's anchor vanished meanwhile
            walk = _Walk(first, 0, walk.restarts + 1)
            visited.clear()
            continue
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise ListingIncompleteError(
                f"{what}: page {walk.pages + 1} answered with status {answer.status}", host=http.host
            )
        walk.pages += 1
        page = _Page(answer)
        yield page
        following = next_link(answer.headers.get_list("link"), answer.url)
        if following is None and page.last is not None:
            following = f"{first}&last={percent(page.last, safe='')}"
            if following in visited:
                return  # the answer to it was this page
        if following is None:
            return
        if following in visited or walk.pages >= MAX_PAGES:
            reason = "the pages repeat" if following in visited else f"more than {MAX_PAGES} pages"
            raise ListingIncompleteError(f"{what}: {reason}", host=http.host)
        visited.add(following)
        walk.url = following


async def _page(http: RegistryHttp, walk: _Walk, what: str, first: str, access: Scopes) -> Answer:
    """Ask for one page; a continuation whose path is wrong is tried once more on the path that worked."""
    if walk.url == first:
        return await _ask(http, what, first, access, ok=frozenset({200, 400}))
    try:
        answer = await _ask(http, what, walk.url, access, ok=frozenset({200, 400, 404}))
    except RegistryError as exc:
        raise ListingIncompleteError(
            f"{what}: page {walk.pages + 1} failed: {exc.message}",
            host=http.host,
            code=exc.code if isinstance(exc, AddressRefusedError) else None,
        ) from exc
    parts, ours = urlsplit(walk.url), urlsplit(first).path
    if answer.status in (400, 404) and parts.query and parts.path != ours:
        answer = await _ask(http, what, f"{ours}?{parts.query}", access, ok=frozenset({200, 400, 404}))
    return answer


async def _ask(
    http: RegistryHttp, what: str, target: str, access: Scopes, *, ok: frozenset[int] = frozenset({200})
) -> Answer:
    call = Call(
        method="GET",
        target=target,
        what=what,
        scopes=access,
        ok=ok,
        limit=MAX_BODY,
        too_large_code="LISTING_TOO_LARGE",
        headers={"Accept": "application/json"},
    )
    return await http.request(call)


def _may_be_cut(fields: Mapping[str, object], names: list[object], page_size: int) -> bool:
    """Say whether a page looks cut: of as many tags as were asked for, or of as many manifests where it tells them."""
    manifests = fields.get("manifest")
    count = max(len(names), len(manifests) if isinstance(manifests, dict) else 0)
    return count >= page_size or (count > 0 and count % _ROUND == 0)


def _json_object(answer: Answer, what: str) -> dict[str, object]:
    try:
        fields = json.loads(answer.body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        content_type = answer.headers.get("content-type", "nothing")
        raise ProtocolViolationError(
            f"{what} is no JSON object (its type is {quote(content_type, 60)}); it begins with "
            f'"{quote(answer.body[:60], 60)}"',
            code="LISTING_INVALID",
        )
    return fields


def _names(fields: dict[str, object], key: str, what: str) -> list[object]:
    names = fields.get(key)
    if names is None and key in fields:
        return []
    if not isinstance(names, list):
        raise ProtocolViolationError(f'{what}: "{key}" is not a list', code="LISTING_INVALID")
    return names


def _check_name(name: object, http: RegistryHttp, path: str) -> None:
    """Refuse the list of another repository; a proxy may leave out or add leading segments."""
    if not isinstance(name, str) or not name:
        return
    if not (f"/{path}".endswith(f"/{name}") or f"/{name}".endswith(f"/{path}")):
        raise ProtocolViolationError(
            f"{http.host}/{path} was asked for its tags, and those of {quote(name)} came",
            code="LISTING_WRONG_REPOSITORY",
            host=http.host,
        )
