"""Making image layouts, and writing blobs into them: what is refused, and what is never written through."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mirrord.errors import ContentMismatchError, LayoutError
from mirrord.layout import LayoutWriter
from mirrord.layout.disk import Disk
from mirrord.oci.reference import LayoutDirectory
from tests.contract.images import (
    blob_of,
    build_image,
    stream,
    write_image,
)
from tests.unit.layout.layouts import (
    LATEST,
    UPLOADS,
    faults,
    file_of,
    listed,
    make_directory,
    names_in,
    reader_of,
    uploads,
    write_layout,
    writer_of,
)

pytestmark = pytest.mark.anyio


# --- making a layout


async def test_new_layout_is_what_the_specification_asks_for(layout: Path) -> None:
    await writer_of(layout / "with" / "parents").ensure_exists()

    made = layout / "with" / "parents"
    assert json.loads((made / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((made / "index.json").read_bytes())["manifests"] == []
    assert (made / "blobs").is_dir()
    assert stat.S_IMODE((made / UPLOADS).stat().st_mode) == 0o700


@pytest.mark.parametrize("path", ["layout", "./layout", "deep/er/layout"])
async def test_layout_may_be_named_relative_to_where_mirrord_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    await write_image(LayoutWriter(LayoutDirectory(path)), build_image(), "latest")

    assert faults(tmp_path / path) == []
    assert list(listed(tmp_path / path)) == ["latest"]


@pytest.mark.covers("E118")
async def test_layout_needs_neither_a_home_nor_a_directory_for_temporary_files(
    layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("TMPDIR", "/no/such/directory")

    await write_image(writer_of(layout), build_image(), "latest")

    assert faults(layout) == []


async def test_first_write_makes_the_layout(layout: Path) -> None:
    image = build_image()
    await write_image(writer_of(layout), image, "latest")

    assert await reader_of(layout).head(LATEST) == image.manifest.descriptor


@pytest.mark.parametrize("names", [(), ("lost+found",), (UPLOADS, "index.json.lock")], ids=["none", "disk", "begun"])
async def test_empty_directory_becomes_a_layout(layout: Path, names: tuple[str, ...]) -> None:
    make_directory(layout)
    for name in names:
        make_directory(layout / name) if not name.endswith(".lock") else (layout / name).touch()

    await writer_of(layout).ensure_exists()

    assert listed(layout) == {}


async def test_directory_of_other_things_is_refused_and_left_alone(layout: Path) -> None:
    make_directory(layout, "holiday.jpg")

    with pytest.raises(LayoutError, match="not empty and no image layout") as caught:
        await writer_of(layout).ensure_exists()

    assert "name an empty or new directory" in caught.value.remedy
    assert names_in(layout) == ["holiday.jpg"]


@pytest.mark.parametrize("parent", ["file", "file/below"], ids=["itself", "its-parent"])
async def test_path_of_a_file_is_refused(layout: Path, parent: str) -> None:
    make_directory(layout, "file")

    with pytest.raises(LayoutError) as caught:
        await writer_of(layout / parent).ensure_exists()
    assert caught.value.code == "LAYOUT_INVALID"


async def test_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    with pytest.raises(LayoutError):
        await writer_of(tmp_path / "link").ensure_exists()
    assert names_in(tmp_path) == ["link"]


async def test_layout_that_was_removed_meanwhile_is_an_error(layout: Path) -> None:
    writer = writer_of(layout)
    await writer.ensure_exists()
    os.rename(layout, layout.parent / "moved")  # noqa: PTH104 - the shortest way to make it go

    with pytest.raises(LayoutError) as caught:
        await writer.put_manifest(build_image().manifest, LATEST)
    assert caught.value.code == "LAYOUT_CHANGED"


class VanishingDisk(Disk):
    """Somebody empties the layout just when it is locked."""

    def __init__(self, layout: Path) -> None:
        self._layout = layout

    def lock(self, fd: int) -> bool:
        for name in ("oci-layout", "index.json"):
            (self._layout / name).unlink()
        return super().lock(fd)


async def test_layout_that_is_emptied_while_it_is_changed_is_an_error(layout: Path) -> None:
    await writer_of(layout).ensure_exists()

    with pytest.raises(LayoutError, match="was removed while it was written") as caught:
        await writer_of(layout, disk=VanishingDisk(layout)).delete(LATEST)
    assert caught.value.code == "LAYOUT_CHANGED"


# --- links


@pytest.mark.covers("A51")
@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", UPLOADS])
async def test_directory_that_is_a_link_is_not_written_through(layout: Path, name: str) -> None:
    write_layout(layout, [])
    outside = layout.parent / "outside"
    make_directory(outside)
    if (layout / name).exists():
        (layout / "blobs" / "sha256").rmdir()
        if name == "blobs":
            (layout / name).rmdir()
    (layout / name).symlink_to(outside)

    with pytest.raises(LayoutError) as caught:
        await write_image(writer_of(layout), build_image(), "latest")

    assert caught.value.code == "LAYOUT_INVALID"
    assert list(outside.iterdir()) == []


@pytest.mark.covers("A51")
async def test_blob_that_is_a_link_is_replaced_and_not_written_through(layout: Path) -> None:
    outside = layout.parent / "outside"
    blob = blob_of(b"content")
    write_layout(layout, [])
    outside.write_bytes(b"1234567")
    file_of(layout, blob.digest).symlink_to(outside)
    writer = writer_of(layout)

    assert not await writer.has_blob(blob)
    await writer.put_blob(blob, stream(b"content"))

    assert await writer.has_blob(blob)
    assert not file_of(layout, blob.digest).is_symlink()
    assert outside.read_bytes() == b"1234567"


async def test_lock_that_is_a_link_is_refused(layout: Path) -> None:
    write_layout(layout, [])
    (layout / "index.json.lock").symlink_to(layout.parent / "made-by-the-link")

    with pytest.raises(LayoutError):
        await write_image(writer_of(layout), build_image(), "latest")
    assert not (layout.parent / "made-by-the-link").exists()


# --- blobs


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_image_of_either_algorithm_is_written(layout: Path, algorithm: str) -> None:
    image = build_image(algorithm=algorithm)
    await write_image(writer_of(layout), image, "latest")

    assert faults(layout) == []
    assert await reader_of(layout).manifest(image.digest) == image.manifest


async def test_empty_blob_is_written(layout: Path) -> None:
    blob = blob_of(b"")
    await writer_of(layout).put_blob(blob, stream(b""))

    assert file_of(layout, blob.digest).read_bytes() == b""


async def test_blob_can_be_read_by_others_as_the_umask_allows(layout: Path) -> None:
    blob = blob_of(b"content")
    before = os.umask(0o022)
    try:
        await writer_of(layout).put_blob(blob, stream(b"content"))
    finally:
        os.umask(before)

    assert stat.S_IMODE(file_of(layout, blob.digest).stat().st_mode) == 0o644


@pytest.mark.covers("C3")
@pytest.mark.parametrize(
    ("content", "code"),
    [(b"content"[:-1], "SIZE_MISMATCH"), (b"content!", "SIZE_MISMATCH"), (b"c0ntent", "DIGEST_MISMATCH")],
    ids=["shorter", "longer", "other"],
)
async def test_blob_that_is_not_what_it_should_be_is_not_written(layout: Path, content: bytes, code: str) -> None:
    blob = blob_of(b"content")

    with pytest.raises(ContentMismatchError) as caught:
        await writer_of(layout).put_blob(blob, stream(content, 3))

    assert caught.value.code == code
    assert not file_of(layout, blob.digest).exists()
    assert uploads(layout) == []


@pytest.mark.covers("C38")
async def test_stream_without_an_end_does_not_fill_the_disk(layout: Path) -> None:
    blob = blob_of(bytes(1024 * 1024))
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield bytes(512 * 1024)

    with pytest.raises(ContentMismatchError, match="has more than 1048576 bytes"):
        await writer_of(layout).put_blob(blob, endless())
    assert given <= 4


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.covers("C20")
async def test_blob_whose_writer_is_cancelled_leaves_nothing(layout: Path) -> None:
    content = bytes(3 * 1024 * 1024)
    blob = blob_of(content)
    writer = writer_of(layout)
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count

    with anyio.CancelScope() as scope:

        async def body() -> AsyncIterator[bytes]:
            yield content[: 2 * 1024 * 1024]
            scope.cancel()
            await anyio.sleep_forever()

        await writer.put_blob(blob, body())

    assert scope.cancelled_caught
    assert uploads(layout) == []
    assert not await writer.has_blob(blob)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 3  # noqa: PTH208 - a count; threads may add pipes


async def test_damaged_blob_is_replaced_when_it_is_put_again(layout: Path) -> None:
    blob = blob_of(b"content")
    writer = writer_of(layout)
    await writer.put_blob(blob, stream(b"content"))
    file_of(layout, blob.digest).write_bytes(b"c0ntent")

    await writer.put_blob(blob, stream(b"content"))

    assert file_of(layout, blob.digest).read_bytes() == b"content"
