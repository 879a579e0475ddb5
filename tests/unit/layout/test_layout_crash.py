"""A layout stays consistent whatever fails, and at whatever instant its writer dies."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mirrord.errors import LayoutError
from mirrord.layout.disk import Disk
from tests.unit.layout.layouts import TestDisk, entries, faults, listed
from tests.unit.layout.story import END, tell

ROOT = Path(__file__).parents[3]
SHARES = 4


class KilledError(Exception):
    """The process ended here."""


def full() -> Exception:
    return OSError(errno.ENOSPC, "No space left on device")


def broken() -> Exception:
    return OSError(errno.EIO, "Input/output error")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many file calls the whole story takes."""
    disk = TestDisk()
    layout = tmp_path_factory.mktemp("whole") / "layout"
    anyio.run(tell, layout, disk)
    assert faults(layout) == []
    assert listed(layout) == END
    return len(disk.calls)


def assert_consistent(layout: Path) -> None:
    if layout.exists():
        assert faults(layout) == []


@pytest.mark.covers("C1", "C20")
@pytest.mark.parametrize(
    ("error", "dead"),
    [(KilledError, True), (full, False)],
    ids=["killed", "disk-full"],
)
@pytest.mark.parametrize("share", range(SHARES))
def test_layout_is_consistent_after_a_failure_at_every_single_call(
    tmp_path: Path, calls: int, error: Callable[[], Exception], dead: bool, share: int
) -> None:
    """After each failure the next run finishes, sends no blob twice, and ends in the same place."""
    for number in range(share, calls, SHARES):
        layout = tmp_path / str(number) / "layout"
        layout.parent.mkdir()
        there: set[str] = set()
        try:
            anyio.run(tell, layout, TestDisk(fail_at=number, error=error(), dead=dead))
        except (KilledError, LayoutError):
            assert_consistent(layout)
            there = {path.name for path in (layout / "blobs").glob("*/*")}

        sent = anyio.run(tell, layout, TestDisk())

        assert faults(layout) == [], number
        assert listed(layout) == END, number
        assert not there & {blob.digest.hex for blob in sent}, f"{number}: a blob was sent twice"


@pytest.mark.covers("C22")
def test_second_run_of_the_story_writes_nothing_that_is_there(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    anyio.run(tell, layout)
    before = {path: path.stat().st_ino for path in layout.rglob("*") if path.is_file()}

    assert anyio.run(tell, layout) == []

    after = {path: path.stat().st_ino for path in layout.rglob("*") if path.is_file()}
    assert before.keys() == after.keys()
    assert {path for path in before if "blobs" in path.parts and before[path] != after[path]} == set()


@pytest.mark.covers("C20")
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_process_killed_by_the_kernel_leaves_a_layout_that_the_next_run_finishes(
    tmp_path: Path, calls: int, part: float
) -> None:
    layout = tmp_path / "layout"
    command = [sys.executable, "-m", "tests.unit.layout.story", str(layout), str(int(calls * part))]

    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=30)

    assert done.returncode == -9, done.stderr.decode()
    assert_consistent(layout)
    anyio.run(tell, layout)
    assert faults(layout) == []
    assert listed(layout) == END


def test_every_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path) -> None:
    """So that a power cut finds either no name, or the whole file under it."""
    disk = TestDisk()
    anyio.run(tell, tmp_path / "layout", disk)

    renames = [i for i, call in enumerate(disk.calls) if call.what == "rename"]
    assert len(renames) > 10
    for i in renames:
        upload = disk.calls[i].name.partition(">")[0]
        opened = next(k for k, call in enumerate(disk.calls) if call.what == "open" and call.name == upload)
        fd = disk.calls[opened].fd
        on_file = [call.what for call in disk.calls[opened:i] if call.fd == fd and call.what in {"write", "sync"}]
        assert on_file[-1] == "sync", disk.calls[i].name
        assert disk.calls[i + 1] == ("sync", "", disk.calls[i].fd), "the name is on the disk before anything else"


def test_writer_that_finds_the_disk_full_says_so_and_leaves_no_file(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    with pytest.raises(LayoutError, match="No space left") as caught:
        anyio.run(tell, layout, TestDisk(fail_at=5, error=full(), only="write"))

    assert caught.value.code == "LAYOUT_DISK_FULL"
    assert str(layout) in str(caught.value)
    assert list((layout / ".mirrord-uploads").iterdir()) == []


def test_sync_that_fails_is_never_taken_as_written(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    disk = TestDisk(fail_at=8, error=broken(), only="sync")

    with pytest.raises(LayoutError) as caught:
        anyio.run(tell, layout, disk)

    assert caught.value.code == "LAYOUT_IO"
    assert entries(layout) == []


def test_default_disk_writes_all_of_a_piece(tmp_path: Path) -> None:
    """One call of the operating system may take a part only; a pipe of 64 KiB shows that on any machine."""
    disk = Disk()
    path = tmp_path / "file"
    fd = disk.open(path, 0o101)
    try:
        disk.write(fd, bytes(100_000))
    finally:
        os.close(fd)

    assert path.stat().st_size == 100_000
