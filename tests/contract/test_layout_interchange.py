"""Layouts go to other tools and come back: skopeo and buildah are the witnesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrord.layout import LayoutReader, LayoutWriter
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.manifest import AnyManifest, Manifest
from mirrord.oci.reference import LayoutDirectory, Tag
from tests.contract.images import BuiltImage, build_image, build_index, write_image
from tests.integration.tools import Buildah, Skopeo

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

LATEST = Tag("latest")


@pytest.fixture
def skopeo(tmp_path: Path, require_tool: Callable[..., None]) -> Skopeo:
    require_tool("skopeo")
    work = tmp_path / "skopeo"
    work.mkdir()
    return Skopeo(work)


@pytest.fixture
def buildah(tmp_path: Path, require_tool: Callable[..., None]) -> Buildah:
    require_tool("buildah")
    work = tmp_path / "buildah"
    work.mkdir()
    return Buildah(work)


def reader_of(layout: Path) -> LayoutReader:
    return LayoutReader(LayoutDirectory(str(layout)))


def writer_of(layout: Path) -> LayoutWriter:
    return LayoutWriter(LayoutDirectory(str(layout)))


async def read_whole(reader: LayoutReader, manifest: AnyManifest) -> int:
    """Read a manifest and all below it, check every blob, and return how many blobs there are."""
    count = 0
    for child in manifest.children():
        count += await read_whole(reader, await reader.manifest(child.digest))
    for blob in manifest.blobs():
        verifier = blob.digest.verifier()
        async with reader.blob(blob) as pieces:
            async for piece in pieces:
                verifier.update(piece)
        assert verifier.matches()
        count += 1
    return count


async def root_of(reader: LayoutReader, tag: Tag = LATEST) -> Descriptor:
    found = await reader.head(tag)
    assert found is not None
    return found


async def write_multi(layout: Path) -> tuple[AnyManifest, list[BuiltImage]]:
    """Write a layout with an index over two images and one more image; return the index and all images."""
    images = [build_image(f"for {name}", architecture=name, padding=70_000) for name in ("amd64", "arm64")]
    index = build_index(*(image.manifest for image in images))
    single = build_image("alone")
    writer = writer_of(layout)
    for image in images:
        await write_image(writer, image)
    await writer.put_manifest(index, Tag("multi"))
    await write_image(writer, single, "single")
    return index, [*images, single]


async def test_skopeo_copies_what_mirrord_wrote_with_the_same_digests(tmp_path: Path, skopeo: Skopeo) -> None:
    index, images = await write_multi(tmp_path / "ours")

    skopeo.run("copy", "--all", f"oci:{tmp_path / 'ours'}:multi", f"oci:{tmp_path / 'theirs'}:multi")
    skopeo.run("copy", f"oci:{tmp_path / 'ours'}:single", f"oci:{tmp_path / 'theirs'}:single")

    theirs = reader_of(tmp_path / "theirs")
    assert await root_of(theirs, Tag("multi")) == index.descriptor
    assert await root_of(theirs, Tag("single")) == images[-1].manifest.descriptor
    assert await read_whole(theirs, await theirs.manifest(index.descriptor.digest)) == 6
    assert await read_whole(theirs, await theirs.manifest(images[-1].digest)) == 2


async def test_skopeo_inspects_what_mirrord_wrote(tmp_path: Path, skopeo: Skopeo) -> None:
    _, images = await write_multi(tmp_path / "ours")

    told = json.loads(skopeo.run("inspect", f"oci:{tmp_path / 'ours'}:single"))
    raw = skopeo.run("inspect", "--raw", f"oci:{tmp_path / 'ours'}:single")

    assert told["Digest"] == str(images[-1].digest)
    assert told["Architecture"] == "amd64"
    assert told["Layers"] == [str(layer.digest) for layer in images[-1].manifest.layers]
    assert raw.encode() == images[-1].manifest.raw


async def test_layout_that_skopeo_wrote_into_as_well_keeps_both_hands_tags(tmp_path: Path, skopeo: Skopeo) -> None:
    layout = tmp_path / "shared"
    await write_image(writer_of(layout), build_image("first"), "first")
    skopeo.run("copy", f"oci:{layout}:first", f"oci:{layout}:second")
    await write_image(writer_of(layout), build_image("third"), "third")
    skopeo.run("copy", f"oci:{layout}:third", f"oci:{layout}:first")

    pages = [page async for page in reader_of(layout).list_tags()]

    assert {entry.tag.name: entry.digest for page in pages for entry in page.entries} == {
        "first": build_image("third").digest,
        "second": build_image("first").digest,
        "third": build_image("third").digest,
    }


async def test_what_buildah_built_is_read_and_written_again(tmp_path: Path, buildah: Buildah, skopeo: Skopeo) -> None:
    buildah.save(buildah.build("hello", texts={"/hello": "hello from buildah"}), tmp_path / "built")
    theirs = reader_of(tmp_path / "built")
    root = await root_of(theirs)
    manifest = await theirs.manifest(root.digest)
    assert isinstance(manifest, Manifest)
    assert await read_whole(theirs, manifest) == 2

    ours = writer_of(tmp_path / "ours")
    for blob in manifest.blobs():
        async with theirs.blob(blob) as pieces:
            await ours.put_blob(blob, pieces)
    await ours.put_manifest(manifest, LATEST)

    assert json.loads(skopeo.run("inspect", f"oci:{tmp_path / 'ours'}:latest"))["Digest"] == str(root.digest)


async def test_index_that_buildah_wrote_is_read_whole(tmp_path: Path, buildah: Buildah) -> None:
    images = [
        buildah.build(f"localhost/hello-{name}", texts={"/hello": name}, architecture=name)
        for name in ("amd64", "arm64")
    ]
    buildah.save_index("localhost/hello", images, tmp_path / "built")
    theirs = reader_of(tmp_path / "built")

    root = await root_of(theirs)

    assert root.is_index
    assert await read_whole(theirs, await theirs.manifest(root.digest)) == 4
