"""Listings with digests have an end, whatever their API does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from trio.testing import MockClock

from mirrord.oci.reference import Tag
from mirrord.planning.listing import ListingTraits, TagEntry, TagPage
from mirrord.registry.bulk import DEADLINE_S
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.service import Api, RegistryService
from tests.fakes.clients import REPOSITORY, open_client
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Slow(RegistryService):
    """Its API tells nothing for an hour; its plain listing tells one tag."""

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        await anyio.sleep(3600)
        yield TagPage(entries=())

    async def list_tags(self, path: str) -> AsyncIterator[TagPage]:
        yield TagPage(entries=(TagEntry(tag=Tag("1.0")),))


class SlowProvider(Provider):
    listing = ListingTraits(has_digests=True)

    def matches(self, host: str) -> bool:
        return True

    def service(self, api: Api) -> RegistryService:
        return Slow(api)


async def test_api_that_is_slower_than_its_hint_is_worth_is_given_up() -> None:
    """The tags are listed plainly then."""
    async with open_client("registry.test", transport=Routes().everywhere(), providers=(SlowProvider(),)) as client:
        before = anyio.current_time()
        pages = [page async for page in client.reader(REPOSITORY).bulk_tags()]

    assert [entry.tag.name for page in pages for entry in page.entries] == ["1.0"]
    assert anyio.current_time() - before == pytest.approx(DEADLINE_S)
    assert client.events.notes() == ["bulk_refused"]
