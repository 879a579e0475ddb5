"""Several writers of one layout, and what killed ones leave."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mirrord.errors import LayoutError
from mirrord.layout.disk import Disk
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import LayoutDirectory, Tag
from tests.contract.images import (
    blob_of,
    build_image,
    stream,
    write_image,
)
from tests.unit.layout.layouts import (
    LATEST,
    UPLOADS,
    file_of,
    listed,
    make_directory,
    uploads,
    writer_of,
)

pytestmark = pytest.mark.anyio


# --- several writers


async def test_two_writers_lose_none_of_each_others_tags(layout: Path) -> None:
    first, second = writer_of(layout), writer_of(layout)
    image = build_image()
    await write_image(first, image)
    tags = [Tag(f"t{i}") for i in range(30)]

    async with anyio.create_task_group() as group:
        for i, tag in enumerate(tags):
            group.start_soon((first, second)[i % 2].put_manifest, image.manifest, tag)

    assert set(listed(layout)) == {tag.name for tag in tags}


async def test_writer_gives_up_when_the_lock_is_held_too_long(layout: Path) -> None:
    image = build_image()
    patient, impatient = writer_of(layout), writer_of(layout, lock_patience_s=0)
    await write_image(patient, image)
    await impatient.ensure_exists()
    with (layout / "index.json.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        for change in (impatient.put_manifest(image.manifest, LATEST), impatient.delete(image.digest)):
            with pytest.raises(LayoutError, match=r"another process has held index\.json\.lock") as caught:
                await change
            assert caught.value.code == "LAYOUT_BUSY"
        async with anyio.create_task_group() as group:
            group.start_soon(patient.put_manifest, image.manifest, LATEST)
            await anyio.wait_all_tasks_blocked()
            assert "latest" not in listed(layout)
            fcntl.flock(held, fcntl.LOCK_UN)

    assert "latest" in listed(layout)


async def test_layout_is_not_made_while_another_process_makes_it(layout: Path) -> None:
    make_directory(layout, "index.json.lock")
    with (layout / "index.json.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LayoutError, match="cannot make the layout") as caught:
            await writer_of(layout, lock_patience_s=0).ensure_exists()

    assert caught.value.code == "LAYOUT_BUSY"
    await writer_of(layout).ensure_exists()
    assert listed(layout) == {}


class ForeignLockDisk(Disk):
    """Another tool removes, or replaces, the lock file just when it is locked, as BuildKit does."""

    def __init__(self, layout: Path, *, replace_it: bool) -> None:
        self._file = layout / "index.json.lock"
        self._replace_it = replace_it
        self.times = 3

    def lock(self, fd: int) -> bool:
        taken = super().lock(fd)
        if self.times and self._file.exists() and os.path.samestat(self._file.stat(), os.fstat(fd)):
            self.times -= 1
            self._file.unlink()
            if self._replace_it:
                self._file.touch()
        return taken


@pytest.mark.parametrize("replace_it", [False, True], ids=["removed", "replaced"])
async def test_lock_on_a_file_that_is_gone_counts_for_nothing(layout: Path, replace_it: bool) -> None:
    disk = ForeignLockDisk(layout, replace_it=replace_it)
    await write_image(writer_of(layout, disk=disk), build_image(), "latest")

    assert disk.times == 0
    assert set(listed(layout)) == {"latest"}


# --- what killed writers leave


def leave(layout: Path, name: str, *, age_s: float) -> Path:
    path = layout / UPLOADS / name
    path.write_bytes(b"half")
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


@pytest.mark.covers("C38")
async def test_leftovers_of_killed_writers_are_removed_and_nothing_else_is(layout: Path) -> None:
    writer = writer_of(layout)
    await writer.ensure_exists()
    stale = leave(layout, "upload-" + "0" * 32, age_s=7200)
    fresh = leave(layout, "upload-" + "1" * 32, age_s=1800)
    alive = leave(layout, "upload-" + "2" * 32, age_s=7200)
    foreign = leave(layout, "upload-of-somebody-else", age_s=7200)
    outside = layout.parent / "outside"
    outside.write_bytes(b"")
    os.utime(outside, (0, 0))
    link = layout / UPLOADS / ("upload-" + "3" * 32)
    link.symlink_to(outside)
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        await writer.ensure_exists()

    assert not stale.exists()
    assert [path.exists() for path in (fresh, alive, foreign, outside)] == [True] * 4
    assert link.is_symlink()


async def test_upload_that_lasts_longer_than_an_hour_is_not_swept(layout: Path) -> None:
    """Its source may be slow: another run must not take its file away."""
    content = bytes(2 * 1024 * 1024)
    blob = blob_of(content)

    async def slow() -> AsyncIterator[bytes]:
        yield content[: 1024 * 1024]
        for name in uploads(layout):
            os.utime(layout / UPLOADS / name, (0, 0))
        await writer_of(layout).ensure_exists()
        yield content[1024 * 1024 :]

    writer = writer_of(layout)
    await writer.put_blob(blob, slow())

    assert await writer.has_blob(blob)


class NoLocksDisk(Disk):
    """A file system that has no locks."""

    def lock(self, fd: int) -> bool:
        raise OSError(95, "Operation not supported")


async def test_file_system_without_locks_is_refused_before_anything_is_listed(layout: Path) -> None:
    with pytest.raises(LayoutError, match="Operation not supported"):
        await write_image(writer_of(layout, disk=NoLocksDisk()), build_image(), "latest")
    assert not (layout / "index.json").exists()


async def test_blob_is_written_even_where_uploads_cannot_be_locked(layout: Path) -> None:
    await writer_of(layout).ensure_exists()
    blob = blob_of(b"content")

    await writer_of(layout, disk=NoLocksDisk()).put_blob(blob, stream(b"content"))

    assert file_of(layout, blob.digest).exists()


async def test_descriptor_of_another_size_is_not_there(layout: Path) -> None:
    blob = blob_of(b"content")
    writer = writer_of(layout)
    await writer.put_blob(blob, stream(b"content"))

    assert await writer.has_blob(blob)
    assert not await writer.has_blob(Descriptor(media_type="x", digest=blob.digest, size=6))
    assert writer.location == LayoutDirectory(str(layout))
