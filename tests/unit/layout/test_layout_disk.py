"""How often a layout is read, and what the operating system's refusals are called."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mirrord.errors import (
    LayoutError,
)
from mirrord.layout import LayoutReader
from mirrord.layout.contents import Contents
from mirrord.layout.directory import Directory
from mirrord.layout.disk import Disk, layout_error
from mirrord.oci.reference import LayoutDirectory
from tests.contract.images import as_fields, build_artifact, build_image
from tests.unit.layout.layouts import (
    reader_of,
    write_layout,
)

pytestmark = pytest.mark.anyio

IMAGE = build_image()
DIGEST = IMAGE.digest


async def tags_of(reader: LayoutReader) -> list[str]:
    return [entry.tag.name async for page in reader.list_tags() for entry in page.entries]


# --- how often it is read


class CountingDisk(Disk):
    """Counts how often each file is opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, name: str | Path, flags: int, *, mode: int = 0o644, dir_fd: int | None = None) -> int:
        self.opened.append(Path(name).name)
        return super().open(name, flags, mode=mode, dir_fd=dir_fd)


def test_index_that_stays_the_same_is_read_once(layout: Path) -> None:
    signature = build_artifact(IMAGE.manifest.descriptor)
    write_layout(layout, [as_fields(signature.manifest.descriptor)], [signature.manifest.raw])
    disk = CountingDisk()
    settled = (layout / "index.json").stat().st_ctime_ns + 3_000_000_000
    contents = Contents(Directory(LayoutDirectory(str(layout)), disk), now_ns=lambda: settled)

    for _ in range(3):
        assert len(contents.referrers(DIGEST)) == 1

    assert sorted(disk.opened) == sorted([signature.digest.hex, "index.json", "oci-layout"])
    write_layout_again = (layout / "index.json").read_text() + "\n"
    (layout / "index.json").write_text(write_layout_again)
    contents.index()
    assert disk.opened.count("index.json") == 2
    (layout / "index.json").unlink()
    with pytest.raises(LayoutError):
        contents.index()


def test_index_that_changed_a_moment_ago_is_read_each_time(layout: Path) -> None:
    """Two changes within one tick of the file system's clock look the same from outside."""
    write_layout(layout, [])
    disk = CountingDisk()
    just_now = (layout / "index.json").stat().st_ctime_ns + 1_000_000_000
    contents = Contents(Directory(LayoutDirectory(str(layout)), disk), now_ns=lambda: just_now)

    contents.index()
    contents.index()

    assert disk.opened.count("index.json") == 2


# --- failures of the operating system


class FailingDisk(Disk):
    """Opens nothing."""

    def __init__(self, number: int) -> None:
        self._number = number

    def open(self, name: str | Path, flags: int, *, mode: int = 0o644, dir_fd: int | None = None) -> int:
        raise OSError(self._number, os.strerror(self._number), str(name))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, "LAYOUT_DENIED"),
        (errno.EPERM, "LAYOUT_DENIED"),
        (errno.EROFS, "LAYOUT_READ_ONLY"),
        (errno.ENOSPC, "LAYOUT_DISK_FULL"),
        (errno.EDQUOT, "LAYOUT_DISK_FULL"),
        (errno.ELOOP, "LAYOUT_INVALID"),
        (errno.EMFILE, "LAYOUT_IO"),
        (errno.EIO, "LAYOUT_IO"),
    ],
    ids=lambda value: value if isinstance(value, str) else errno.errorcode[value],
)
async def test_refusal_of_the_system_names_the_cause_the_place_and_the_remedy(
    layout: Path, number: int, code: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        await tags_of(reader_of(layout, FailingDisk(number)))

    assert caught.value.code == code
    assert os.strerror(number) in str(caught.value)
    assert f"oci:{layout}: cannot list the tags" in str(caught.value)
    assert caught.value.remedy


def test_failure_without_a_number_is_still_told() -> None:
    assert str(layout_error(OSError("odd"), "read it", "oci:x")) == (
        "LAYOUT_IO: oci:x: cannot read it: odd; check the disk and the system's log"
    )


def test_listing_tells_all_tags_in_one_page_with_digests(layout: Path) -> None:
    assert reader_of(layout).listing.has_digests
    assert reader_of(layout).listing.page_size >= 100_000
