"""The traps of zot, over an emulated one with TLS and a password; the server's records are what counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mirrord.errors import ListingIncompleteError, UnauthorizedError, UnsupportedError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.listing import ListingTraits
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.base import Abilities, Limits, Provider
from mirrord.registry.providers.zot import ZotProvider
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Around, Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.zot import LIMITED, NAMES_ZOT, ZOT
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in, mirror
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

HOST = "zot.test"
PATH = "team/app"
IMAGE = make_image("one")
INDEX = make_index("app", platforms=("linux/amd64", "linux/arm64"))
TAG = Tag("1.0")
CONTENT = bytes(range(256)) * 100
BLOB = blob_of(CONTENT)
NAMES = [f"v{number:02}" for number in range(30)]


class Small(ZotProvider):
    """zot with small pages, uploaded to in chunks."""

    abilities = Abilities(chunked_only=True)
    limits = Limits(chunk_size=10_000)
    listing = ListingTraits(page_size=10)


@asynccontextmanager
async def zot(
    profile: Profile = ZOT, *, provider: type[Provider] = ZotProvider, credential: Credential | None = None
) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_ZOT)
        settings = RegistrySettings(host=HOST, provider="zot")
        async with internet.client(
            HOST, credential=credential or credential_of(registry), settings=settings, providers=(provider(),)
        ) as client:
            yield registry, client


def put_names(registry: FakeRegistry) -> None:
    put(registry, PATH, IMAGE, *NAMES)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-19-zot")])
async def test_single_error_object_is_read_as_an_error(trap: str) -> None:
    async with zot(credential=Credential(username="robot", secret="wrong")) as (registry, client):
        with pytest.raises(UnauthorizedError, match="authentication required") as caught:
            await client.tags(PATH)

    assert "UNAUTHORIZED" in caught.value.error_codes
    tried = [record for record in registry.traffic.records if record.header("Authorization")]
    assert [(record.kind, record.status) for record in tried] == [("ping", 401)], "failed log-ins are slowed down there"


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-23-zot")])
async def test_raw_links_are_followed_to_the_end(trap: str) -> None:
    async with zot(provider=Small) as (registry, client):
        put_names(registry)
        assert sorted(await client.tags(PATH)) == NAMES

    assert [record.target.decode() for record in registry.traffic.of("tags/list")] == [
        f"/v2/{PATH}/tags/list?n=10",
        f"/v2/{PATH}/tags/list?n=10&last=v09",
        f"/v2/{PATH}/tags/list?n=10&last=v19",
    ]


@pytest.mark.parametrize("lasting", [False, True], ids=["trap-25-zot", "trap-25-zot-for-ever"])
async def test_anchor_that_vanishes_begins_the_listing_anew_within_bounds(lasting: bool) -> None:
    async with zot(provider=Small) as (registry, client):
        put_names(registry)
        if lasting:
            gone = Respond(404)
            registry.fault(gone, kind="tags/list", times=None, where=lambda record: b"last=" in record.target)
            with pytest.raises(ListingIncompleteError):
                await client.tags(PATH)
        else:
            vanish = Around(before=lambda: registry.store.untag(PATH, "v09"))
            registry.fault(vanish, kind="tags/list", nth=2)
            found = await client.tags(PATH)
            assert set(NAMES) - set(found) <= {"v09"}
            assert len(found) == len(set(found))

    statuses = [record.status for record in registry.traffic.of("tags/list")]
    assert 404 in statuses
    assert len(statuses) <= 12


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-27-zot")])
async def test_429_in_plain_text_without_a_hint_is_waited_out(trap: str) -> None:
    async with zot(replace(ZOT, rate=LIMITED)) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).manifest(IMAGE.digest)
        registry.fault(Around(before=lambda: registry.clock.advance(2)), kind="manifest GET", nth=2)
        found = await client.reader(PATH).manifest(IMAGE.digest)

    assert found.raw == IMAGE.raw
    assert [record.status for record in registry.traffic.of("manifest GET")] == [200, 429, 200]
    assert sum(client.slept) >= 1, "however little it says, it is left alone for a moment"


@pytest.mark.parametrize("provider", [ZotProvider, Small], ids=["trap-29-zot", "trap-29-zot-chunks"])
async def test_relative_location_is_resolved_against_the_registry(provider: type[Provider]) -> None:
    async with zot(provider=provider) as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    [closing] = registry.traffic.of("upload PUT")
    assert closing.target.decode().endswith(f"digest={BLOB.digest}")
    assert closing.header("Authorization") is not None


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-31-zot")])
async def test_range_that_is_too_small_makes_nothing_go_twice(trap: str) -> None:
    async with zot(provider=Small) as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert [record.header("Content-Range") for record in registry.traffic.of("upload PATCH")] == [
        "0-9999",
        "10000-19999",
        "20000-25599",
    ]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-34-zot")])
async def test_no_body_goes_with_the_opening_post(trap: str) -> None:
    async with zot() as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    [opening] = registry.traffic.of("upload POST")
    assert (opening.received_bytes, b"digest" in opening.target) == (0, False)
    assert registry.store.uploads(PATH) == ()


@pytest.mark.parametrize(
    ("holder", "mounts"),
    [
        pytest.param("team/base", True, id="trap-35-zot"),
        pytest.param("quite/another", True, id="trap-35-zot-from-elsewhere"),
        pytest.param(None, False, id="trap-35-zot-nowhere"),
    ],
)
async def test_mount_comes_from_wherever_the_blob_is_or_becomes_an_upload(holder: str | None, mounts: bool) -> None:
    async with zot() as (registry, client):
        if holder is not None:
            registry.store.add_blob(holder, CONTENT)
        assert await client.writer(PATH).mount_blob(BLOB, Repository(HOST, "team/base")) is mounts
        if not mounts:
            await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert registry.store.uploads(PATH) == (), "an upload that was opened instead is cancelled"
    assert [record.status for record in registry.traffic.of("mount")] == [201 if mounts else 202]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-36-zot")])
async def test_content_that_is_missing_after_all_is_sent_again(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(ZOT, NAMES_ZOT)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "app", INDEX, "1.0")
        victim = next(iter(INDEX.blobs))
        registry.fault(Around(before=lambda: registry.store.remove_blob(PATH, victim)), kind="manifest PUT")
        settings = {HOST: logged_in(registry, HOST, provider="zot")}
        done = await mirror(internet, "source.test/app", f"{HOST}/{PATH}", settings=settings)

    assert (done.count(Outcome.COPIED), done.problems) == (1, [])
    assert registry.store.tags(PATH) == {"1.0": INDEX.digest}
    assert set(registry.store.blobs(PATH)) == set(INDEX.blobs)
    puts = registry.traffic.of("manifest PUT")
    assert 400 in {record.status for record in puts}
    assert puts[-1].target.endswith(b"/1.0")


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-39-zot")])
async def test_referrers_go_by_the_api_and_no_tag_is_made_for_them(trap: str) -> None:
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with zot() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        for blob in signature.root.blobs():
            await client.writer(PATH).put_blob(blob, stream(signature.blobs[blob.digest]))
        await client.writer(PATH).put_manifest(signature.root)
        answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert answer.from_api
    assert [found.digest for found in answer.descriptors] == [signature.digest]
    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-zot")])
async def test_child_of_an_index_goes_after_the_index_and_a_tag_goes_alone(trap: str) -> None:
    child = INDEX.root.children()[0].digest
    async with zot() as (registry, client):
        put(registry, PATH, INDEX, "1.0", "kept")
        with pytest.raises(UnsupportedError, match="an index still names it") as caught:
            await client.writer(PATH).delete(child)
        await client.writer(PATH).delete(TAG)
        assert registry.store.tags(PATH) == {"kept": INDEX.digest}
        await client.writer(PATH).delete(INDEX.digest)
        await client.writer(PATH).delete(child)
        await client.writer(PATH).delete(child)

    assert "index first" in caught.value.remedy
    assert [record.status for record in registry.traffic.of("manifest DELETE")] == [405, 202, 202, 202, 404]
    assert registry.store.tags(PATH) == {}
    assert child not in registry.store.manifests(PATH)
