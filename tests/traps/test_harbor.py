"""The traps of Harbor, over an emulated one with TLS and a token service; the server's records are what counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mirrord.errors import DeniedError, NotFoundError, ProtocolViolationError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.settings import RegistrySettings
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Around, Change, Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Blobs, Manifests, Names, Profile, Uploads
from tests.fakes.registries.harbor import HARBOR, IMMUTABLE, NAMES_HARBOR, NO_SOURCE_PROJECT, HarborApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in, mirror
from tests.fakes.stores import put
from tests.fakes.tokens import basic_credential
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio

HOST = "harbor.test"
PATH = "team/app"
IMAGE = make_image("one")
OTHER = make_image("two")
TAG = Tag("1.0")
CONTENT = b"a layer" * 1000
BLOB = blob_of(CONTENT)


@asynccontextmanager
async def harbor(
    profile: Profile = HARBOR, *, create: dict[str, object] | None = None
) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_HARBOR)
        settings = RegistrySettings(host=HOST, provider="harbor", create_repositories=create)
        async with internet.client(HOST, credential=credential_of(registry), settings=settings) as client:
            yield registry, client


def api_of(registry: FakeRegistry) -> HarborApi:
    assert isinstance(registry.api, HarborApi)
    return registry.api


def passwords_on_the_data_plane(registry: FakeRegistry) -> list[str]:
    return [
        record.kind
        for record in registry.traffic.records
        if record.kind not in {"token", "api"} and basic_credential(record.header("Authorization")) is not None
    ]


# --- authorisation


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-02-harbor")])
async def test_basic_challenge_after_a_dead_token_is_answered_with_a_fresh_token(trap: str) -> None:
    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).head(TAG)
        registry.clock.advance(2 * 3600)
        assert await client.reader(PATH).head(TAG) is not None
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))
        registry.tokens.revoke_all()
        await client.tags(PATH)

    refused = [record for record in registry.traffic.records if record.status == 401 and record.kind != "ping"]
    assert [record.kind for record in refused] == ["manifest HEAD", "tags/list"]
    assert registry.traffic.counts["token"] == 4
    assert registry.traffic.counts["ping"] == 1, "what it said first is remembered"
    assert passwords_on_the_data_plane(registry) == []
    assert registry.store.blob(PATH, BLOB.digest) == CONTENT


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-03-harbor")])
async def test_401_with_an_empty_challenge_ends_after_one_more_try(trap: str) -> None:
    async with harbor() as (registry, client):
        with pytest.raises(NotFoundError, match='no project "ghost"'):
            await client.reader("ghost/app").head(TAG)

    assert registry.traffic.counts["manifest HEAD"] == 2
    assert registry.traffic.counts["token"] == 2
    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [401, 401]


@pytest.mark.parametrize("skew_s", [-600.0, 600.0, 1e9], ids=["trap-09-harbor-behind", "trap-09-harbor-ahead", "far"])
async def test_token_of_a_clock_that_is_wrong_is_used_for_its_life(skew_s: float) -> None:
    async with harbor(replace(HARBOR, auth=replace(HARBOR.auth, issued_at_skew_s=skew_s))) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        for _ in range(3):
            await client.reader(PATH).head(TAG)
        assert registry.traffic.counts["token"] == 1
        await client.clock.sleep(1799)
        registry.clock.advance(1799)
        await client.reader(PATH).head(TAG)

    assert registry.traffic.counts["token"] == 2
    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [200] * 4, "renewed before its end"


# --- reading


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-15-harbor")])
async def test_blob_that_its_nginx_compressed_is_refused_and_was_not_asked_for(trap: str) -> None:
    async with harbor(replace(HARBOR, blobs=Blobs(gzip=True))) as (registry, client):
        registry.store.add_blob(PATH, CONTENT)
        with pytest.raises(ProtocolViolationError, match="CONTENT_ENCODING_UNEXPECTED"):
            async with client.reader(PATH).blob(BLOB):
                pytest.fail("no byte of it is to be used")

    assert {record.header("Accept-Encoding") for record in registry.traffic.records} == {"identity"}


@pytest.mark.parametrize("length", ["7", "999999"], ids=["trap-18-harbor-shorter", "trap-18-harbor-longer"])
async def test_length_that_a_head_tells_is_nothing_to_go_by(length: str) -> None:
    lie = Change(lambda answer: with_headers(answer, content_length=length))
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        put(registry, PATH, IMAGE, "1.0")
        registry.fault(lie, kind="manifest HEAD", times=None)
        settings = {HOST: logged_in(registry, HOST, provider="harbor")}
        first = await mirror(internet, f"{HOST}/{PATH}", "target.test/app", settings=settings)
        second = await mirror(internet, f"{HOST}/{PATH}", "target.test/app", settings=settings)

    assert (first.count(Outcome.COPIED), first.problems) == (1, [])
    assert (second.count(Outcome.IN_SYNC), second.problems) == (1, [])
    assert target.store.tags("app") == {"1.0": IMAGE.digest}


# --- writing


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-35-harbor")])
async def test_mount_that_is_refused_for_its_source_project_becomes_an_upload(trap: str) -> None:
    async with harbor(replace(HARBOR, uploads=Uploads(mount=NO_SOURCE_PROJECT))) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        assert not await client.writer(PATH).mount_blob(BLOB, Repository(HOST, "base/app"))
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert {record.status for record in registry.traffic.of("mount")} == {401}
    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert passwords_on_the_data_plane(registry) == []


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-36-harbor")])
async def test_blob_that_the_garbage_collection_took_is_sent_again(trap: str) -> None:
    image = make_index("app", platforms=("linux/amd64", "linux/arm64"))
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "app", image, "1.0")
        registry.switches.created.add("team")
        victim = next(iter(image.blobs))
        collected = Around(before=lambda: registry.store.remove_blob(PATH, victim))
        registry.fault(collected, kind="manifest PUT")
        settings = {HOST: logged_in(registry, HOST, provider="harbor")}
        done = await mirror(internet, "source.test/app", f"{HOST}/{PATH}", settings=settings)

    assert (done.count(Outcome.COPIED), done.problems) == (1, [])
    assert registry.store.tags(PATH) == {"1.0": image.digest}
    assert set(registry.store.blobs(PATH)) == set(image.blobs)
    order = [record.target.decode().rpartition("/")[2] for record in registry.traffic.of("manifest PUT")]
    assert order[-1] == "1.0", "the index comes last, and it alone by its tag"
    assert all(name.startswith("sha256:") for name in order[:-1])
    assert 400 in {record.status for record in registry.traffic.of("manifest PUT")}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-37-harbor")])
async def test_immutable_tag_is_in_sync_or_a_conflict_and_never_tried_twice(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(
            replace(HARBOR, manifests=replace(HARBOR.manifests, immutable_tags=IMMUTABLE)), NAMES_HARBOR
        )
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        put(source, "app", IMAGE, "same", "moved")
        put(registry, PATH, IMAGE, "same")
        put(registry, PATH, OTHER, "moved")
        settings = {HOST: logged_in(registry, HOST, provider="harbor")}
        done = await mirror(internet, "source.test/app", f"{HOST}/{PATH}", settings=settings)

    assert (done.count(Outcome.IN_SYNC), done.count(Outcome.FAILED)) == (1, 1)
    [problem] = done.problems
    assert "TAG_IMMUTABLE" in problem
    assert registry.store.tags(PATH)["moved"] == OTHER.digest
    assert [record.status for record in registry.traffic.of("manifest PUT")] == [412]


@pytest.mark.parametrize("create", [None, {}], ids=["trap-38-harbor-refused", "trap-38-harbor-created"])
async def test_missing_project_is_made_or_is_one_clear_error(create: dict[str, object] | None) -> None:
    async with Internet() as internet:
        registry = await internet.join(HARBOR, NAMES_HARBOR)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        raw = put(source, "app", IMAGE, "1.0", "1.1").raw
        settings = {HOST: logged_in(registry, HOST, provider="harbor", create_repositories=create)}
        done = await mirror(internet, "source.test/app", f"{HOST}/new/app", settings=settings)

    if create is None:
        assert done.count(Outcome.FAILED) == 2
        assert len(done.problems) == 1
        assert registry.switches.projects() == set()
    else:
        assert (done.count(Outcome.COPIED), done.problems) == (2, [])
        assert [made["project_name"] for made in api_of(registry).created] == ["new"]
        stored = registry.store.manifest("new/app", IMAGE.digest)
        assert stored is not None
        assert (stored.raw, stored.media_type) == (raw, IMAGE.descriptor.media_type)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-39-harbor")])
async def test_referrers_go_by_the_api_and_no_tag_is_made_for_them(trap: str) -> None:
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        for blob in signature.root.blobs():
            await client.writer(PATH).put_blob(blob, stream(signature.blobs[blob.digest]))
        await client.writer(PATH).put_manifest(signature.root)
        answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert answer.from_api
    assert [found.digest for found in answer.descriptors] == [signature.digest]
    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert registry.traffic.counts["referrers"] >= 1


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-harbor")])
async def test_tag_goes_by_the_api_alone_and_a_digest_takes_all_its_tags(trap: str) -> None:
    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "1.1", "kept")
        put(registry, PATH, OTHER, "2.0")
        await client.writer(PATH).delete(Tag("1.0"))
        assert registry.store.tags(PATH) == {"1.1": IMAGE.digest, "kept": IMAGE.digest, "2.0": OTHER.digest}
        assert registry.traffic.counts["manifest DELETE"] == 0, "the registry is not asked to"
        await client.writer(PATH).delete(IMAGE.digest)
        await client.writer(PATH).delete(IMAGE.digest)

    assert registry.store.tags(PATH) == {"2.0": OTHER.digest}
    assert [record.status for record in registry.traffic.of("manifest DELETE")] == [202, 404]


# --- listings with digests


async def bulk(client: Client) -> dict[str, Digest | None]:
    pages = [page async for page in client.reader(PATH).bulk_tags()]
    return {entry.tag.name: entry.digest for page in pages for entry in page.entries}


@pytest.mark.parametrize(
    "refusal",
    [
        *(pytest.param(Respond(status), id=f"bulk-03-harbor-{status}") for status in (401, 403, 404, 429, 503)),
        pytest.param(Respond(200, body=b"<html>log in</html>"), id="bulk-03-harbor-html"),
        pytest.param(Respond(200, body=b'{"artifacts":[]}'), id="bulk-03-harbor-another-shape"),
        pytest.param(
            Change(lambda answer: with_headers(answer, link='<https://other.test/>; rel="next"')),
            id="bulk-03-harbor-link-elsewhere",
        ),
        pytest.param(
            Change(lambda answer: with_headers(answer, link='<?page=1>; rel="next"')), id="bulk-03-harbor-page-again"
        ),
    ],
)
async def test_api_that_does_not_tell_is_left_alone_for_a_while(refusal: Respond | Change) -> None:
    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "latest")
        registry.fault(refusal, kind="api", times=None)
        assert await bulk(client) == {"1.0": None, "latest": None}
        asked = registry.traffic.counts["api"]
        assert await bulk(client) == {"1.0": None, "latest": None}

    assert registry.traffic.counts["api"] == asked
    assert registry.traffic.counts["tags/list"] == 2
    assert "bulk_refused" in client.events.notes()


@pytest.mark.parametrize("trap", [pytest.param("", id="bulk-05-harbor")])
async def test_api_gets_the_password_and_the_registry_its_tokens(trap: str) -> None:
    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        await client.reader(PATH).head(TAG)
        await bulk(client)

    auth = registry.profile.auth
    assert [basic_credential(record.header("Authorization")) for record in registry.traffic.of("api")] == [
        (auth.user, auth.password)
    ]
    assert "$" in auth.user
    assert passwords_on_the_data_plane(registry) == []


@pytest.mark.parametrize("trap", [pytest.param("", id="bulk-06-harbor")])
async def test_rows_that_make_no_sense_are_passed_over_or_asked_for_by_head(trap: str) -> None:
    later, earlier = "2026-02-01T00:00:00.000Z", "2025-12-01T00:00:00.000Z"

    def row(digest: object, *tags: object) -> object:
        return {"digest": digest, "tags": list(tags)}

    async with harbor() as (registry, client):
        put(registry, PATH, IMAGE, "moved", "stale", "at-once", "plain")
        api_of(registry).duplicates = [
            row(str(OTHER.digest), {"name": "moved", "push_time": later}, {"name": "stale", "push_time": earlier}),
            row(str(Digest.of(b"x")), {"name": "at-once", "push_time": "2026-01-01T00:00:00.000Z"}),
            row("sha256:short", {"name": "bad-digest"}),
            row(None, {"name": "no-digest"}, {"name": "../evil"}, {"name": 7}, "text", {}),
            {"digest": str(Digest.of(b"y")), "tags": None},
        ]
        found = await bulk(client)

    assert found == {
        "moved": OTHER.digest,
        "stale": IMAGE.digest,
        "at-once": None,
        "plain": IMAGE.digest,
        "bad-digest": None,
        "no-digest": None,
    }
    assert registry.traffic.counts == {"api": 1}


async def test_immutability_of_one_tag_does_not_spoil_the_deletion_of_another() -> None:
    async with harbor(replace(HARBOR, manifests=Manifests())) as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "1.1")
        api_of(registry).immutable.add(f"{PATH}:1.0")
        with pytest.raises(DeniedError, match="TAG_IMMUTABLE"):
            await client.writer(PATH).delete(Tag("1.0"))
        await client.writer(PATH).delete(Tag("1.1"))

    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}
