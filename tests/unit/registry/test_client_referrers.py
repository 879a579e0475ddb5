"""Referrers over the wire: by the API where there is one, and else by the fallback tag, which is kept in step."""

from __future__ import annotations

import json

import anyio
import pytest

from mirrord.errors import (
    AddressRefusedError,
    InvalidManifestError,
    ListingIncompleteError,
    UnavailableError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from mirrord.planning.attachment import fallback_tag
from mirrord.registry.referrers import MAX_PAGES, MAX_REFERRERS
from tests.contract.images import (
    BuiltImage,
    as_fields,
    build_artifact,
    build_image,
    build_index,
    write_blobs,
    write_image,
)
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import Change, Drop, Respond
from tests.fakes.profiles import Profile, Refusal
from tests.fakes.registry import DISTRIBUTION_V2, FakeRegistry
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio

IMAGE = build_image()
SUBJECT = IMAGE.manifest.descriptor
SIGNATURE = build_artifact(SUBJECT, "a signature")
SBOM = build_artifact(SUBJECT, "an sbom", artifact_type="application/spdx+json")
FALLBACK = fallback_tag(SUBJECT.digest)
WITHOUT = [
    pytest.param(Refusal(status=303, headers=(("Location", "https://github.test/"),)), id="trap-39-ghcr"),
    pytest.param(Refusal(status=400), id="trap-39-quay-400"),
    pytest.param(DISTRIBUTION_V2.referrers, id="E69:trap-39-distribution-v2"),
    pytest.param(Refusal(status=405), id="trap-39-ecr-405"),
    pytest.param(Refusal(status=406), id="trap-39-ghcr-406"),
    pytest.param("wrong-type", id="E69:wrong-type"),
    pytest.param("subject-header-without-api", id="trap-39-ecr-header-alone"),
]


async def write(client: Client, *artifacts: BuiltImage) -> None:
    await write_image(client.writer(), IMAGE, "1.0")
    for artifact in artifacts:
        await write_image(client.writer(), artifact)


async def referrers(client: Client) -> list[Digest]:
    answer = await client.reader().referrers(SUBJECT.digest)
    return sorted(found.digest for found in answer.descriptors)


def both() -> list[Digest]:
    return sorted([SIGNATURE.digest, SBOM.digest])


# --- with and without the API


@pytest.mark.parametrize("style", ["api", "api-without-subject-header"], ids=["trap-39-zot", "trap-39-quay"])
async def test_api_is_used_where_it_is_and_no_tag_is_made(style: str) -> None:
    profile = Profile(referrers="api" if style == "api" else "api-without-subject-header")
    async with FakeRegistry(profile) as registry, open_client(registry) as client:
        await write(client, SIGNATURE, SBOM)
        answer = await client.reader().referrers(SUBJECT.digest)
        assert client.reader().has_referrers_api is True

    assert answer.from_api
    assert sorted(found.digest for found in answer.descriptors) == both()
    assert set(registry.store.tags("team/app")) == {"1.0"}


@pytest.mark.covers("C9")
@pytest.mark.parametrize("style", WITHOUT)
async def test_fallback_tag_is_kept_and_read_where_there_is_no_api(style: Refusal) -> None:
    async with FakeRegistry(Profile(referrers=style)) as registry:
        async with open_client(registry) as client:
            await write(client, SIGNATURE, SBOM)
            await write(client, SBOM)  # once more: nothing changes
        async with open_client(registry) as client:
            answer = await client.reader().referrers(SUBJECT.digest)

    assert not answer.from_api
    assert sorted(found.digest for found in answer.descriptors) == both()
    assert {found.digest: found.artifact_type for found in answer.descriptors}[SBOM.digest] == "application/spdx+json"
    assert {str(found.annotations["org.example.text"]) for found in answer.descriptors} == {"a signature", "an sbom"}
    index = registry.store.manifest("team/app", FALLBACK.name)
    assert index is not None
    assert index.media_type == OCI_INDEX


async def test_lack_of_the_api_is_found_out_once() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write(client, SIGNATURE, SBOM)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.reader().referrers, SUBJECT.digest)

        assert client.reader().has_referrers_api is False

    assert registry.traffic.counts["referrers"] == 1


async def test_fallback_is_not_looked_for_where_the_caller_knows_better() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write(client, SIGNATURE)
        registry.traffic.clear()
        answer = await client.reader().referrers(SUBJECT.digest, fallback=False)

    assert (answer.descriptors, answer.from_api) == ((), False)
    assert not registry.traffic.records


@pytest.mark.covers("C9")
async def test_fallback_tag_keeps_every_entry_under_concurrency() -> None:
    artifacts = [build_artifact(SUBJECT, f"artifact {number}") for number in range(12)]
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write(client)
        async with anyio.create_task_group() as group:
            for artifact in artifacts:
                group.start_soon(write_image, client.writer(), artifact)

        assert await referrers(client) == sorted(artifact.digest for artifact in artifacts)


async def test_entries_of_others_in_the_fallback_tag_stay_as_they_are() -> None:
    odd = {**as_fields(SBOM.manifest.descriptor), "x-extension": {"kept": True}}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [odd]}).encode()
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write(client)
        await write_blobs(client.writer(), SBOM)
        registry.store.add_manifest("team/app", SBOM.manifest.raw, OCI_MANIFEST)
        registry.store.add_manifest("team/app", raw, OCI_INDEX, tags=[FALLBACK.name])
        await write(client, SIGNATURE)

    index = registry.store.manifest("team/app", FALLBACK.name)
    assert index is not None
    first, second = json.loads(index.raw)["manifests"]
    assert first == odd
    assert second["digest"] == str(SIGNATURE.digest)


async def test_index_with_a_subject_is_listed_too() -> None:
    index = build_index(IMAGE.manifest, subject=SUBJECT)
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write(client)
        await client.writer().put_manifest(index)
        answer = await client.reader().referrers(SUBJECT.digest)

    [found] = answer.descriptors
    assert (found.digest, found.artifact_type) == (index.descriptor.digest, "")


async def test_referrers_of_nothing_are_none() -> None:
    for profile in (Profile(), DISTRIBUTION_V2):
        async with FakeRegistry(profile) as registry, open_client(registry) as client:
            assert (await client.reader().referrers(SUBJECT.digest)).descriptors == ()


# --- what is no index of referrers


@pytest.mark.parametrize("trap", [pytest.param("", id="E70:trap-39-gitlab")])
async def test_tag_that_resolves_to_the_subject_is_no_index_and_left_alone(trap: str) -> None:
    async with FakeRegistry(Profile(referrers="alias")) as registry, open_client(registry) as client:
        await write(client)
        answer = await client.reader().referrers(SUBJECT.digest)

    assert answer.descriptors == ()
    assert client.events.notes() == ["referrers_tag_invalid"]


@pytest.mark.covers("E70")
async def test_image_under_the_fallback_tag_is_left_alone() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write_image(client.writer(), build_image("another"), FALLBACK.name)
        before = registry.store.tags("team/app")[FALLBACK.name]
        await write(client, SIGNATURE)

        assert (await client.reader().referrers(SUBJECT.digest)).descriptors == ()
    assert registry.store.tags("team/app")[FALLBACK.name] == before
    assert set(client.events.notes()) == {"referrers_tag_invalid"}


@pytest.mark.covers("E70")
async def test_nonsense_under_the_fallback_tag_is_left_alone() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        registry.store.add_manifest("team/app", b"{}", OCI_INDEX, tags=[FALLBACK.name])
        await write(client, SIGNATURE)

        assert (await client.reader().referrers(SUBJECT.digest)).descriptors == ()
    stored = registry.store.manifest("team/app", FALLBACK.name)
    assert stored is not None
    assert stored.raw == b"{}"


# --- pages, caps and errors


def page(*artifacts: BuiltImage, link: str = "") -> Respond:
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [as_fields(artifact.manifest.descriptor) for artifact in artifacts],
    }
    headers = (("Content-Type", OCI_INDEX), *((("Link", f'<{link}>; rel="next"'),) if link else ()))
    return Respond(200, headers, json.dumps(body).encode())


NEXT = f"/v2/team/app/referrers/{SUBJECT.digest}?next=a%2Fb"


async def test_all_pages_are_read_and_each_referrer_comes_once() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(page(SIGNATURE, link=NEXT), kind="referrers")
        registry.fault(page(SIGNATURE, SBOM), kind="referrers", nth=1)
        assert await referrers(client) == both()

    assert registry.traffic.of("referrers")[1].target == NEXT.encode()


@pytest.mark.parametrize("status", [303, 400, 404, 405])
async def test_refused_later_page_is_never_an_end(status: int) -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(page(SIGNATURE, link=NEXT), kind="referrers")
        registry.fault(Respond(status), kind="referrers", nth=1)
        with pytest.raises(ListingIncompleteError):
            await referrers(client)


@pytest.mark.covers("E69", "C37")
async def test_too_many_referrers_and_too_many_pages_are_errors() -> None:
    fields = as_fields(SIGNATURE.manifest.descriptor)
    many = [{**fields, "digest": str(Digest.of(str(number).encode()))} for number in range(MAX_REFERRERS + 1)]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": many}).encode()
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(200, (("Content-Type", OCI_INDEX),), body), kind="referrers")
        with pytest.raises(ListingIncompleteError, match=f"more than {MAX_REFERRERS} referrers"):
            await referrers(client)

        registry.traffic.clear()
        registry.fault(page(SIGNATURE, link=NEXT), kind="referrers", times=None)
        with pytest.raises(ListingIncompleteError, match="have no end"):
            await referrers(client)

    assert registry.traffic.counts["referrers"] <= MAX_PAGES


@pytest.mark.covers("A10", "E49")
async def test_link_that_leads_away_is_refused() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(page(SIGNATURE, link="https://other.test/x"), kind="referrers")
        with pytest.raises(AddressRefusedError, match="LINK_UNTRUSTED"):
            await referrers(client)


async def test_error_is_never_taken_for_none() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(500), kind="referrers", times=4)
        with pytest.raises(UnavailableError):
            await referrers(client)
        assert client.reader().has_referrers_api is None
        registry.fault(Drop(), kind="referrers", nth=1)
        await write(client, SIGNATURE)
        assert await referrers(client) == [SIGNATURE.digest]


@pytest.mark.parametrize("code", ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"])
async def test_registry_that_misses_the_repository_may_have_the_api(code: str) -> None:
    """zot answers so for a repository that is not there yet; what is pushed later must be found."""
    missing = Respond(404, (), json.dumps({"errors": [{"code": code, "message": "unknown"}]}).encode())
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(missing, kind="referrers")
        assert await referrers(client) == []
        assert client.reader().has_referrers_api is None
        await write(client, SIGNATURE)
        assert await referrers(client) == [SIGNATURE.digest]

    assert set(registry.store.tags("team/app")) == {"1.0"}


async def test_answer_that_is_no_index_is_an_error() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(200, (("Content-Type", f"{OCI_INDEX}; charset=utf-8"),), b"{}"), kind="referrers")
        with pytest.raises(InvalidManifestError):
            await referrers(client)


async def test_type_with_parameters_is_the_type() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        await write(client, SIGNATURE)
        typed = Change(lambda answer: with_headers(answer, content_type=f"{OCI_INDEX}; charset=utf-8"))
        registry.fault(typed, kind="referrers")
        assert await referrers(client) == [SIGNATURE.digest]


async def test_manifest_of_an_artifact_by_tag_keeps_the_fallback_tag_too() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        await write_image(client.writer(), SIGNATURE, "signature")
        assert await referrers(client) == [SIGNATURE.digest]

    assert set(registry.store.tags("team/app")) == {"signature", FALLBACK.name}
