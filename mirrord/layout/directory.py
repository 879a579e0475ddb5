"""Where things lie in a layout directory, and how they are opened without being led astray.

Every path is made of fixed names and of checked digests; no name ever comes from a tag or an annotation.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mirrord.errors import ContentMismatchError, InvalidManifestError, LayoutError, NotFoundError, quote
from mirrord.layout.disk import Disk
from mirrord.oci.digest import Digest
from mirrord.oci.jsontext import parse_object
from mirrord.oci.manifest import MAX_MANIFEST_SIZE
from mirrord.oci.reference import LayoutDirectory

MARK = "oci-layout"
INDEX = "index.json"
BLOBS = "blobs"
LOCK = "index.json.lock"
"""The name under which BuildKit locks a layout too."""
UPLOADS = ".mirrord-uploads"
VERSION = "1.0.0"
MAX_INDEX_SIZE = 32 * 1024 * 1024

_MAX_MARK_SIZE = 64 * 1024
_UNFINISHED = frozenset({INDEX, BLOBS, LOCK, UPLOADS, "lost+found"})
"""What a directory may hold that is to become a layout: a fresh file system, or a creation that was interrupted."""
_READ = os.O_RDONLY | os.O_NONBLOCK  # a pipe under a blob's name must not block the thread that opens it
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Directory:
    """A layout directory. All methods block and raise OSError where the operating system refuses."""

    def __init__(self, location: LayoutDirectory, disk: Disk) -> None:
        self.location = location
        self.path = Path(location.path)
        self.disk = disk

    def exists(self) -> bool:
        """Say whether there is a layout; False for a directory that is missing, empty, or not finished.

        Raises:
            LayoutError: there is something else (LAYOUT_INVALID), or a layout of another version
                (LAYOUT_VERSION_UNSUPPORTED).
        """
        try:
            with self.opened_file(self.path / MARK) as (fd, size):
                raw = self.read_all(fd, min(size, _MAX_MARK_SIZE))
        except FileNotFoundError:
            return self._refuse_other_directory()
        self._check_version(raw)
        return True

    def _refuse_other_directory(self) -> bool:
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except FileNotFoundError:
            return False
        if names <= _UNFINISHED and not (BLOBS in names and any((self.path / BLOBS).iterdir())):
            return False
        raise LayoutError(
            f'{self.location} is not empty and no image layout: it lacks the file "{MARK}"',
            remedy="name an empty or new directory, or an image layout",
        )

    def _check_version(self, raw: bytes) -> None:
        try:
            version = parse_object(raw, MARK).get("imageLayoutVersion")
        except InvalidManifestError as exc:
            raise LayoutError(
                f"{self.location}: {exc.message}", remedy=f'it should read {{"imageLayoutVersion": "{VERSION}"}}'
            ) from exc
        if version != VERSION:
            raise LayoutError(
                f"{self.location} is an image layout of the version {quote(repr(version), 40)}",
                code="LAYOUT_VERSION_UNSUPPORTED",
                remedy=f"mirrord knows version {VERSION}, the only one that is specified",
            )

    @contextmanager
    def opened_file(self, path: Path) -> Iterator[tuple[int, int]]:
        """Open a regular file for reading; yields (file descriptor, size in bytes).

        Links are followed: build tools lay out blobs as links, and what is read is checked against its digest.
        """
        fd, size = self.open_file(path)
        try:
            yield fd, size
        finally:
            os.close(fd)

    def open_file(self, path: Path) -> tuple[int, int]:
        """Do as `opened_file`; the caller closes the file descriptor."""
        fd = self.disk.open(path, _READ)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise LayoutError(
                f"{self.location}: {path.relative_to(self.path)} is no regular file",
                remedy="remove it, and write the layout again",
            )
        return fd, status.st_size

    def open_blob(self, digest: Digest) -> tuple[int, int]:
        """Open content; returns (file descriptor, size in bytes), and the caller closes it.

        Raises:
            NotFoundError: the layout does not hold it.
        """
        try:
            return self.open_file(self.blob_path(digest))
        except FileNotFoundError:
            raise self.absent(f"{self.location} does not hold {digest}", f"{BLOBS}/{digest.algorithm}") from None

    def blob_path(self, digest: Digest) -> Path:
        """Return where content lies."""
        return self.path / BLOBS / digest.algorithm / digest.hex

    def holds(self, digest: Digest, size: int) -> bool:
        """Say whether there is a regular file of ``size`` bytes for ``digest``; a link is none."""
        try:
            status = self.blob_path(digest).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    def read_manifest(self, digest: Digest) -> bytes:
        """Return the bytes of a manifest, verified.

        Raises:
            NotFoundError: the layout does not hold it.
            ContentMismatchError: the bytes do not have the digest.
            InvalidManifestError: it is too large to be a manifest (MANIFEST_TOO_LARGE).
        """
        fd, size = self.open_blob(digest)
        try:
            if size > MAX_MANIFEST_SIZE:
                raise InvalidManifestError(
                    f"{self.location}@{digest} has {size} bytes; at most {MAX_MANIFEST_SIZE} are read as a manifest",
                    code="MANIFEST_TOO_LARGE",
                )
            raw = self.read_all(fd, size)
        finally:
            os.close(fd)
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            raise ContentMismatchError(
                f"{self.location}: the file of {digest} has the digest {actual}",
                host=self.location.host,
                remedy="the layout is damaged there; write that image again from its source",
            )
        return raw

    def read_all(self, fd: int, size: int) -> bytes:
        """Return at most ``size`` bytes of a file."""
        pieces = bytearray()
        while len(pieces) < size and (piece := self.disk.read(fd, size - len(pieces), len(pieces))):
            pieces += piece
        return bytes(pieces)

    @contextmanager
    def opened(self, *names: str) -> Iterator[int]:
        """Open a directory below the layout's own, link by link refused; yields its file descriptor."""
        fd = self.disk.open(self.path, _DIRECTORY)
        try:
            for name in names:
                inner = self.disk.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def make(self, *names: str, mode: int = 0o755) -> None:
        """Make a directory below the layout's own; nothing if there is one."""
        with self.opened(*names[:-1]) as fd, suppress(FileExistsError):
            self.disk.make_directory(names[-1], mode=mode, dir_fd=fd)
            self.disk.sync(fd)

    def absent(self, message: str, path: str = "") -> NotFoundError:
        """Return the error for content that the layout does not hold."""
        return NotFoundError(
            message, host=self.location.host, path=path, remedy="check the path and the name, or write it again"
        )
