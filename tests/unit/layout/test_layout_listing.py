"""Which manifests index.json lists after each change."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mirrord.errors import ContentMismatchError, LayoutError, MissingContentError
from mirrord.layout.directory import MAX_INDEX_SIZE
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagHints
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
from tests.unit.layout.layouts import (
    LATEST,
    REF_NAME,
    entries,
    faults,
    file_of,
    listed,
    names_in,
    reader_of,
    uploads,
    write_layout,
    writer_of,
)

pytestmark = pytest.mark.anyio


# --- manifests and what lists them


async def test_child_is_listed_only_until_its_index_is(layout: Path) -> None:
    children = [build_image(architecture=name) for name in ("amd64", "arm64")]
    index = build_index(*(child.manifest for child in children))
    writer = writer_of(layout)
    for child in children:
        await write_image(writer, child)
    assert set(listed(layout)) == {str(child.digest) for child in children}

    await writer.put_manifest(index)
    assert set(listed(layout)) == {str(index.descriptor.digest)}

    await writer.put_manifest(index, Tag("multi"))
    assert listed(layout) == {"multi": str(index.descriptor.digest)}


async def test_child_with_a_tag_of_its_own_stays_listed(layout: Path) -> None:
    child = build_image()
    index = build_index(child.manifest)
    writer = writer_of(layout)
    await write_image(writer, child, "amd64")
    await writer.put_manifest(index, Tag("multi"))

    assert set(listed(layout)) == {"amd64", "multi"}


async def test_child_with_a_subject_stays_listed_so_that_it_is_found_when_the_index_goes(layout: Path) -> None:
    image = build_image()
    signature = build_artifact(image.manifest.descriptor)
    writer = writer_of(layout)
    await write_image(writer, image, "latest")
    await write_image(writer, signature)
    await writer.put_manifest(build_index(signature.manifest), Tag("bundle"))
    await writer.delete(Tag("bundle"))

    assert [found.digest for found in (await reader_of(layout).referrers(image.digest)).descriptors] == [
        signature.digest
    ]


@pytest.mark.parametrize("move", ["tag", "delete"])
async def test_referrer_that_loses_its_tag_is_still_found(layout: Path, move: str) -> None:
    image = build_image()
    signature = build_artifact(image.manifest.descriptor)
    writer = writer_of(layout)
    await write_image(writer, image, "latest")
    await write_image(writer, signature, "signature")

    if move == "tag":
        await writer.put_manifest(image.manifest, Tag("signature"))
    else:
        await writer.delete(Tag("signature"))

    assert [found.digest for found in (await reader_of(layout).referrers(image.digest)).descriptors] == [
        signature.digest
    ]


async def test_tag_moves_away_from_a_damaged_manifest(layout: Path) -> None:
    old, new = build_image("old"), build_image("new")
    writer = writer_of(layout)
    await write_image(writer, old, "latest")
    file_of(layout, old.digest).write_bytes(b"damaged")

    await write_image(writer, new, "latest")

    assert listed(layout) == {"latest": str(new.digest)}


async def test_image_that_loses_its_last_tag_is_no_longer_listed_but_stays_reachable(layout: Path) -> None:
    old, new = build_image("old"), build_image("new")
    writer = writer_of(layout)
    await write_image(writer, old, "latest")
    await write_image(writer, new, "latest")

    assert listed(layout) == {"latest": str(new.digest)}
    assert await writer.head(old.digest) == old.manifest.descriptor


async def test_entries_of_other_tools_survive(layout: Path) -> None:
    theirs = {
        **as_fields(blob_of(b"<xml/>", "application/xml")),
        "annotations": {REF_NAME: "appendix", "org.example.note": "keep me"},
        "platform": {"os": "linux", "architecture": "riscv64"},
    }
    write_layout(layout, [theirs], [b"<xml/>"])

    await write_image(writer_of(layout), build_image(), "latest")

    assert entries(layout)[0] == theirs
    assert len(entries(layout)) == 2


@pytest.mark.covers("C22")
async def test_manifest_that_is_there_is_not_written_again(layout: Path) -> None:
    image = build_image()
    writer = writer_of(layout)
    await write_image(writer, image, "latest")
    before = [path.stat() for path in (layout / "index.json", file_of(layout, image.digest))]

    await writer.put_manifest(image.manifest, LATEST)

    after = [path.stat() for path in (layout / "index.json", file_of(layout, image.digest))]
    assert [(s.st_ino, s.st_mtime_ns) for s in after] == [(s.st_ino, s.st_mtime_ns) for s in before]


async def test_manifest_that_was_damaged_counts_as_missing_and_is_written_again(layout: Path) -> None:
    """A run can never be stuck on a file that is there but not what its name says."""
    image = build_image()
    writer = writer_of(layout)
    await write_image(writer, image, "latest")
    file_of(layout, image.digest).write_bytes(b"damaged")

    assert await writer.head(LATEST) is None
    assert await writer.head(image.digest) is None
    await writer.put_manifest(image.manifest, LATEST)

    assert await writer.head(LATEST) == image.manifest.descriptor
    assert faults(layout) == []


@pytest.mark.covers("C1")
async def test_manifest_that_needs_what_is_missing_says_what(layout: Path) -> None:
    image = build_image()
    layer = image.manifest.layers[0]
    writer = writer_of(layout)
    await write_blobs(writer, image)
    os.truncate(file_of(layout, layer.digest), layer.size - 1)

    with pytest.raises(MissingContentError, match=f"lacks the blob {layer.digest}") as caught:
        await writer.put_manifest(image.manifest, LATEST)

    assert caught.value.host == f"oci:{layout}"
    assert listed(layout) == {}
    with pytest.raises(MissingContentError, match=f"lacks the child {image.digest}"):
        await writer.put_manifest(build_index(image.manifest))


async def test_layer_that_may_be_kept_elsewhere_may_be_missing(layout: Path) -> None:
    config = blob_of(b"{}", "application/vnd.oci.image.config.v1+json")
    foreign = blob_of(b"windows", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": as_fields(config),
            "layers": [as_fields(foreign)],
        }
    ).encode()
    writer = writer_of(layout)
    await writer.put_blob(config, stream(b"{}"))

    await writer.put_manifest(parse_manifest(raw), LATEST)

    assert set(listed(layout)) == {"latest"}


async def test_subject_of_a_manifest_may_be_missing(layout: Path) -> None:
    signature = build_artifact(build_image().manifest.descriptor)
    await write_image(writer_of(layout), signature)

    assert set(listed(layout)) == {str(signature.digest)}


@pytest.mark.covers("C2")
async def test_manifest_whose_bytes_have_another_digest_is_refused(layout: Path) -> None:
    image = build_image()
    writer = writer_of(layout)
    await write_blobs(writer, image)
    forged = replace(image.manifest, raw=image.manifest.raw.replace(b"linux", b"plan9") + b" ")

    with pytest.raises(ContentMismatchError):
        await writer.put_manifest(forged, LATEST)
    assert listed(layout) == {}
    assert uploads(layout) == []


async def test_index_that_would_grow_too_large_is_left_as_it_was(layout: Path) -> None:
    image = build_image()
    write_layout(layout, [{**as_fields(image.manifest.descriptor), "annotations": {"x": "x" * (MAX_INDEX_SIZE - 400)}}])
    before = (layout / "index.json").stat().st_ino

    with pytest.raises(LayoutError, match="would have") as caught:
        await write_image(writer_of(layout), image, "a" * 128)

    assert caught.value.code == "LAYOUT_TOO_LARGE"
    assert (layout / "index.json").stat().st_ino == before


# --- deletion


async def test_deleted_manifest_takes_its_file_but_not_its_blobs(layout: Path) -> None:
    image = build_image()
    writer = writer_of(layout)
    await write_image(writer, image, "latest")

    await writer.delete(image.digest)

    assert listed(layout) == {}
    assert not file_of(layout, image.digest).exists()
    assert all(file_of(layout, blob.digest).exists() for blob in image.manifest.blobs())


@pytest.mark.covers("C1")
async def test_deleted_manifest_that_a_listed_index_contains_keeps_its_file(layout: Path) -> None:
    child = build_image()
    index = build_index(child.manifest)
    writer = writer_of(layout)
    await write_image(writer, child, "amd64")
    await writer.put_manifest(index, Tag("multi"))

    await writer.delete(child.digest)

    assert set(listed(layout)) == {"multi"}
    assert faults(layout) == []


async def test_deleting_a_digest_that_is_no_manifest_deletes_nothing(layout: Path) -> None:
    image, loose = build_image(), blob_of(b"loose")
    writer = writer_of(layout)
    await write_image(writer, image, "latest")
    await writer.put_blob(loose, stream(b"loose"))

    for digest in (loose.digest, image.manifest.config.digest, Digest.of(b"nowhere")):
        await writer.delete(digest)

    assert faults(layout) == []
    assert await writer.has_blob(loose)


async def test_manifest_that_is_damaged_can_be_deleted(layout: Path) -> None:
    image = build_image()
    writer = writer_of(layout)
    await write_image(writer, image)
    file_of(layout, image.digest).write_bytes(b"damaged")

    await writer.delete(image.digest)

    assert listed(layout) == {}
    assert not file_of(layout, image.digest).exists()


async def test_unlisted_manifests_can_be_deleted_even_if_damaged(layout: Path) -> None:
    whole, damaged = build_image("whole"), build_image("damaged")
    writer = writer_of(layout)
    for image in (whole, damaged):
        await write_image(writer, image, "latest")
    await writer.put_manifest(whole.manifest, LATEST)
    file_of(layout, damaged.digest).write_bytes(b"{}")
    await writer.delete(damaged.digest)
    await write_image(writer, build_image("third"), "latest")
    await writer.delete(whole.digest)

    assert not file_of(layout, damaged.digest).exists()
    assert not file_of(layout, whole.digest).exists()


async def test_nothing_is_removed_while_a_damaged_index_may_need_it(layout: Path) -> None:
    child, other = build_image("child"), build_image("other")
    index = build_index(child.manifest)
    writer = writer_of(layout)
    await write_image(writer, child, "child")
    await writer.put_manifest(index, Tag("multi"))
    await write_image(writer, other, "other")
    file_of(layout, index.descriptor.digest).write_bytes(b"damaged")

    await writer.delete(child.digest)

    assert set(listed(layout)) == {"multi", "other"}
    assert file_of(layout, child.digest).exists()


async def test_deleting_from_a_layout_that_does_not_exist_makes_none(layout: Path) -> None:
    await writer_of(layout).delete(LATEST)
    await writer_of(layout).delete(Digest.of(b"nowhere"))

    assert names_in(layout.parent) == []


# --- hints


async def test_hints_of_a_source_are_all_its_tags_and_a_target_has_none(layout: Path) -> None:
    image = build_image()
    await write_image(writer_of(layout), image, "1.0")

    hints = await reader_of(layout).tag_hints(1)

    assert hints.whole
    assert {entry.tag: entry.digest for entry in hints.entries} == {Tag("1.0"): image.digest}
    assert await writer_of(layout).tag_hints(1) == TagHints()
    assert not writer_of(layout).listing.has_digests


async def test_hints_of_a_layout_that_cannot_be_read_are_none(layout: Path) -> None:
    await write_image(writer_of(layout), build_image(), "1.0")
    (layout / "index.json").write_text("no JSON")

    assert await reader_of(layout).tag_hints(1) == TagHints()
