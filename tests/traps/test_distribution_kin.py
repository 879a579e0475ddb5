"""The traps of distribution 3, of Artifactory and of Nexus, and of a token service before any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mirrord.errors import UnsupportedError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.listing import ListingTraits
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.registry.providers.base import Limits, Provider
from mirrord.registry.providers.generic import GenericProvider
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Around, CutBody
from tests.fakes.images import make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Blobs, Names, Profile, Uploads
from tests.fakes.registries.distribution import (
    ARTIFACTORY,
    DISTRIBUTION,
    DISTRIBUTION_3_0_0,
    NAMES_DISTRIBUTION,
    NEXUS,
    TOKENS,
)
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in, mirror
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

HOST = "registry.test"
PATH = "team/app"
IMAGE = make_image("one")
TAG = Tag("1.0")
CONTENT = bytes(range(256)) * 100
BLOB = blob_of(CONTENT)
NAMES = [f"v{number:02}" for number in range(25)]


class Small(GenericProvider):
    """Any registry, in small pages and chunks."""

    listing = ListingTraits(page_size=10)
    limits = Limits(chunk_size=10_000)


@asynccontextmanager
async def opened(
    profile: Profile, *, provider: Provider | None = None, credential: Credential | None = None
) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_DISTRIBUTION)
        if credential is None and profile.auth.scheme != "none":
            credential = credential_of(registry)
        async with internet.client(HOST, credential=credential, providers=(provider or Small(),)) as client:
            yield registry, client


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-07-artifactory")])
async def test_refused_post_for_a_token_falls_back_to_get(trap: str) -> None:
    both = Credential(username="robot", secret="correct horse", identity_token="unknown there")
    async with opened(ARTIFACTORY, credential=both) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [record.method for record in registry.traffic.of("token")] == ["POST", "GET"]


@pytest.mark.parametrize("skew_s", [-600.0, 600.0], ids=["trap-09-distribution-behind", "trap-09-distribution-ahead"])
async def test_token_lives_from_its_receipt_on_whatever_clock_issued_it(skew_s: float) -> None:
    auth = replace(TOKENS, issued_at_skew_s=skew_s)
    async with opened(replace(DISTRIBUTION, auth=auth)) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        for _ in range(3):
            await client.reader(PATH).head(TAG)
        assert registry.traffic.counts["token"] == 1
        await client.clock.sleep(299)
        registry.clock.advance(299)
        await client.reader(PATH).head(TAG)

    assert registry.traffic.counts["token"] == 2
    assert {record.status for record in registry.traffic.of("manifest HEAD")} == {200}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-11-distribution")])
async def test_bearer_is_chosen_among_two_challenges_in_one_line(trap: str) -> None:
    auth = replace(TOKENS, challenge_form="one-header-of-two")
    async with opened(replace(DISTRIBUTION, auth=auth)) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).head(TAG)

    sent = {(record.header("Authorization") or "none").split()[0] for record in registry.traffic.records}
    assert sent == {"none", "Basic", "Bearer"}
    assert {
        record.kind for record in registry.traffic.records if "Basic" in (record.header("Authorization") or "")
    } == {"token"}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-12-distribution-trap-13-distribution")])
async def test_broken_blob_is_asked_for_anew_where_its_signature_has_ended(trap: str) -> None:
    """The storage's host sees the range, the query as it was signed, and no credential."""
    profile = replace(DISTRIBUTION, auth=TOKENS, blobs=Blobs(redirect=307, redirect_head=True, signature_life_s=60))
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_DISTRIBUTION)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, PATH, IMAGE, "1.0")
        cut = registry.fault(CutBody(after=100), kind="storage")
        registry.fault(Around(before=lambda: registry.clock.advance(120)), kind="blob GET", nth=2)
        settings = {HOST: logged_in(registry, HOST, concurrency=1)}
        done = await mirror(internet, f"{HOST}/{PATH}", "target.test/app", settings=settings)

    assert (done.count(Outcome.COPIED), done.problems) == (1, [])
    assert cut.fired == 1
    assert target.store.tags("app") == {"1.0": IMAGE.digest}
    records = registry.storage_traffic.records
    assert {record.header("Authorization") for record in records} == {None}
    assert "bytes=100-" in {record.header("Range") for record in records}


# --- listing


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(DISTRIBUTION, id="trap-22-distribution-v3-trap-23-distribution-v3"),
        pytest.param(ARTIFACTORY, id="trap-23-artifactory-trap-24-artifactory"),
        pytest.param(NEXUS, id="trap-23-nexus-trap-24-nexus"),
    ],
)
async def test_all_tags_are_listed_whatever_the_links_and_the_entries_are(profile: Profile) -> None:
    async with opened(profile) as (registry, client):
        put(registry, PATH, IMAGE, *NAMES)
        assert sorted(await client.tags(PATH)) == NAMES

    asked = registry.traffic.of("tags/list")
    assert {record.header("Accept") for record in asked} == {"application/json"}, "Artifactory answers others with 406"
    assert [record.target.decode() for record in asked if record.status == 200] == [
        f"/v2/{PATH}/tags/list?n=10",
        f"/v2/{PATH}/tags/list?last=v09&n=10",
        f"/v2/{PATH}/tags/list?last=v19&n=10",
    ]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-25-distribution-3.0.0")])
async def test_tag_that_a_listing_lost_is_copied_by_the_next_run_and_nothing_is_deleted(trap: str) -> None:
    """The first release of 3 skips the tag after one that vanished between two pages, and nothing tells."""
    profile = replace(DISTRIBUTION_3_0_0, tags=replace(DISTRIBUTION_3_0_0.tags, page_entries=10))
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_DISTRIBUTION)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, PATH, IMAGE, *NAMES)
        registry.fault(Around(before=lambda: registry.store.untag(PATH, "v09")), kind="tags/list", nth=2)
        first = await mirror(internet, f"{HOST}/{PATH}", "target.test/app")
        lost = set(NAMES) - {"v09"} - set(target.store.tags("app"))
        second = await mirror(internet, f"{HOST}/{PATH}", "target.test/app")

    assert lost == {"v10"}, "the trap is there"
    assert first.problems == second.problems == []
    assert set(target.store.tags("app")) >= set(NAMES) - {"v09"}
    assert target.traffic.counts["manifest DELETE"] == 0


# --- uploading


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-artifactory")])
async def test_registry_that_takes_no_blob_in_one_put_gets_chunks_and_an_empty_put(trap: str) -> None:
    index = make_index("app", platforms=("linux/amd64", "linux/arm64"))
    async with Internet() as internet:
        registry = await internet.join(replace(ARTIFACTORY, auth=DISTRIBUTION.auth), NAMES_DISTRIBUTION)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "app", index, "1.0")
        done = await mirror(internet, "source.test/app", f"{HOST}/{PATH}")

    assert (done.count(Outcome.COPIED), done.problems) == (1, [])
    assert registry.store.tags(PATH) == {"1.0": index.digest}
    closings = [record for record in registry.traffic.of("upload PUT") if record.status == 201]
    assert {record.received_bytes for record in closings} == {0}
    assert len(closings) == len(index.blobs)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-distribution-least-chunk")])
async def test_least_length_of_chunks_is_kept_to_but_for_the_last(trap: str) -> None:
    uploads = Uploads(min_chunk_bytes=12_000, put_body=ARTIFACTORY.uploads.put_body, location="absolute")
    async with opened(replace(DISTRIBUTION, uploads=uploads)) as (registry, client):
        with pytest.raises(UnsupportedError):  # by which it is learned that chunks are wanted
            await client.writer(PATH).put_blob(BLOB, stream(CONTENT))
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert [record.received_bytes for record in registry.traffic.of("upload PATCH")] == [12_000, 12_000, 1_600]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-35-distribution-no-right-to-the-source")])
async def test_mount_without_a_right_to_its_source_becomes_an_upload(trap: str) -> None:
    auth = replace(TOKENS, refused_scopes=("team/secret",), refused_scope_status=403)
    async with opened(replace(DISTRIBUTION, auth=auth)) as (registry, client):
        registry.store.add_blob("team/secret", CONTENT)
        assert not await client.writer(PATH).mount_blob(BLOB, Repository(HOST, "team/secret"))
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert registry.traffic.counts["upload POST"] == 1
