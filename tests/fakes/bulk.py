"""A made-up kind of registry that tells the digests of many tags at once, by an API of its own.

    async with Internet() as internet:
        registry = await internet.join(BULK, bulk_names("bulk.test"))
        async with internet.client("bulk.test", providers=(BulkProvider(),), credential=...) as client:
            ...

Its API answers ``GET /tags/PATH?page=N`` with ``{"tags": [{"name": ..., "digest": ...}], "next": ...}``. A test may set
the attributes of ``tag_api(registry)`` to make it refuse, lag or lie.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.errors import InvalidDigestError, InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import ListingTraits, TagEntry, TagPage
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.pages import entries_of, json_pages
from mirrord.registry.providers.service import Api, RegistryService
from tests.fakes.api import EmulatedApi
from tests.fakes.profiles import Auth, Names, Profile
from tests.fakes.registry import FakeRegistry

API_TOKEN = "Bearer of-the-api"


class TagApi(EmulatedApi):
    """Tells tags with digests, the truth unless the test says otherwise.

    ``refusal`` is the answer to everything; ``told`` is what it tells of a repository instead of the truth, as rows of
    name and digest; ``repeats`` makes it lead back to its first page; ``page_size`` is its own.
    """

    prefixes: ClassVar[tuple[str, ...]] = ("/tags/",)

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.page_size = 100
        self.refusal: Answer | None = None
        self.told: dict[str, list[tuple[object, object]]] = {}
        self.repeats = False

    async def answer(self, request: Request) -> Answer:
        if self.refusal is not None:
            return self.refusal
        path = request.path.removeprefix("/tags/")
        if not self.store.knows(path) and path not in self.told:
            return json_answer({"message": "no such repository"}, status=404)
        rows = self.told.get(path)
        if rows is None:
            rows = [(tag, str(digest)) for tag, digest in sorted(self.store.tags(path).items())]
        number = int(request.query("page") or "1")
        page = rows[(number - 1) * self.page_size : number * self.page_size]
        more = number * self.page_size < len(rows)
        following = f"/tags/{path}?page={1 if self.repeats else number + 1}" if more else None
        return json_answer({"tags": [{"name": name, "digest": digest} for name, digest in page], "next": following})


class BulkService(RegistryService):
    """Asks the API."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._api_client: RegistryHttp | None = None

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the API's pages; rows without a usable name are left out, digests that are none are unknown."""
        what = f"list the digests of {path}"
        self._api_client = self._api_client or self.api.open(f"https://api.{self.api.host}", _authorization)
        pages = json_pages(self._api_client, f"/tags/{path}?page=1", what, lambda _answer, page: _following(page))
        async for page in pages:
            rows = [_entry(row) for row in entries_of(page, "tags", what)]
            yield TagPage(entries=tuple(entry for entry in rows if entry is not None), skipped=rows.count(None))


class BulkProvider(Provider):
    """Registries whose names begin with ``bulk``; their pages are of ``page_size`` tags."""

    name = "bulk"

    def __init__(self, page_size: int = 100) -> None:
        self.listing = ListingTraits(page_size=page_size, has_digests=True)

    def matches(self, host: str) -> bool:
        return host.startswith("bulk")

    def auth_hosts(self, host: str) -> tuple[str, ...]:
        return (f"tokens.{host}",)

    def service(self, api: Api) -> RegistryService:
        return BulkService(api)


BULK = Profile(name="bulk", auth=Auth(scheme="bearer"), api=TagApi)


def bulk_names(host: str) -> Names:
    """Return the names of such a registry, with its token service and API."""
    return Names(registry=host, tokens=f"tokens.{host}", api=f"api.{host}")


def tag_api(registry: FakeRegistry) -> TagApi:
    """Return the API of such a registry."""
    assert isinstance(registry.api, TagApi)
    return registry.api


async def _authorization() -> str | None:
    return API_TOKEN


def _following(page: object) -> str | None:
    following = page.get("next") if isinstance(page, dict) else None
    return following if isinstance(following, str) else None


def _entry(row: dict[str, object]) -> TagEntry | None:
    try:
        tag = Tag.parse(str(row.get("name")))
    except InvalidReferenceError:
        return None
    try:
        digest = Digest.parse(str(row.get("digest")))
    except InvalidDigestError:
        digest = None
    return TagEntry(tag=tag, digest=digest)
