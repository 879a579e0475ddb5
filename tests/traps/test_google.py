"""The traps of Google's registries, over an emulated Artifact Registry with TLS; the server's records count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal

import pytest

from mirrord.errors import DeniedError, RegistryError, UnauthorizedError
from mirrord.oci.mediatype import ACCEPT
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.registry.providers.google import PAGE_SIZE
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import CutBody, Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile, Refusal
from tests.fakes.registries.google import GOOGLE, HOST, NAMES_GOOGLE, api_of
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import carry_out, logged_in, process, rule
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

PLACE = "acme-prod/mirror"
PATH = f"{PLACE}/team/app"
IMAGE = make_image("one")
TAG = Tag("1.0")
CONTENT = b"a layer" * 1000
BLOB = blob_of(CONTENT)


@asynccontextmanager
async def google(
    profile: Profile = GOOGLE, *, credential: Credential | None = None
) -> AsyncIterator[tuple[FakeRegistry, Client]]:
    async with Internet() as internet:
        registry = await internet.join(profile, NAMES_GOOGLE)
        api_of(registry).made.add(PLACE)
        async with internet.client(HOST, credential=credential or credential_of(registry)) as client:
            yield registry, client


# --- authorisation


@pytest.mark.parametrize("challenge", ["none", "empty"], ids=["trap-03-google", "trap-03-google-empty"])
async def test_401_without_a_challenge_is_answered_by_that_of_the_ping(challenge: Literal["none", "empty"]) -> None:
    profile = replace(GOOGLE, auth=replace(GOOGLE.auth, repository_challenge=challenge))
    async with google(profile) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor
        registry.tokens.revoke_all()
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [record.status for record in registry.traffic.of("manifest HEAD")] == [200, 401, 200]
    assert (registry.traffic.counts["ping"], registry.traffic.counts["token"]) == (1, 2)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-03-google-for-ever")])
async def test_401_without_a_challenge_that_stays_ends_after_one_more_try(trap: str) -> None:
    async with google() as (registry, client):
        registry.fault(Respond(401), kind="manifest HEAD", times=None)
        with pytest.raises(UnauthorizedError):
            await client.reader(PATH).head(TAG)

    assert registry.traffic.counts["manifest HEAD"] == 2


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-07-google")])
async def test_post_for_a_token_is_not_found_and_falls_back_to_get(trap: str) -> None:
    both = Credential(username=GOOGLE.auth.user, secret=GOOGLE.auth.password, identity_token="unknown there")
    async with google(credential=both) as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        assert await client.reader(PATH).head(TAG) == IMAGE.descriptor

    assert [(record.method, record.status) for record in registry.traffic.of("token")] == [("POST", 404), ("GET", 200)]


# --- reading


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-12-google")])
async def test_blob_is_read_from_the_storage_without_a_token_and_by_the_very_url(trap: str) -> None:
    async with google() as (registry, client):
        registry.store.add_blob(PATH, CONTENT)
        async with client.reader(PATH).blob(BLOB, offset=10) as pieces:
            assert b"".join([piece async for piece in pieces]) == CONTENT[10:]

    [record] = registry.storage_traffic.records
    assert record.header("Authorization") is None
    assert record.header("Range") == "bytes=10-"
    assert record.status == 206, "a query that changed by a byte is a 403 there"


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-13-google")])
async def test_blob_that_breaks_off_goes_on_where_it_broke_by_a_fresh_url(trap: str) -> None:
    image = make_image("broken", layers=[bytes(range(256)) * 400])
    async with Internet() as internet:
        registry = await internet.join(GOOGLE, NAMES_GOOGLE)
        target = await internet.join(DISTRIBUTION_V3, Names(registry="target.test"))
        api_of(registry).made.add(PLACE)
        put(registry, PATH, image, "1.0")
        layer = image.manifest.layers[0].digest.hex.encode()
        registry.fault(CutBody(after=50_000), kind="storage", where=lambda record: layer in record.target)
        async with process(internet, environment={}, settings={HOST: logged_in(registry, HOST)}) as app:
            reports = await carry_out(app, rule(f"{HOST}/{PATH}", "target.test/app"))

    assert reports.problems == []
    assert target.store.tags("app") == {"1.0": image.digest}
    resumed = [record for record in registry.storage_traffic.records if record.header("Range")]
    assert [record.header("Range") for record in resumed] == ["bytes=50000-"]
    assert len({record.target for record in registry.storage_traffic.records}) == len(registry.storage_traffic.records)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-16-google")])
async def test_every_manifest_is_asked_for_with_all_types(trap: str) -> None:
    index = make_index("two")
    async with google() as (registry, client):
        put(registry, PATH, index, "2.0")
        head = await client.reader(PATH).head(Tag("2.0"))
        assert head == index.descriptor
        assert (await client.reader(PATH).manifest(index.digest)).raw == index.raw

    for record in (*registry.traffic.of("manifest HEAD"), *registry.traffic.of("manifest GET")):
        assert set(ACCEPT) <= {part.strip() for part in (record.header("Accept") or "").split(",")}
        assert record.status == 200


# --- listing


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-24-google")])
async def test_maps_of_a_tag_list_give_hints_and_no_further_tags(trap: str) -> None:
    async with google() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "latest")
        untagged = put(registry, PATH, make_image("untagged"))
        put(registry, f"{PATH}/plugin", make_image("below"), "3.0")
        pages = await client.pages(PATH)

    [page] = pages
    assert {entry.tag.name: entry.digest for entry in page.entries} == {"1.0": IMAGE.digest, "latest": IMAGE.digest}
    assert page.skipped == 0
    assert untagged.digest in registry.store.manifests(PATH)
    assert [record.target for record in registry.traffic.of("tags/list")] == [
        f"/v2/{PATH}/tags/list?n={PAGE_SIZE}".encode()
    ]


@pytest.mark.parametrize(
    "maps",
    [
        pytest.param(None, id="bulk-03-google-null"),
        pytest.param(["a", "list"], id="bulk-03-google-list"),
        pytest.param({"sha256:nonsense": {"tag": ["1.0"]}, "also": 7}, id="bulk-03-google-no-digests"),
    ],
)
async def test_tags_are_listed_whatever_the_map_of_manifests_is(maps: object) -> None:
    async with google() as (registry, client):
        put(registry, PATH, IMAGE, "1.0")
        api_of(registry).maps = maps if maps is not None else "no map"
        pages = [page async for page in client.gateway.handle(HOST).service.bulk_tags(PATH)]

    assert [(entry.tag.name, entry.digest) for page in pages for entry in page.entries] == [("1.0", None)]


@pytest.mark.parametrize("trap", [pytest.param("", id="bulk-06-google")])
async def test_tag_of_two_manifests_and_moments_that_nobody_knows_give_no_hint(trap: str) -> None:
    other = make_image("two")
    async with google() as (registry, client):
        for content, tag in ((IMAGE, "1.0"), (other, "2.0"), (make_image("three"), "3.0"), (make_image("4"), "4.0")):
            put(registry, PATH, content, tag)
        digests = registry.store.tags(PATH)
        api_of(registry).times = {str(digests["2.0"]): "0", str(digests["3.0"]): "-62135596800000"}
        api_of(registry).maps = {
            str(IMAGE.digest): {"tag": ["1.0", "bad tag", None], "timeCreatedMs": "1767225600000"},
            str(other.digest): {"tag": ["1.0", "2.0"], "timeCreatedMs": "0"},
            str(digests["3.0"]): {"tag": ["3.0"], "timeCreatedMs": "-62135596800000"},
            str(digests["4.0"]): {"tag": "4.0", "timeCreatedMs": 10**30},
        }
        [page] = await client.pages(PATH)

    told = {entry.tag.name: (entry.digest, entry.created) for entry in page.entries}
    assert told == {
        "1.0": (None, None),
        "2.0": (other.digest, None),
        "3.0": (digests["3.0"], None),
        "4.0": (None, None),
    }


@pytest.mark.parametrize(("tags", "asked"), [(1000, 2), (2500, 3), (999, 1)], ids=lambda n: f"bulk-09-google-{n}")
async def test_full_page_without_a_link_is_followed_by_one_more_question(tags: int, asked: int) -> None:
    async with google() as (registry, client):
        api_of(registry).most_in_a_page = 1000
        digest = put(registry, PATH, IMAGE, "0000").digest
        for number in range(1, tags):
            registry.store.tag(PATH, f"{number:04}", digest)
        found = await client.tags(PATH)

    assert found == [f"{number:04}" for number in range(tags)]
    assert registry.traffic.counts["tags/list"] == asked


# --- writing


@pytest.mark.parametrize("status", [404, 405, 416, 501], ids=lambda status: f"trap-30-google-{status}")
async def test_refused_upload_is_never_sent_in_chunks(status: int) -> None:
    profile = replace(GOOGLE, uploads=replace(GOOGLE.uploads, put_body=Refusal(status=status)))
    async with google(profile) as (registry, client):
        for _ in range(2):
            with pytest.raises(RegistryError, match=f"answered {status}"):
                await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.traffic.counts["upload PATCH"] == 0
    assert registry.traffic.counts["upload PUT"] == 2


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-google")])
async def test_blob_is_sent_whole(trap: str) -> None:
    async with google() as (registry, client):
        await client.writer(PATH).put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert registry.traffic.counts["upload PATCH"] == 0
    assert [record.received_bytes for record in registry.traffic.of("upload PUT")] == [BLOB.size]


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param("done", id="trap-35-google"),
        pytest.param("upload", id="trap-35-google-upload"),
        pytest.param(Refusal(status=404, code="NAME_UNKNOWN"), id="trap-35-google-unknown"),
    ],
)
async def test_mount_works_or_the_blob_is_sent(mount: Literal["done", "upload"] | Refusal) -> None:
    profile = replace(GOOGLE, uploads=replace(GOOGLE.uploads, mount=mount))
    async with google(profile) as (registry, client):
        registry.store.add_blob(f"{PLACE}/base", CONTENT)
        writer = client.writer(PATH)
        if not await writer.mount_blob(BLOB, Repository(HOST, f"{PLACE}/base")):
            await writer.put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob(PATH, BLOB.digest) == CONTENT
    assert registry.store.uploads(PATH) == ()
    assert registry.traffic.counts["upload PUT"] == (0 if mount == "done" else 1)


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-38-google")])
async def test_missing_repository_is_one_clear_error_and_nothing_is_read_for_it(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(GOOGLE, NAMES_GOOGLE)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        for number in range(4):
            put(source, "team/app", make_image(f"app-{number}"), f"1.{number}")
        async with process(internet, environment={}, settings={HOST: logged_in(registry, HOST)}) as app:
            reports = await carry_out(app, rule("source.test/team/app", f"{HOST}/{PATH}"))

    [problem] = reports.problems
    assert "does not exist" in problem
    assert (
        "gcloud artifacts repositories create mirror --repository-format=docker --location=europe --project=acme-prod"
    ) in problem
    assert source.traffic.counts["blob GET"] == 0
    assert registry.traffic.counts["upload POST"] == 0


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-38-google-bytes")])
async def test_manifest_goes_there_byte_for_byte(trap: str) -> None:
    async with Internet() as internet:
        registry = await internet.join(GOOGLE, NAMES_GOOGLE)
        source = await internet.join(DISTRIBUTION_V3, Names(registry="source.test"))
        api_of(registry).made.add(PLACE)
        image = put(source, "team/app", make_image("docker", docker=True), "1.0")
        async with process(internet, environment={}, settings={HOST: logged_in(registry, HOST)}) as app:
            reports = await carry_out(app, rule("source.test/team/app", f"{HOST}/{PATH}"))

    assert (reports.problems, reports.count(Outcome.COPIED)) == ([], 1)
    stored = registry.store.manifest(PATH, "1.0")
    assert stored is not None
    assert (stored.raw, stored.media_type) == (image.raw, image.descriptor.media_type)


# --- deletion


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-google")])
async def test_manifest_is_deleted_after_its_tags(trap: str) -> None:
    async with google() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "latest")
        kept = put(registry, PATH, make_image("kept"), "2.0")
        await client.writer(PATH).delete(IMAGE.digest)

    assert registry.store.tags(PATH) == {"2.0": kept.digest}
    assert registry.store.manifest(PATH, IMAGE.digest) is None
    deleted = [(record.route.reference, record.status) for record in registry.traffic.of("manifest DELETE")]
    digest = str(IMAGE.digest)
    assert deleted == [(digest, 400), ("1.0", 202), ("latest", 202), (digest, 202)]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-google-tag")])
async def test_deleted_tag_leaves_its_manifest_and_other_tags(trap: str) -> None:
    async with google() as (registry, client):
        put(registry, PATH, IMAGE, "1.0", "latest")
        await client.writer(PATH).delete(Tag("latest"))
        await client.writer(PATH).delete(Tag("gone"))

    assert registry.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert registry.store.manifest(PATH, IMAGE.digest) is not None


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-google-moved")])
async def test_tag_that_moved_since_the_list_was_made_is_not_deleted(trap: str) -> None:
    async with google() as (registry, client):
        other = put(registry, PATH, make_image("two"), "latest")
        put(registry, PATH, IMAGE, "1.0")
        api_of(registry).maps = {str(IMAGE.digest): {"tag": ["1.0", "latest"]}}
        await client.writer(PATH).delete(IMAGE.digest)

    assert registry.store.tags(PATH) == {"latest": other.digest}


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-40-google-needed")])
async def test_manifest_that_something_needs_is_kept_and_the_reason_told(trap: str) -> None:
    index = make_index("two")
    child = index.index.manifests[0].digest
    async with google() as (registry, client):
        put(registry, PATH, index, "2.0")
        put(registry, PATH, IMAGE)
        put(registry, PATH, make_artifact("signature", subject=IMAGE.descriptor))
        with pytest.raises(DeniedError, match="an index holds it") as of_child:
            await client.writer(PATH).delete(child)
        with pytest.raises(DeniedError, match="another manifest refers to it"):
            await client.writer(PATH).delete(IMAGE.digest)
        await client.writer(PATH).delete(index.digest)
        await client.writer(PATH).delete(child)

    assert of_child.value.remedy == "delete the index first"
    assert registry.store.manifest(PATH, IMAGE.digest) is not None
    assert registry.store.manifest(PATH, child) is None
