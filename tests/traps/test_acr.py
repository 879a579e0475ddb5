"""The traps of Azure's registries, over an emulated one with TLS and Entra ID; the server's records are what counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mirrord.errors import DeniedError, RateLimitedError
from mirrord.oci.reference import Reference, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.registry.providers.acr import AcrProvider
from mirrord.registry.providers.base import Abilities, Limits
from mirrord.sync.delete import delete
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Respond
from tests.fakes.images import make_artifact, make_image
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Manifests, Names, Profile, Refusal
from tests.fakes.registries.acr import ACR, GUID, HOST, LOCKED, LOCKED_BEFORE, NAMES_ACR, api_of
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import carry_out, logged_in, process, rule
from tests.fakes.stores import put
from tests.fakes.tokens import REFRESH

pytestmark = pytest.mark.anyio

PATH = "team/app"
IMAGE = make_image("one")
TAG = Tag("1.0")
CONTENT = b"a layer" * 1000
BLOB = blob_of(CONTENT)


@asynccontextmanager
async def acr(
    profile: Profile = ACR,
    *,
    credential: Credential | None = None,
    provider: AcrProvider | None = None,
) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_ACR)
        providers = (provider,) if provider is not None else None
        known = credential or credential_of(registry)
        async with internet.client(HOST, credential=known, providers=providers) as client:
            yield registry, client


def identity(registry: FakeRegistry, *, secret: str = "") -> Credential:
    registry.tokens.also.add((REFRESH, "refresh"))
    return Credential(username=GUID, secret=secret, identity_token="refresh")


# --- authorisation


@pytest.mark.parametrize(
    ("told_life_s", "good_for_s"),
    [
        pytest.param(None, 48, id="trap-01-acr"),
        pytest.param(75 * 60.0, 720, id="trap-01-acr-jwt"),
        pytest.param(10.0, 48, id="trap-01-acr-jwt-short"),
    ],
)
async def test_token_without_a_life_is_used_for_a_while_and_renewed(
    told_life_s: float | None, good_for_s: float
) -> None:
    async with acr(replace(ACR, auth=replace(ACR.auth, told_life_s=told_life_s))) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).head(TAG)
        client.clock.advance(good_for_s - 1)
        await client.reader(PATH).head(TAG)
        assert registry.traffic.counts["token"] == 1
        client.clock.advance(2)
        await client.reader(PATH).head(TAG)

    assert registry.traffic.counts["token"] == 2
    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [200] * 3


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-01-acr-lie")])
async def test_life_that_a_token_tells_is_not_trusted(trap: str) -> None:
    async with acr(replace(ACR, auth=replace(ACR.auth, told_life_s=75 * 60.0))) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).head(TAG)
        registry.tokens.revoke_all()
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [200, 401, 200]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-07-acr")])
async def test_post_that_is_refused_falls_back_to_get(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(ACR, NAMES_ACR)
        credential = Credential(username=ACR.auth.user, secret=ACR.auth.password, identity_token="of another registry")
        registry.fault(Respond(400), kind="token", method="POST", times=None)
        put(registry, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential) as client:
            assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [(record.method, record.status) for record in registry.traffic.of("token")] == [("POST", 400), ("GET", 200)]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-07-acr-refresh")])
async def test_refresh_token_is_posted_and_a_password_is_not(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(ACR, NAMES_ACR)
        put(registry, PATH, IMAGE, "1.0")
        for credential in (identity(registry), credential_of(registry)):
            async with internet.client(HOST, credential=credential) as client:
                assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [record.method for record in registry.traffic.of("token")] == ["POST", "GET"]


# --- reading and listing


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-12-acr")])
async def test_blob_is_read_from_the_storage_without_a_token_and_by_the_very_url(trap: str) -> None:
    async with acr() as (registry, client):
        registry.store.add_blob(PATH, CONTENT)
        async with client.reader(PATH).blob(BLOB) as pieces:
            assert b"".join([piece async for piece in pieces]) == CONTENT

    [record] = registry.storage_traffic.records
    assert (record.header("Authorization"), record.status) == (None, 200)


@pytest.mark.parametrize("listing", ["plain", "bulk"], ids=["trap-23-acr", "trap-23-acr-digests"])
async def test_link_with_an_empty_parameter_is_followed_as_it_stands(listing: str) -> None:
    async with acr() as (registry, client):
        digest = put(registry, PATH, IMAGE, "000").digest
        for number in range(1, 250):
            registry.store.tag(PATH, f"{number:03}", digest)
        service = client.gateway.handle(HOST).service
        pages = service.list_tags(PATH) if listing == "plain" else service.bulk_tags(PATH)
        entries = [entry async for page in pages for entry in page.entries]

    assert [entry.tag.name for entry in entries] == [f"{number:03}" for number in range(250)]
    assert {entry.digest for entry in entries} == {digest if listing == "bulk" else None}
    records = registry.traffic.of("tags/list" if listing == "plain" else "api")
    targets = [record.target.decode() for record in records if record.status == 200]
    assert len(targets) == 3
    assert all(target.endswith("&orderby=") for target in targets[1:])
    assert registry.traffic.counts["token"] == 1


@pytest.mark.parametrize("status", [401, 403, 404, 500], ids=lambda status: f"bulk-03-acr-{status}")
async def test_tags_are_listed_plainly_where_their_digests_are_not_told(status: int) -> None:
    async with acr() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        registry.fault(Respond(status), kind="api", times=None)
        for _ in range(2):
            pages = [page async for page in client.reader(PATH).bulk_tags()]
            assert [(entry.tag, entry.digest) for page in pages for entry in page.entries] == [(TAG, None)]

    asked = registry.traffic.counts["api"]
    assert asked == {401: 2, 403: 1, 404: 1, 500: 4}[status], "and not again for a while"
    assert registry.traffic.counts["tags/list"] == 2


@pytest.mark.parametrize("trap", [pytest.param("", id="bulk-06-acr")])
async def test_rows_that_are_no_tags_and_digests_that_are_none_give_no_hint(trap: str) -> None:
    async with acr() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "2.0")
        api_of(registry).rows = [
            {"name": "no tag", "digest": str(IMAGE.digest)},
            {"name": None},
            "a text",
            {"name": "2.0", "digest": None},
            {"name": "3.0", "digest": "sha256:short"},
        ]
        [page] = [page async for page in client.gateway.handle(HOST).service.bulk_tags(PATH)]

    found = {entry.tag.name: entry.digest for entry in page.entries}
    assert found == {"1.0": IMAGE.digest, "2.0": None, "3.0": None}
    assert page.skipped == 2


# --- limits


@pytest.mark.parametrize(
    ("kind", "retry_after", "waited_s"),
    [
        pytest.param("manifest HEAD", "7", 7, id="trap-27-acr"),
        pytest.param("token", "7", 7, id="trap-27-acr-token"),
        pytest.param("manifest HEAD", "Thu, 01 Jan 2026 00:00:09 GMT", 9, id="trap-27-acr-date"),
        pytest.param("manifest HEAD", None, 1, id="trap-27-acr-none"),
    ],
)
async def test_registry_that_asks_to_slow_down_is_given_the_time(
    kind: str, retry_after: str | None, waited_s: int
) -> None:
    async with acr() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        headers = (("Retry-After", retry_after),) if retry_after is not None else ()
        registry.fault(Respond(429, headers), kind=kind)
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert registry.traffic.counts[kind] == 2
    assert sum(client.slept) >= waited_s


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-27-acr-for-ever")])
async def test_registry_that_asks_to_slow_down_for_ever_is_left_in_the_end(trap: str) -> None:
    async with acr() as (registry, client):
        registry.fault(Respond(429), kind="manifest HEAD", times=None)
        with pytest.raises(RateLimitedError):
            await client.reader(PATH).head(TAG)

    assert registry.traffic.counts["manifest HEAD"] <= 10


# --- writing


class Chunks(AcrProvider):
    """Uploads in chunks, as a registry that refused a whole blob would make it do."""

    abilities = Abilities(chunked_only=True)
    limits = Limits(chunk_size=3000)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-acr")])
async def test_blob_is_sent_whole(trap: str) -> None:
    async with acr() as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert (registry.traffic.counts["upload PUT"], registry.traffic.counts["upload PATCH"]) == (1, 0)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-acr-chunks")])
async def test_range_of_a_chunk_is_written_as_the_registry_wants_it(trap: str) -> None:
    async with acr(provider=Chunks()) as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    ranges = [record.header("Content-Range") for record in registry.traffic.of("upload PATCH")]
    assert ranges == ["0-2999", "3000-5999", "6000-6999"]


@pytest.mark.parametrize("locked", [LOCKED, LOCKED_BEFORE], ids=["trap-37-acr", "trap-37-acr-before"])
async def test_locked_tag_with_the_same_digest_is_in_sync_and_another_is_told(locked: Refusal) -> None:
    async with Internet() as internet:
        registry = await internet.join(replace(ACR, manifests=Manifests(immutable_tags=locked)), NAMES_ACR)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        same = put(source, PATH, IMAGE, "1.0")
        put(registry, PATH, IMAGE, "1.0")
        put(source, PATH, make_image("moved"), "2.0")
        held = put(registry, PATH, make_image("held"), "2.0")
        async with process(internet, environment={}, settings={HOST: logged_in(registry, HOST)}) as app:
            reports = await carry_out(app, rule(f"source.test/{PATH}", f"{HOST}/{PATH}"))

    assert registry.store.tags(PATH) == {"1.0": same.digest, "2.0": held.digest}
    [report] = reports.reports
    assert (report.count(Outcome.IN_SYNC), report.count(Outcome.FAILED)) == (1, 1)
    [problem] = reports.problems
    assert "TAG_IMMUTABLE" in problem
    assert "az acr repository update" in problem
    assert len([record for record in registry.traffic.of("manifest PUT") if record.status == 405]) == 1, "not again"


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-37-acr-repository")])
async def test_upload_to_a_locked_repository_is_refused_and_not_tried_in_chunks(trap: str) -> None:
    async with acr(replace(ACR, uploads=replace(ACR.uploads, put_body=LOCKED))) as (registry, client):
        with pytest.raises(DeniedError, match="locked"):
            await client.writer(PATH).put_blob(BLOB, stream(CONTENT))
        with pytest.raises(DeniedError, match="locked"):
            await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.traffic.counts["upload PATCH"] == 0


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-39-acr")])
async def test_referrers_come_from_the_api_and_no_tag_is_kept_for_them(trap: str) -> None:
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with acr() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        writer = client.writer(PATH)
        for content in signature.blobs.values():
            await writer.put_blob(blob_of(content), stream(content))
        await writer.put_manifest(signature.root)
        answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert [found.digest for found in answer.descriptors] == [signature.digest]
    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}


# --- deletion


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-acr")])
async def test_deleted_tag_leaves_the_manifest_and_a_deleted_manifest_takes_its_tags(trap: str) -> None:
    async with acr() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "latest")
        writer = client.writer(PATH)
        await writer.delete(Tag("latest"))
        assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}
        await writer.delete(IMAGE.digest)
        await writer.delete(IMAGE.digest)

    assert registry.store.tags(PATH) == {}
    assert registry.store.manifest(PATH, IMAGE.digest) is None
    assert [record.status for record in registry.traffic.of("manifest DELETE")] == [202, 202, 404]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-acr-locked")])
async def test_locked_tag_is_not_deleted_and_the_reason_told(trap: str) -> None:
    async with acr(replace(ACR, deletes=replace(ACR.deletes, tag=LOCKED))) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        with pytest.raises(DeniedError, match="locked") as caught:
            await client.writer(PATH).delete(TAG)

    assert "--delete-enabled true" in caught.value.remedy
    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-acr-locked-run")])
async def test_image_does_not_go_in_the_place_of_its_locked_tag(trap: str) -> None:
    """405 says elsewhere that tags cannot be deleted; the digest is deleted then, if nothing else names it."""
    async with Internet() as internet:
        registry = await internet.join(replace(ACR, deletes=replace(ACR.deletes, tag=LOCKED)), NAMES_ACR)
        put(registry, PATH, IMAGE, "1.0")
        async with process(internet, settings={HOST: logged_in(registry, HOST)}) as app:
            with pytest.raises(DeniedError, match="locked"):
                await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert registry.traffic.counts["manifest DELETE"] == 1
