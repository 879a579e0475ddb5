"""What every `RepositoryReader` and `RepositoryWriter` does, whatever stands behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from mirrord.errors import ContentMismatchError, MissingContentError, NotFoundError, RegistryError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.listing import TagEntry
from mirrord.ports.registry import RepositoryReader
from tests.contract.images import (
    blob_of,
    build_artifact,
    build_image,
    build_index,
    stream,
    write_blobs,
    write_image,
)
from tests.contract.implementations import IMPLEMENTATIONS, Implementation, OpenedRepository

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
UNKNOWN = Digest.of(b"content that is nowhere")


@pytest.fixture(
    params=[(implementation, backend) for implementation in IMPLEMENTATIONS for backend in implementation.backends],
    ids=[
        f"{implementation.name}-{backend}" for implementation in IMPLEMENTATIONS for backend in implementation.backends
    ],
)
def case(request: pytest.FixtureRequest) -> tuple[Implementation, str]:
    found: tuple[Implementation, str] = request.param
    return found


@pytest.fixture
def anyio_backend(case: tuple[Implementation, str]) -> str:
    return case[1]


@pytest.fixture
def implementation(case: tuple[Implementation, str], require_tool: Callable[..., None]) -> Implementation:
    require_tool(*case[0].tools)
    return case[0]


@pytest.fixture
async def repository(implementation: Implementation, tmp_path: Path) -> AsyncIterator[OpenedRepository]:
    async with implementation.open(tmp_path) as opened:
        await opened.writer.ensure_exists()
        yield opened


async def tags_of(reader: RepositoryReader) -> dict[Tag, TagEntry]:
    return {entry.tag: entry async for page in reader.list_tags() for entry in page.entries}


async def content_of(reader: RepositoryReader, blob: Descriptor, offset: int = 0) -> bytes:
    async with reader.blob(blob, offset=offset) as pieces:
        return b"".join([piece async for piece in pieces])


# --- tags


async def test_listing_tells_every_tag_and_no_wrong_digest(repository: OpenedRepository) -> None:
    first, second = build_image("first"), build_image("second")
    await write_image(repository.writer, first, "1.0")
    await write_image(repository.writer, second, "2.0")
    await write_image(repository.writer, second, "latest")

    entries = await tags_of(repository.reader)

    assert set(entries) == {Tag("1.0"), Tag("2.0"), Tag("latest")}
    assert entries[Tag("1.0")].digest in {None, first.digest}
    assert entries[Tag("latest")].digest in {None, second.digest}
    assert repository.reader.listing.has_digests == (entries[Tag("1.0")].digest is not None)


async def test_listings_for_looks_tell_no_wrong_digest_and_never_fail(repository: OpenedRepository) -> None:
    image, other = build_image(), build_image("other")
    await write_image(repository.writer, image, "1.0")
    await write_image(repository.writer, other, "2.0")
    truth = {Tag("1.0"): image.digest, Tag("2.0"): other.digest}

    by_pages = {e.tag: e.digest async for page in repository.reader.bulk_tags() for e in page.entries}
    hints = [await side.tag_hints(5) for side in (repository.reader, repository.writer, repository.absent)]
    told = [{entry.tag: entry.digest for entry in hint.entries} for hint in (hints)]

    assert by_pages.keys() == truth.keys()
    for digests in (by_pages, *told):
        assert {tag: digest for tag, digest in digests.items() if digest is not None}.items() <= truth.items()
    assert told[2] == {}
    if not repository.writer.listing.has_digests:
        assert told[1] == {}


async def test_listing_of_a_repository_that_does_not_exist_is_not_found(repository: OpenedRepository) -> None:
    with pytest.raises(NotFoundError):
        await tags_of(repository.absent)


async def test_tag_that_is_put_again_points_to_the_new_manifest(repository: OpenedRepository) -> None:
    old, new = build_image("old"), build_image("new")
    await write_image(repository.writer, old, "latest")
    await write_image(repository.writer, new, "latest")

    assert await repository.reader.head(Tag("latest")) == new.manifest.descriptor
    assert set(await tags_of(repository.reader)) == {Tag("latest")}
    assert (await repository.reader.manifest(old.digest)).raw == old.manifest.raw


async def test_manifest_put_by_digest_and_then_by_tag_answers_to_both(repository: OpenedRepository) -> None:
    image = build_image()
    await write_image(repository.writer, image)
    assert await repository.writer.head(image.digest) == image.manifest.descriptor

    await repository.writer.put_manifest(image.manifest, Tag("latest"))

    assert await repository.writer.head(Tag("latest")) == image.manifest.descriptor
    assert await repository.writer.head(image.digest) == image.manifest.descriptor


# --- manifests


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.covers("C2")
async def test_manifest_comes_back_byte_for_byte(repository: OpenedRepository, docker: bool) -> None:
    image = build_image(docker=docker)
    await write_image(repository.writer, image, "latest")

    for side in (repository.reader, repository.writer):
        found = await side.manifest(image.digest)
        assert found == image.manifest
        assert found.raw == image.manifest.raw
        assert await side.head(Tag("latest")) == image.manifest.descriptor
        assert await side.head(image.digest) == image.manifest.descriptor


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
async def test_index_comes_back_with_its_children(repository: OpenedRepository, docker: bool) -> None:
    children = [build_image(architecture=name, docker=docker) for name in ("amd64", "arm64")]
    index = build_index(*(child.manifest for child in children), docker=docker)
    for child in children:
        await write_image(repository.writer, child)
    await repository.writer.put_manifest(index, Tag("multi"))

    assert await repository.reader.manifest(index.descriptor.digest) == index
    assert await repository.reader.head(Tag("multi")) == index.descriptor
    for child in children:
        assert (await repository.reader.manifest(child.digest)).raw == child.manifest.raw
    assert set(await tags_of(repository.reader)) == {Tag("multi")}


async def test_head_of_what_is_not_there_is_none(repository: OpenedRepository, implementation: Implementation) -> None:
    image = build_image()
    await write_image(repository.writer, image, "latest")

    for side in (repository.reader, repository.writer):
        assert await side.head(Tag("other")) is None
        assert await side.head(UNKNOWN) is None
        if implementation.tells_blobs_from_manifests:
            assert await side.head(image.manifest.config.digest) is None, "a blob is no manifest"
    assert await repository.absent.head(Tag("latest")) is None
    assert await repository.absent.head(image.digest) is None


async def test_manifest_that_is_not_there_is_not_found(repository: OpenedRepository) -> None:
    await write_image(repository.writer, build_image(), "latest")

    for side in (repository.reader, repository.writer, repository.absent):
        with pytest.raises(NotFoundError):
            await side.manifest(UNKNOWN)


@pytest.mark.covers("C1")
async def test_manifest_is_refused_while_a_blob_is_missing(
    repository: OpenedRepository, implementation: Implementation
) -> None:
    if not implementation.refuses_missing_blobs:
        pytest.skip("this registry takes manifests without their blobs")
    image = build_image()
    await repository.writer.put_blob(
        image.manifest.config, stream(image.contents[image.manifest.config.digest])
    )  # but not its layer

    with pytest.raises(MissingContentError):
        await repository.writer.put_manifest(image.manifest, Tag("latest"))

    assert await repository.writer.head(Tag("latest")) is None
    await write_image(repository.writer, image, "latest")
    assert await repository.writer.head(Tag("latest")) == image.manifest.descriptor


@pytest.mark.covers("C1")
async def test_index_is_refused_while_a_child_is_missing(
    repository: OpenedRepository, implementation: Implementation
) -> None:
    if not implementation.refuses_missing_children:
        pytest.skip("this registry takes indexes without their children")
    here, missing = build_image("here"), build_image("missing")
    await write_image(repository.writer, here)

    with pytest.raises(MissingContentError):
        await repository.writer.put_manifest(build_index(here.manifest, missing.manifest), Tag("latest"))

    assert await repository.writer.head(Tag("latest")) is None


async def test_index_is_taken_without_children_that_are_left_out_on_purpose_where_that_can_be(
    repository: OpenedRepository, implementation: Implementation
) -> None:
    """A registry judges by itself; a layout is told, and takes no index that lacks another child."""
    here, left_out, missing = build_image("here"), build_image("left out"), build_image("missing")
    await write_image(repository.writer, here)
    sparse = build_index(here.manifest, left_out.manifest)
    incomplete = build_index(here.manifest, left_out.manifest, missing.manifest)
    absent = frozenset({left_out.digest})

    if not implementation.takes_sparse_indexes:
        with pytest.raises(MissingContentError):
            await repository.writer.put_manifest(sparse, Tag("latest"), absent=absent)
        return
    await repository.writer.put_manifest(sparse, Tag("latest"), absent=absent)
    with pytest.raises(MissingContentError):
        await repository.writer.put_manifest(incomplete, Tag("next"), absent=absent)

    assert await repository.reader.head(Tag("latest")) == sparse.descriptor
    assert (await repository.reader.manifest(here.digest)).raw == here.manifest.raw
    assert await repository.reader.head(left_out.digest) is None
    assert await repository.writer.head(Tag("next")) is None


@pytest.mark.covers("C22")
async def test_putting_the_same_again_changes_nothing(repository: OpenedRepository) -> None:
    image = build_image()
    for _ in range(2):
        await write_image(repository.writer, image, "latest")
        await repository.writer.put_manifest(image.manifest)

    assert await repository.reader.head(Tag("latest")) == image.manifest.descriptor
    assert set(await tags_of(repository.reader)) == {Tag("latest")}


async def test_images_that_are_written_at_once_are_all_there(repository: OpenedRepository) -> None:
    images = {f"v{i}": build_image(f"image {i}") for i in range(8)}
    async with anyio.create_task_group() as group:
        for tag, image in images.items():
            group.start_soon(write_image, repository.writer, image, tag)

    for tag, image in images.items():
        assert await repository.reader.head(Tag(tag)) == image.manifest.descriptor
    assert set(await tags_of(repository.reader)) == {Tag(tag) for tag in images}


# --- blobs


@pytest.mark.parametrize("size", [1, MIB - 1, MIB, 2 * MIB + MIB // 2], ids=str)
async def test_blob_comes_back_in_pieces_of_at_most_one_mebibyte(repository: OpenedRepository, size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    blob = blob_of(content)
    await repository.writer.put_blob(blob, stream(content))

    async with repository.reader.blob(blob) as pieces:
        received = [piece async for piece in pieces]

    assert b"".join(received) == content
    assert max(len(piece) for piece in received) <= MIB


@pytest.mark.parametrize("offset", [1, 65_536, 99_999], ids=str)
@pytest.mark.covers("C21")
async def test_blob_can_be_read_from_an_offset_on(repository: OpenedRepository, offset: int) -> None:
    content = bytes(i % 251 for i in range(100_000))
    blob = blob_of(content)
    await repository.writer.put_blob(blob, stream(content))

    assert await content_of(repository.reader, blob, offset) == content[offset:]


async def test_blob_read_can_be_given_up_early(repository: OpenedRepository) -> None:
    content = bytes(3 * MIB)
    blob = blob_of(content)
    await repository.writer.put_blob(blob, stream(content))

    async with repository.reader.blob(blob) as pieces:
        async for piece in pieces:
            assert piece
            break

    assert await content_of(repository.reader, blob) == content


async def test_blob_that_is_not_there_is_not_found(repository: OpenedRepository) -> None:
    await write_image(repository.writer, build_image(), "latest")
    missing = blob_of(b"content that is nowhere")

    for reader in (repository.reader, repository.absent):
        with pytest.raises(NotFoundError):
            await content_of(reader, missing)


@pytest.mark.parametrize("wrong", [-1, 1], ids=["longer-than-said", "shorter-than-said"])
async def test_blob_of_another_size_than_said_is_an_error(repository: OpenedRepository, wrong: int) -> None:
    content = b"ten bytes!"
    blob = blob_of(content)
    await repository.writer.put_blob(blob, stream(content))
    lied = Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size + wrong)

    with pytest.raises(ContentMismatchError):
        await content_of(repository.reader, lied)


async def test_blob_is_there_only_after_it_was_put(repository: OpenedRepository) -> None:
    content = b"a blob"
    blob = blob_of(content)

    assert not await repository.writer.has_blob(blob)
    await repository.writer.put_blob(blob, stream(content))
    assert await repository.writer.has_blob(blob)
    await repository.writer.put_blob(blob, stream(content))
    assert await content_of(repository.reader, blob) == content


async def test_blob_of_another_size_counts_as_missing(repository: OpenedRepository) -> None:
    content = b"a blob"
    blob = blob_of(content)
    await repository.writer.put_blob(blob, stream(content))

    other = Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size + 1)
    assert not await repository.writer.has_blob(other)


@pytest.mark.covers("C3")
async def test_blob_of_another_digest_is_never_taken(repository: OpenedRepository) -> None:
    blob = blob_of(b"what it should be")

    with pytest.raises(RegistryError):
        await repository.writer.put_blob(blob, stream(b"what it really is"))

    assert not await repository.writer.has_blob(blob)


async def test_blob_whose_stream_fails_is_not_there_and_can_be_put_again(repository: OpenedRepository) -> None:
    content = bytes(300_000)
    blob = blob_of(content)

    async def broken() -> AsyncIterator[bytes]:
        yield content[:100_000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await repository.writer.put_blob(blob, broken())
    assert not await repository.writer.has_blob(blob)

    await repository.writer.put_blob(blob, stream(content))
    assert await repository.writer.has_blob(blob)


async def test_mount_that_the_registry_will_not_do_is_false(repository: OpenedRepository) -> None:
    blob = blob_of(b"content that is nowhere")
    origin = Repository("registry.invalid", "no/such")

    assert await repository.writer.mount_blob(blob, origin) is False
    assert not await repository.writer.has_blob(blob)


# --- referrers


@pytest.mark.covers("C9")
async def test_referrers_are_found_by_their_subject(
    repository: OpenedRepository, implementation: Implementation
) -> None:
    image, other = build_image("signed"), build_image("unsigned")
    signature = build_artifact(image.manifest.descriptor, "a signature")
    sbom = build_artifact(image.manifest.descriptor, "an sbom", artifact_type="application/spdx+json")
    await write_image(repository.writer, image, "latest")
    await write_image(repository.writer, other, "other")
    await write_image(repository.writer, signature)
    await write_image(repository.writer, sbom)

    answer = await repository.reader.referrers(image.digest)

    assert answer.from_api is implementation.referrers_from_api
    assert repository.reader.has_referrers_api is implementation.referrers_from_api
    assert {found.digest: found.artifact_type for found in answer.descriptors} == {
        signature.digest: "application/vnd.example.signature",
        sbom.digest: "application/spdx+json",
    }
    by_digest = {found.digest: found for found in answer.descriptors}
    assert by_digest[signature.digest].size == signature.manifest.descriptor.size
    assert by_digest[signature.digest].media_type == signature.manifest.descriptor.media_type
    assert by_digest[signature.digest].annotations == {"org.example.text": "a signature"}


async def test_referrers_of_what_has_none_are_none(repository: OpenedRepository) -> None:
    image = build_image()
    await write_image(repository.writer, image, "latest")

    for digest in (image.digest, UNKNOWN):
        assert (await repository.reader.referrers(digest)).descriptors == ()


# --- deletion


async def test_tag_is_deleted_and_the_others_stay(repository: OpenedRepository, implementation: Implementation) -> None:
    if not implementation.deletes_tags:
        pytest.skip("this registry cannot delete a tag alone")
    image = build_image()
    await write_image(repository.writer, image, "keep")
    await write_image(repository.writer, image, "drop")

    await repository.writer.delete(Tag("drop"))

    assert set(await tags_of(repository.reader)) == {Tag("keep")}
    assert await repository.writer.head(Tag("drop")) is None
    assert await repository.writer.head(image.digest) == image.manifest.descriptor


async def test_manifest_is_deleted_with_its_tags(repository: OpenedRepository, implementation: Implementation) -> None:
    if not implementation.deletes_manifests:
        pytest.skip("this registry cannot delete a manifest")
    keep, drop = build_image("keep"), build_image("drop")
    await write_image(repository.writer, keep, "keep")
    await write_image(repository.writer, drop, "drop")

    await repository.writer.delete(drop.digest)

    assert await repository.writer.head(drop.digest) is None
    assert await repository.writer.head(Tag("drop")) is None
    assert await repository.writer.head(Tag("keep")) == keep.manifest.descriptor


async def test_deleting_what_is_not_there_is_done_already(
    repository: OpenedRepository, implementation: Implementation
) -> None:
    image = build_image()
    await write_image(repository.writer, image, "keep")

    if implementation.deletes_tags:
        await repository.writer.delete(Tag("other"))
    if implementation.deletes_manifests:
        await repository.writer.delete(UNKNOWN)

    assert await repository.writer.head(Tag("keep")) == image.manifest.descriptor


# --- the repository


async def test_ensuring_a_repository_twice_keeps_what_it_holds(repository: OpenedRepository) -> None:
    image = build_image()
    await write_image(repository.writer, image, "latest")

    await repository.writer.ensure_exists()

    assert await repository.writer.head(Tag("latest")) == image.manifest.descriptor


async def test_reader_and_writer_speak_of_the_same_location(repository: OpenedRepository) -> None:
    assert repository.reader.location == repository.writer.location
    assert repository.absent.location != repository.reader.location


async def test_blobs_without_a_manifest_make_no_tag(repository: OpenedRepository) -> None:
    image, other = build_image("whole"), build_image("blobs alone")
    await write_image(repository.writer, image, "latest")
    await write_blobs(repository.writer, other)

    assert set(await tags_of(repository.reader)) == {Tag("latest")}
    assert await repository.reader.head(other.digest) is None
