"""Reading image layouts, of other tools' making and damaged ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mirrord.errors import (
    ContentMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    LayoutError,
    NotFoundError,
)
from mirrord.layout import LayoutReader
from mirrord.layout.directory import MAX_INDEX_SIZE
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import MAX_MANIFEST_SIZE
from mirrord.oci.mediatype import OCI_MANIFEST
from mirrord.oci.reference import Tag
from tests.contract.images import as_fields, blob_of, build_image, build_index
from tests.unit.layout.layouts import (
    file_of,
    make_directory,
    reader_of,
    tagged,
    write_layout,
)

pytestmark = pytest.mark.anyio

IMAGE = build_image()
DIGEST = IMAGE.digest


async def tags_of(reader: LayoutReader) -> list[str]:
    return [entry.tag.name async for page in reader.list_tags() for entry in page.entries]


# --- what is a layout


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
async def test_directory_without_a_layout_has_nothing(layout: Path, there: bool) -> None:
    if there:
        make_directory(layout)
    reader = reader_of(layout)

    with pytest.raises(NotFoundError, match="there is no image layout"):
        await tags_of(reader)
    assert await reader.head(Tag("latest")) is None
    assert await reader.head(DIGEST) is None
    assert (await reader.referrers(DIGEST)).descriptors == ()
    with pytest.raises(NotFoundError, match="no image layout yet"):
        await reader.manifest(DIGEST)


async def test_directory_of_other_things_is_no_layout(layout: Path) -> None:
    make_directory(layout, "holiday.jpg")

    with pytest.raises(LayoutError, match='lacks the file "oci-layout"') as caught:
        await tags_of(reader_of(layout))
    assert caught.value.code == "LAYOUT_INVALID"


async def test_blobs_without_a_mark_are_no_layout(layout: Path) -> None:
    write_layout(layout, [])
    (layout / "oci-layout").unlink()

    with pytest.raises(LayoutError, match="not empty and no image layout"):
        await tags_of(reader_of(layout))


async def test_file_is_no_layout(layout: Path) -> None:
    make_directory(layout.parent / "holder", "layout")
    layout = layout.parent / "holder" / "layout"

    with pytest.raises(LayoutError, match="Not a directory") as caught:
        await tags_of(reader_of(layout))
    assert caught.value.code == "LAYOUT_INVALID"


@pytest.mark.parametrize(
    ("mark", "code", "text"),
    [
        ('{"imageLayoutVersion": "2.0.0"}', "LAYOUT_VERSION_UNSUPPORTED", r"'2\.0\.0'"),
        ("{}", "LAYOUT_VERSION_UNSUPPORTED", "None"),
        ("", "LAYOUT_INVALID", "oci-layout is not JSON"),
    ],
    ids=["newer", "none", "empty"],
)
async def test_layout_of_another_version_is_refused(layout: Path, mark: str, code: str, text: str) -> None:
    write_layout(layout, [])
    (layout / "oci-layout").write_text(mark)

    with pytest.raises(LayoutError, match=text) as caught:
        await tags_of(reader_of(layout))
    assert caught.value.code == code


async def test_layout_that_lost_its_index_is_damaged_not_empty(layout: Path) -> None:
    write_layout(layout, [])
    (layout / "index.json").unlink()

    with pytest.raises(LayoutError, match=r"an image layout without index\.json"):
        await tags_of(reader_of(layout))


@pytest.mark.covers("C37")
async def test_index_too_large_to_be_one_is_not_read(layout: Path) -> None:
    write_layout(layout, [])
    os.truncate(layout / "index.json", MAX_INDEX_SIZE + 1)

    with pytest.raises(LayoutError, match="at most 33554432 are read") as caught:
        await tags_of(reader_of(layout))
    assert caught.value.code == "LAYOUT_TOO_LARGE"


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
async def test_pipe_in_the_place_of_a_file_is_refused_at_once(layout: Path, name: str) -> None:
    write_layout(layout, [])
    (layout / name).unlink()
    os.mkfifo(layout / name)

    with pytest.raises(LayoutError, match=f"{name} is no regular file"):
        await tags_of(reader_of(layout))


# --- manifests


async def test_untagged_manifest_of_another_tool_is_reached_by_digest(layout: Path) -> None:
    write_layout(layout, [as_fields(IMAGE.manifest.descriptor)], [IMAGE.manifest.raw])
    reader = reader_of(layout)

    assert await reader.head(DIGEST) == IMAGE.manifest.descriptor
    assert await reader.manifest(DIGEST) == IMAGE.manifest
    assert await tags_of(reader) == []


async def test_manifest_that_nothing_lists_is_reached_by_digest(layout: Path) -> None:
    write_layout(layout, [], [IMAGE.manifest.raw])

    assert await reader_of(layout).head(DIGEST) == IMAGE.manifest.descriptor
    assert await reader_of(layout).manifest(DIGEST) == IMAGE.manifest


async def test_media_type_comes_from_the_entry_where_the_manifest_has_none(layout: Path) -> None:
    untyped = build_image(typed=False)
    write_layout(layout, [tagged(untyped.manifest.descriptor, "latest")], [untyped.manifest.raw])

    assert (await reader_of(layout).manifest(untyped.digest)).descriptor.media_type == OCI_MANIFEST
    assert await reader_of(layout).head(Tag("latest")) == untyped.manifest.descriptor


async def test_media_type_comes_from_the_parent_where_nothing_else_tells_it(layout: Path) -> None:
    untyped = build_image(typed=False)
    inner = build_index(IMAGE.manifest, untyped.manifest)
    outer = build_index(inner)
    write_layout(
        layout,
        [tagged(outer.descriptor, "latest")],
        [outer.raw, inner.raw, untyped.manifest.raw],
    )
    reader = reader_of(layout)

    assert await reader.head(untyped.digest) == untyped.manifest.descriptor
    assert (await reader.manifest(untyped.digest)).descriptor.media_type == OCI_MANIFEST


async def test_manifest_whose_type_nobody_tells_is_refused(layout: Path) -> None:
    untyped = build_image(typed=False)
    write_layout(layout, [tagged(IMAGE.manifest.descriptor, "latest")], [untyped.manifest.raw, IMAGE.manifest.raw])

    assert await reader_of(layout).head(untyped.digest) is None
    with pytest.raises(InvalidManifestError) as caught:
        await reader_of(layout).manifest(untyped.digest)
    assert caught.value.code == "MEDIA_TYPE_MISSING"


async def test_tag_whose_manifest_is_missing_is_an_error_not_an_absent_tag(layout: Path) -> None:
    write_layout(layout, [tagged(IMAGE.manifest.descriptor, "latest")])

    with pytest.raises(NotFoundError, match=f"does not hold {DIGEST}"):
        await reader_of(layout).head(Tag("latest"))


@pytest.mark.covers("C3")
@pytest.mark.parametrize("ref", [Tag("latest"), DIGEST], ids=["tag", "digest"])
async def test_damaged_manifest_is_never_returned(layout: Path, ref: Tag | Digest) -> None:
    write_layout(layout, [tagged(IMAGE.manifest.descriptor, "latest")])
    file_of(layout, DIGEST).write_bytes(IMAGE.manifest.raw[:-1] + b" ")

    with pytest.raises(ContentMismatchError, match="has the digest sha256:") as caught:
        await reader_of(layout).head(ref)
    assert caught.value.host == f"oci:{layout}"
    with pytest.raises(ContentMismatchError):
        await reader_of(layout).manifest(DIGEST)


@pytest.mark.covers("C37")
async def test_manifest_too_large_to_be_one_is_not_read(layout: Path) -> None:
    write_layout(layout, [tagged(IMAGE.manifest.descriptor, "latest")], [IMAGE.manifest.raw])
    os.truncate(file_of(layout, DIGEST), MAX_MANIFEST_SIZE + 1)

    with pytest.raises(InvalidManifestError) as caught:
        await reader_of(layout).manifest(DIGEST)
    assert caught.value.code == "MANIFEST_TOO_LARGE"


@pytest.mark.covers("A51")
async def test_tag_with_a_path_for_a_digest_opens_no_file(layout: Path) -> None:
    write_layout(layout, [{**tagged(IMAGE.manifest.descriptor, "latest"), "digest": "sha256:../../../secret"}])
    (layout.parent / "secret").write_bytes(IMAGE.manifest.raw)

    with pytest.raises(InvalidDigestError, match="DIGEST_INVALID"):
        await reader_of(layout).head(Tag("latest"))


# --- blobs


async def test_blob_that_is_a_link_is_read(layout: Path) -> None:
    write_layout(layout, [])
    (layout.parent / "elsewhere").write_bytes(b"content")
    blob = blob_of(b"content")
    file_of(layout, blob.digest).symlink_to(layout.parent / "elsewhere")

    async with reader_of(layout).blob(blob) as pieces:
        assert [piece async for piece in pieces] == [b"content"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
async def test_blob_that_is_no_file_is_refused_at_once(layout: Path, make: Callable[[Path], None]) -> None:
    write_layout(layout, [])
    blob = blob_of(b"content")
    make(file_of(layout, blob.digest))

    with pytest.raises(LayoutError, match="is no regular file"):
        async with reader_of(layout).blob(blob):
            pass


async def test_blob_that_gets_shorter_while_it_is_read_is_an_error(layout: Path) -> None:
    content = bytes(3 * 1024 * 1024)
    blob = blob_of(content)
    write_layout(layout, [], [content])

    async with reader_of(layout).blob(blob) as pieces:
        assert len(await anext(pieces)) == 1024 * 1024
        os.truncate(file_of(layout, blob.digest), 1024 * 1024)
        with pytest.raises(ContentMismatchError, match="has 1048576 bytes instead of 3145728"):
            await anext(pieces)


@pytest.mark.parametrize("content", [b"", b"content"], ids=["empty", "at-its-end"])
async def test_blob_of_which_nothing_is_left_to_read_ends_at_once(layout: Path, content: bytes) -> None:
    write_layout(layout, [], [content])

    async with reader_of(layout).blob(blob_of(content), offset=len(content)) as pieces:
        assert [piece async for piece in pieces] == []


@pytest.mark.parametrize("offset", [-1, 8])
async def test_blob_has_nothing_outside_of_itself(layout: Path, offset: int) -> None:
    write_layout(layout, [], [b"content"])

    with pytest.raises(ValueError, match="of a blob of 7 bytes"):
        async with reader_of(layout).blob(blob_of(b"content"), offset=offset):
            pass


async def test_blob_of_sha512_is_read(layout: Path) -> None:
    write_layout(layout, [])
    blob = blob_of(b"content", algorithm="sha512")
    file_of(layout, blob.digest).parent.mkdir()
    file_of(layout, blob.digest).write_bytes(b"content")

    async with reader_of(layout).blob(blob) as pieces:
        assert [piece async for piece in pieces] == [b"content"]


async def test_blobs_leave_no_open_file_behind(layout: Path) -> None:
    content = bytes(2 * 1024 * 1024)
    write_layout(layout, [], [content])
    reader = reader_of(layout)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count

    for _ in range(20):
        with anyio.CancelScope() as scope:
            async with reader.blob(blob_of(content)) as pieces:
                async for _ in pieces:
                    scope.cancel()

    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208 - a count
