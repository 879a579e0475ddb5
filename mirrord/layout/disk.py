"""The operating system's file calls, and what their failures mean for a layout."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirrord.errors import LayoutError, quote

_SAFE_AGAIN = "then run again: what was written stays, and is not sent twice"
_FAILURES: dict[int, tuple[str, str]] = {
    errno.EACCES: ("LAYOUT_DENIED", "let the user that runs mirrord read and write the directory"),
    errno.EPERM: ("LAYOUT_DENIED", "let the user that runs mirrord read and write the directory"),
    errno.EROFS: ("LAYOUT_READ_ONLY", "mount the file system for writing, or name another directory"),
    errno.ENOSPC: ("LAYOUT_DISK_FULL", f"make room on the file system, {_SAFE_AGAIN}"),
    errno.EDQUOT: ("LAYOUT_DISK_FULL", f"raise the quota or make room, {_SAFE_AGAIN}"),
    errno.EFBIG: ("LAYOUT_DISK_FULL", "the file system takes no file of this size; use another one"),
    errno.ENOTDIR: ("LAYOUT_INVALID", "name a real directory; mirrord writes neither to files nor through links"),
    errno.ELOOP: ("LAYOUT_INVALID", "name a real directory; mirrord writes neither to files nor through links"),
    errno.EISDIR: ("LAYOUT_INVALID", "remove the directory that stands where a file belongs"),
    errno.ENAMETOOLONG: ("LAYOUT_INVALID", "use a shorter path"),
    errno.ENOENT: ("LAYOUT_CHANGED", "leave the directory in place while mirrord uses it, and run again"),
    errno.EMFILE: ("LAYOUT_IO", "raise the limit of open files (ulimit -n)"),
}
_OTHER = ("LAYOUT_IO", "check the disk and the system's log")


def layout_error(exc: OSError, action: str, place: str) -> LayoutError:
    """Return what a failed file call means: ``action`` is what was tried, ``place`` the layout."""
    code, remedy = _FAILURES.get(exc.errno or 0, _OTHER)
    name = f" ({quote(str(exc.filename))})" if exc.filename is not None else ""
    return LayoutError(f"{quote(place)}: cannot {action}: {exc.strerror or exc}{name}", code=code, remedy=remedy)


@contextmanager
def reported(action: str, place: str) -> Iterator[None]:
    """Turn every failed file call inside into a `LayoutError`."""
    try:
        yield
    except OSError as exc:
        raise layout_error(exc, action, place) from exc


class Disk:
    """The file calls that layouts are made of, in one place, so that a test can let any of them fail.

    All of them block, and raise OSError.
    """

    def open(self, name: str | Path, flags: int, *, mode: int = 0o644, dir_fd: int | None = None) -> int:
        """Open or create a file; ``mode`` holds for a new one."""
        return os.open(name, flags, mode, dir_fd=dir_fd)

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Return at most ``size`` bytes from ``offset`` on; none at the end."""
        return os.pread(fd, size, offset)

    def write(self, fd: int, piece: bytes) -> None:
        """Write all of ``piece``."""
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]

    def sync(self, fd: int) -> None:
        """Return when the file or directory is on the disk, so that it survives a power cut."""
        os.fsync(fd)

    def rename(self, name: str, new_name: str, *, dir_fd: int, new_dir_fd: int) -> None:
        """Give a file its final name in one step; what has that name already is replaced, a link not followed."""
        os.rename(name, new_name, src_dir_fd=dir_fd, dst_dir_fd=new_dir_fd)

    def make_directory(self, name: str | Path, *, mode: int = 0o755, dir_fd: int | None = None) -> None:
        """Make a directory."""
        os.mkdir(name, mode, dir_fd=dir_fd)

    def remove(self, name: str, *, dir_fd: int) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=dir_fd)

    def lock(self, fd: int) -> bool:
        """Take the file's lock (flock) without waiting; False if another holds it. Closing the file gives it back."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
