"""What the tests of layouts share: a disk that fails, and a look at a directory that does not use mirrord."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mirrord.layout import LayoutReader, LayoutWriter
from mirrord.layout.disk import Disk
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Tag
from tests.contract.images import as_fields

REF_NAME = "org.opencontainers.image.ref.name"
UPLOADS = ".mirrord-uploads"
LATEST = Tag("latest")


class Call(NamedTuple):
    """A file call that changes something. ``fd`` is the file, or the directory that a new name stands in."""

    what: str
    name: str
    fd: int


class TestDisk(Disk):
    """Records the calls that change something, and raises ``error`` at the call of number ``fail_at``, from 0 on.

    With ``dead`` every later call fails too, as if the process had been killed: its clean-up cannot run either.
    """

    __test__ = False

    def __init__(
        self, *, fail_at: int | None = None, error: Exception | None = None, dead: bool = False, only: str = ""
    ) -> None:
        self.calls: list[Call] = []
        self._fail_at = fail_at
        self._error = error
        self._dead = dead
        self._only = only

    def _called(self, what: str, name: str, fd: int) -> None:
        if self._only and what != self._only:
            return
        number = len(self.calls)
        self.calls.append(Call(what, name, fd))
        if self._error is None or self._fail_at is None or number < self._fail_at:
            return
        if number == self._fail_at or self._dead:
            raise self._error

    def open(self, name: str | Path, flags: int, *, mode: int = 0o644, dir_fd: int | None = None) -> int:
        creates = bool(flags & os.O_CREAT)
        if creates:
            self._called("open", str(name), -1 if dir_fd is None else dir_fd)
        fd = super().open(name, flags, mode=mode, dir_fd=dir_fd)
        if creates and not self._only:
            self.calls[-1] = Call("open", str(name), fd)
        return fd

    def write(self, fd: int, piece: bytes) -> None:
        self._called("write", "", fd)
        super().write(fd, piece)

    def sync(self, fd: int) -> None:
        self._called("sync", "", fd)  # and no more: a process that dies loses nothing, and the real call is slow

    def rename(self, name: str, new_name: str, *, dir_fd: int, new_dir_fd: int) -> None:
        self._called("rename", f"{name}>{new_name}", new_dir_fd)
        super().rename(name, new_name, dir_fd=dir_fd, new_dir_fd=new_dir_fd)

    def make_directory(self, name: str | Path, *, mode: int = 0o755, dir_fd: int | None = None) -> None:
        self._called("mkdir", str(name), -1)
        super().make_directory(name, mode=mode, dir_fd=dir_fd)

    def remove(self, name: str, *, dir_fd: int) -> None:
        self._called("remove", name, dir_fd)
        super().remove(name, dir_fd=dir_fd)


def entries(layout: Path) -> list[dict[str, object]]:
    """Return the entries of index.json."""
    found = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert isinstance(found, list)
    return found


def listed(layout: Path) -> dict[str, str]:
    """Return the entries of index.json as name, or digest where there is none, to digest."""
    result = {}
    for entry in entries(layout):
        annotations = entry.get("annotations")
        name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
        digest = str(entry["digest"])
        result[str(name or digest)] = digest
    return result


def make_directory(path: Path, *names: str) -> None:
    """Make a directory with empty files in it."""
    path.mkdir()
    for name in names:
        (path / name).touch()


def write_layout(layout: Path, manifests: Sequence[object], contents: Sequence[bytes] = ()) -> None:
    """Write a layout by hand: entries of index.json, and contents under their digests."""
    (layout / "blobs" / "sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    for content in contents:
        (layout / "blobs" / "sha256" / hashlib.sha256(content).hexdigest()).write_bytes(content)


def faults(layout: Path) -> list[str]:
    """Return what is wrong with a layout: every file of it that is damaged, and all content that is missing."""
    wrong = [
        f"{path.name} has another digest"
        for path in sorted((layout / "blobs").glob("*/*"))
        if hashlib.new(path.parent.name, path.read_bytes()).hexdigest() != path.name
    ]
    if not (layout / "index.json").exists():
        if (layout / "oci-layout").exists():
            wrong.append("no index.json")
        return wrong
    waiting = [(entry, True) for entry in entries(layout)]
    while waiting:
        descriptor, is_manifest = waiting.pop()
        path = layout / "blobs" / str(descriptor["digest"]).replace(":", "/")
        if not path.is_file() or path.stat().st_size != descriptor["size"]:
            wrong.append(f"{descriptor['digest']} is missing")
        elif is_manifest:
            manifest = json.loads(path.read_bytes())
            waiting += [(child, True) for child in manifest.get("manifests", [])]
            waiting += [(blob, False) for blob in (*manifest.get("layers", []), manifest.get("config")) if blob]
    return wrong


def writer_of(layout: Path, *, disk: Disk | None = None, lock_patience_s: float = 10) -> LayoutWriter:
    """Return a writer of a directory."""
    return LayoutWriter(LayoutDirectory(str(layout)), disk=disk, lock_patience_s=lock_patience_s)


def reader_of(layout: Path, disk: Disk | None = None) -> LayoutReader:
    """Return a reader of a directory."""
    return LayoutReader(LayoutDirectory(str(layout)), disk=disk)


def tagged(descriptor: Descriptor, name: str) -> dict[str, object]:
    """Return an entry of index.json with a name."""
    return {**as_fields(descriptor), "annotations": {REF_NAME: name}}


def file_of(layout: Path, digest: Digest) -> Path:
    """Return where content lies."""
    return layout / "blobs" / digest.algorithm / digest.hex


def names_in(directory: Path) -> list[str]:
    """Return what a directory holds."""
    return sorted(path.name for path in directory.iterdir())


def uploads(layout: Path) -> list[str]:
    """Return the files that are on their way into a layout."""
    return names_in(layout / UPLOADS)
