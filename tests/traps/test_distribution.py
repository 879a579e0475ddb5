"""The traps of distribution 2.8.2: each test runs over the emulated one and over docker-registry itself.

Those of its newer releases, of Artifactory and of Nexus are in `test_distribution_kin.py`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mirrord.errors import MissingContentError, NotFoundError, RegistryError, UnavailableError, UnsupportedError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.mediatype import DOCKER_LIST, DOCKER_MANIFEST
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.listing import ListingTraits
from mirrord.registry import scopes
from mirrord.registry.call import Call
from mirrord.registry.providers.base import Abilities, Limits, Provider
from tests.contract.images import (
    as_fields,
    blob_of,
    build_artifact,
    build_image,
    build_index,
    stream,
    write_blobs,
    write_image,
)
from tests.traps.places import REAL, Place, both, open_place

pytestmark = pytest.mark.anyio

PATH = "team/app"
IMAGE = build_image()
CHILDREN = [build_image(architecture=name) for name in ("amd64", "arm64")]
INDEX = build_index(*(child.manifest for child in CHILDREN))
TAG = Tag("1.0")
CONTENT = bytes(range(256)) * 100
BLOB = blob_of(CONTENT)


class Patient(Provider):
    """Asks for few tags at a time, and more repositories than are given; uploads in chunks."""

    abilities = Abilities(chunked_only=True)
    limits = Limits(chunk_size=10_000)
    listing = ListingTraits(page_size=5)

    def matches(self, host: str) -> bool:
        """Match every host."""
        return True


class Greedy(Patient):
    """Asks for 5,000 repositories at once."""

    listing = ListingTraits(page_size=5000)


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest, require_tool: Callable[..., None]) -> None:
    """Skip what needs docker-registry where there is none; in CI fail."""
    if request.node.get_closest_marker("integration") is not None:
        require_tool("docker-registry")


async def put(place: Place, content: bytes = CONTENT) -> None:
    await place.client.writer(PATH).put_blob(blob_of(content), stream(content))


async def read(place: Place, blob: Descriptor = BLOB, offset: int = 0) -> bytes:
    async with place.client.reader(PATH).blob(blob, offset=offset) as pieces:
        return b"".join([piece async for piece in pieces])


# --- reading


@both(14)
async def test_range_from_the_end_on_spoils_nothing(kind: str, tmp_path: Path) -> None:
    """Its 416 declares the length of the whole blob and sends an error of 33 bytes."""
    longer = Descriptor(media_type=BLOB.media_type, digest=BLOB.digest, size=BLOB.size + 10)
    async with open_place(kind, tmp_path) as place:
        await put(place)
        with pytest.raises(RegistryError, match="RANGE_REFUSED"):
            await read(place, longer, BLOB.size)
        assert await read(place, BLOB, BLOB.size - 1) == CONTENT[-1:]
        assert await read(place) == CONTENT
        asked = [found.status for found in place.asked("GET", "/blobs/sha256")]

    assert asked[1:] == [206, 200]


@both(16)
async def test_list_comes_back_as_it_is_although_one_child_would_do(kind: str, tmp_path: Path) -> None:
    children = [build_image(architecture=name, docker=True) for name in ("amd64", "arm64")]
    entries = [
        {**as_fields(child.manifest.descriptor), "platform": {"os": "linux", "architecture": name}}
        for child, name in zip(children, ("amd64", "arm64"), strict=True)
    ]
    fields = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}
    docker_list = parse_manifest(json.dumps(fields).encode())
    async with open_place(kind, tmp_path) as place:
        for child in children:
            await write_image(place.client.writer(PATH), child)
        await place.client.writer(PATH).put_manifest(docker_list, TAG)
        await write_image(place.client.writer(PATH), IMAGE, "oci")
        narrow = await place.raw.get(f"/v2/{PATH}/manifests/1.0", headers={"Accept": DOCKER_MANIFEST})
        blind = await place.raw.get(f"/v2/{PATH}/manifests/oci", headers={"Accept": "*/*"})

        assert await place.client.reader(PATH).head(TAG) == docker_list.descriptor
        assert (await place.client.reader(PATH).manifest(docker_list.descriptor.digest)).raw == docker_list.raw
        assert await place.client.reader(PATH).head(Tag("oci")) == IMAGE.manifest.descriptor

    assert narrow.headers["Docker-Content-Digest"] == str(children[0].digest), "the trap is there"
    assert blind.status_code == 404, "the trap is there"


@both(19)
async def test_plain_text_is_an_error_like_any_other(kind: str, tmp_path: Path) -> None:
    call = Call(method="GET", target=f"/v2/{PATH}/no/such/route", what="ask for nothing", scopes=scopes.pull(PATH))
    async with open_place(kind, tmp_path) as place:
        with pytest.raises(NotFoundError, match="404 page not found"):
            await place.client.http.request(call)


# --- listing


@both(21)
async def test_all_tags_come_at_once_however_few_are_asked_for(kind: str, tmp_path: Path) -> None:
    names = [f"v{number}" for number in range(12)]
    async with open_place(kind, tmp_path, providers=(Patient(),)) as place:
        for name in names:
            await write_image(place.client.writer(PATH), IMAGE, name)
        found = await place.client.tags(PATH)

    assert sorted(found) == sorted(names)
    assert [asked.target for asked in place.asked("GET", "/tags/list")] == [f"/v2/{PATH}/tags/list?n=5"]


@pytest.mark.parametrize("provider", [Patient, Greedy], ids=["few", "too-many"])
@both(22)
async def test_catalog_is_read_by_its_links_or_without_a_number(
    kind: str, tmp_path: Path, provider: type[Provider]
) -> None:
    paths = [f"team/app{number}" for number in range(7)]
    async with open_place(kind, tmp_path, providers=(provider(),)) as place:
        for path in paths:
            await write_image(place.client.writer(path), IMAGE, "1.0")
        found = await place.client.repositories()

    assert found == paths
    statuses = [asked.status for asked in place.asked("GET", "/v2/_catalog")]
    assert statuses == ([400, 200] if provider is Greedy else [200, 200])


@both(24)
async def test_null_in_place_of_tags_is_no_tags(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path) as place:
        await write_image(place.client.writer(PATH), IMAGE, "1.0")
        await place.client.writer(PATH).delete(IMAGE.digest)
        answer = await place.raw.get(f"/v2/{PATH}/tags/list")

        assert answer.json()["tags"] is None, "the trap is there"
        assert await place.client.tags(PATH) == []


# --- uploading


@pytest.mark.parametrize("providers", [None, (Patient(),)], ids=["whole", "chunks"])
@both(29)
async def test_location_keeps_its_state_and_the_newest_one_is_used(
    kind: str, tmp_path: Path, providers: tuple[Provider, ...] | None
) -> None:
    async with open_place(kind, tmp_path, providers=providers) as place:
        await put(place)
        assert await read(place) == CONTENT

    chunks = [asked.target for asked in place.asked("PATCH")]
    [closing] = [asked.target for asked in place.asked("PUT", "/blobs/uploads/")]
    assert len(chunks) == (3 if providers else 0)
    assert len({*chunks, closing.rpartition("&digest=")[0]}) == len(chunks) + 1, "a state of its own each time"
    assert "_state=" in closing
    assert closing.endswith(f"&digest={BLOB.digest}")


@pytest.mark.parametrize("kind", [pytest.param(REAL, id="trap-29-docker-registry", marks=pytest.mark.integration)])
async def test_relative_location_is_resolved_against_the_registry(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path, relative_locations=True) as place:
        await put(place)
        started = await place.raw.post(f"/v2/{PATH}/blobs/uploads/")

        assert started.headers["Location"].startswith("/v2/"), "the trap is there"
        assert await read(place) == CONTENT


@both(31)
async def test_range_that_may_mean_none_or_one_byte_is_not_gone_by(kind: str, tmp_path: Path) -> None:
    class ByteByByte(Patient):
        limits = Limits(chunk_size=1)

    async with open_place(kind, tmp_path, providers=(ByteByByte(),)) as place:
        await put(place, b"abc")
        assert await read(place, blob_of(b"abc")) == b"abc"

    assert [asked.status for asked in place.asked("PATCH")] == [202, 202, 202]


@both(32)
async def test_lost_answer_to_a_chunk_means_a_new_session_from_the_beginning(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path, providers=(Patient(),)) as place:
        place.lose("PATCH", 2)
        with pytest.raises(UnavailableError) as caught:
            await put(place)
        assert caught.value.retryable
        await put(place)
        assert await read(place) == CONTENT

    first, second = {asked.target.partition("?")[0].rpartition("/")[2] for asked in place.asked("PATCH")}
    assert first != second
    assert len(place.asked("PATCH")) == 2 + 3


@pytest.mark.parametrize("providers", [None, (Patient(),)], ids=["whole", "chunks"])
@both(33)
async def test_upload_whose_last_answer_was_lost_is_there(
    kind: str, tmp_path: Path, providers: tuple[Provider, ...] | None
) -> None:
    async with open_place(kind, tmp_path, providers=providers) as place:
        place.lose("PUT", 1)
        await put(place)
        assert await read(place) == CONTENT

    assert len(place.asked("POST")) == 1
    assert len(place.asked("PUT")) == 1
    assert [asked.status for asked in place.asked("HEAD", "/blobs/")] == [200]


@both(34)
async def test_body_is_never_sent_with_the_opening_post(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path) as place:
        await put(place)
        dropped = await place.raw.post(
            f"/v2/{PATH}/blobs/uploads/?digest={blob_of(b'single').digest}", content=b"single"
        )
        asked = place.asked("POST")

        assert dropped.status_code == 202, "the trap is there: the body is dropped"
        assert not await place.client.writer(PATH).has_blob(blob_of(b"single"))
    assert asked[0].target == f"/v2/{PATH}/blobs/uploads/"


@both(35)
async def test_mount_is_done_or_leaves_no_session_behind(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path) as place:
        await put(place)
        host = place.client.host
        assert await place.client.writer("team/other").mount_blob(BLOB, Repository(host, PATH))
        assert not await place.client.writer("team/third").mount_blob(BLOB, Repository(host, "team/nothing"))

        assert await place.client.writer("team/other").has_blob(BLOB)
        assert place.uploads("team/third") == []
    assert [asked.status for asked in place.asked("POST", "mount=")] == [201, 202]
    assert [asked.status for asked in place.asked("DELETE")] == [204]


# --- manifests


@both(36)
async def test_index_is_refused_until_its_children_are_there(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path) as place:
        writer = place.client.writer(PATH)
        for child in CHILDREN:
            await write_blobs(writer, child)
        with pytest.raises(MissingContentError, match="MANIFEST_BLOB_UNKNOWN"):
            await writer.put_manifest(INDEX, TAG)
        assert await writer.head(TAG) is None
        for child in CHILDREN:
            await writer.put_manifest(child.manifest)
        await writer.put_manifest(INDEX, TAG)
        await writer.delete(CHILDREN[0].digest)
        assert await writer.head(TAG) == INDEX.descriptor, "the trap is there: it says nothing of its children"
        with pytest.raises(MissingContentError):
            await writer.put_manifest(INDEX, TAG)


@both(39)
async def test_referrers_are_kept_under_a_tag_where_there_is_no_api(kind: str, tmp_path: Path) -> None:
    signature = build_artifact(IMAGE.manifest.descriptor)
    async with open_place(kind, tmp_path) as place:
        await write_image(place.client.writer(PATH), IMAGE, "1.0")
        await write_image(place.client.writer(PATH), signature)
        answer = await place.client.reader(PATH).referrers(IMAGE.digest)
        listed = await place.raw.get(f"/v2/{PATH}/tags/list")

    assert [found.digest for found in answer.descriptors] == [signature.digest]
    assert not answer.from_api
    assert sorted(listed.json()["tags"]) == sorted(["1.0", str(fallback_tag(IMAGE.digest))])
    assert 404 in {asked.status for asked in place.asked("GET", "/referrers/")}


@both(40)
async def test_tag_is_not_deleted_and_a_digest_takes_all_its_tags(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path) as place:
        writer = place.client.writer(PATH)
        for name in ("1.0", "latest"):
            await write_image(writer, IMAGE, name)
        with pytest.raises(RegistryError):
            await writer.delete(TAG)
        assert sorted(await place.client.tags(PATH)) == ["1.0", "latest"]
        await writer.delete(IMAGE.digest)
        await writer.delete(IMAGE.digest)
        assert await place.client.tags(PATH) == []

    assert [asked.status for asked in place.asked("DELETE", "/manifests/")] == [400, 202, 404]


@pytest.mark.parametrize("kind", [pytest.param(REAL, id="trap-40-docker-registry", marks=pytest.mark.integration)])
async def test_deletion_that_is_off_is_an_error_that_says_how_to_switch_it_on(kind: str, tmp_path: Path) -> None:
    async with open_place(kind, tmp_path, delete=False) as place:
        await write_image(place.client.writer(PATH), IMAGE, "1.0")
        with pytest.raises(UnsupportedError) as caught:
            await place.client.writer(PATH).delete(IMAGE.digest)

        assert "REGISTRY_STORAGE_DELETE_ENABLED" in caught.value.remedy
        assert await place.client.tags(PATH) == ["1.0"]


@both(29)
async def test_session_is_cancelled_by_its_newest_location(kind: str, tmp_path: Path) -> None:
    """The source breaks off between two chunks: the location of the beginning is dead then."""

    async def breaking() -> AsyncIterator[bytes]:
        yield CONTENT[:20_000]
        raise UnavailableError("the source broke off")

    async with open_place(kind, tmp_path, providers=(Patient(),)) as place:
        with pytest.raises(UnavailableError, match="the source broke off"):
            await place.client.writer(PATH).put_blob(BLOB, breaking())

        assert place.uploads(PATH) == []
