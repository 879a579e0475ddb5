"""Files on their way into a layout: complete, verified and on the disk before they get their name."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from mirrord.errors import ContentMismatchError
from mirrord.layout.directory import BLOBS, UPLOADS, Directory
from mirrord.oci.digest import Digest

STALE_S = 3600.0
_NAME = re.compile(r"upload-[0-9a-f]{32}")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PROBE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK


class Incoming:
    """A file of a random name in a private directory of the layout, so that its last step is a rename.

    Its lock tells `sweep` that its writer lives. All methods block; they may be called from any thread, one at a
    time takes effect, and `discard` must be called last, whatever happened.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._disk = directory.disk
        self._turn = threading.Lock()  # a loop that is torn down may call discard while a thread still writes
        self._size = 0
        self._name = f"upload-{secrets.token_hex(16)}"
        self._placed = False
        self._fd = -1
        with directory.opened(UPLOADS) as uploads:
            self._fd = self._disk.open(self._name, _CREATE, dir_fd=uploads)
            with suppress(OSError):  # without locks on this file system its age alone protects the file
                self._disk.lock(self._fd)

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return self._size

    def write(self, pieces: Iterable[bytes]) -> None:
        """Append pieces."""
        with self._turn:
            for piece in pieces:
                self._disk.write(self._fd, piece)
                self._size += len(piece)

    def place(self, name: str, *folders: str) -> None:
        """Give the file its name in the folder, once it is on the disk; returns when the name is there too."""
        with self._turn:
            self._disk.sync(self._fd)
            with self._directory.opened(UPLOADS) as uploads, self._directory.opened(*folders) as folder:
                self._disk.rename(self._name, name, dir_fd=uploads, new_dir_fd=folder)
                self._placed = True
                self._disk.sync(folder)

    def discard(self) -> None:
        """Close the file, and remove it if it was not placed."""
        with self._turn:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            if not self._placed:
                with suppress(OSError), self._directory.opened(UPLOADS) as uploads:  # sweep takes what stays
                    self._disk.remove(self._name, dir_fd=uploads)


class IncomingBlob:
    """Content on its way to ``blobs/``; it gets its name only if it has the size and digest that the name says."""

    def __init__(self, directory: Directory, digest: Digest, size: int) -> None:
        self._directory = directory
        self._digest = digest
        self._size = size
        self._verifier = digest.verifier()
        self._file = Incoming(directory)

    def write(self, pieces: Iterable[bytes]) -> None:
        """Append pieces.

        Raises:
            ContentMismatchError: they are more than the blob should have; the disk is not filled with them.
        """
        for piece in pieces:
            if self._file.size + len(piece) > self._size:
                raise self._mismatch(f"has more than {self._size} bytes", "SIZE_MISMATCH")
            self._verifier.update(piece)
            self._file.write((piece,))

    def finish(self, pieces: Iterable[bytes]) -> None:
        """Append the last pieces, verify, and place the blob.

        Raises:
            ContentMismatchError: size or digest are wrong; nothing was placed.
        """
        self.write(pieces)
        if self._file.size != self._size:
            raise self._mismatch(f"ended after {self._file.size} of {self._size} bytes", "SIZE_MISMATCH")
        if not self._verifier.matches():
            raise self._mismatch(f"has the digest {self._verifier.actual()}", None)
        self._directory.make(BLOBS, self._digest.algorithm)
        self._file.place(self._digest.hex, BLOBS, self._digest.algorithm)

    def discard(self) -> None:
        """Give back what is open, and remove what was not placed."""
        self._file.discard()

    def _mismatch(self, what: str, code: str | None) -> ContentMismatchError:
        location = self._directory.location
        return ContentMismatchError(
            f"{location}: the content to be written as {self._digest} {what}", host=location.host, code=code
        )


def sweep(directory: Directory) -> int:
    """Remove the files of writers that were killed, and return how many there were.

    Only files with a name of `Incoming`, untouched for an hour, whose lock nobody holds: a writer that lives keeps
    its file however slow its source is.
    """
    removed = 0
    disk = directory.disk
    with directory.opened(UPLOADS) as uploads, os.scandir(uploads) as entries:
        for name in [entry.name for entry in entries if _NAME.fullmatch(entry.name)]:
            with suppress(OSError):  # housekeeping fails no copy; a file that went was placed, or swept by another
                fd = disk.open(name, _PROBE, dir_fd=uploads)
                try:
                    if time.time() - os.fstat(fd).st_mtime > STALE_S and disk.lock(fd):
                        disk.remove(name, dir_fd=uploads)
                        removed += 1
                finally:
                    os.close(fd)
    return removed
