"""Where the state store is: from the URL to a file that can be used, or an error that says what to do."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from mirrord.errors import StateError, quote

MOUNTS = "/proc/self/mountinfo"

_SQLITE = "sqlite://"
_NETWORK = frozenset({"9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3"})
"""File systems on which several machines may have the same file open: SQLite's locks do not hold there."""


def path_of(url: str) -> Path:
    """Return the file that a URL names: what follows ``sqlite://`` is its path, relative or from ``/``.

    Raises:
        StateError: it names another kind of database.
    """
    if not url.startswith(_SQLITE):
        raise StateError(
            "a state store in PostgreSQL is not part of this release",
            code="STATE_URL_INVALID",
            remedy="use a file: MIRRORD_STATE=sqlite:///var/lib/mirrord/state.db",
        )
    return Path(os.path.normpath(url.removeprefix(_SQLITE).replace("//", "/")))


def prepare(path: Path, mounts: str = MOUNTS) -> None:
    """See that a file can be made and written at ``path``; its directory is made where that is allowed.

    Raises:
        StateError: STATE_PATH_INVALID, with what is the matter.
    """
    directory = path.absolute().parent
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise _invalid(f'the directory "{_shown(directory)}" cannot be made: {exc.strerror}', _way(directory)) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _invalid(f'the directory "{_shown(directory)}" cannot be written by user {_user()}', _way(directory))
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as exc:
        raise _invalid(f'"{_shown(path)}" cannot be looked at: {exc.strerror}') from None
    if not stat.S_ISREG(kind):
        raise _invalid(f'"{_shown(path)}" is not a file')
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise _invalid(f'the file "{_shown(path)}" cannot be written by user {_user()}')
    system = file_system(directory, mounts)
    if system in _NETWORK:
        raise _invalid(
            f'"{_shown(directory)}" is on a network file system ({system}), where two machines could write at once',
            "put the state on a disk of this machine, or a volume that one machine mounts at a time",
        )
    _make(path)


def _make(path: Path) -> None:
    """Make the file where there is none, for this user alone: it tells what somebody mirrors."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise _invalid(f'the file "{_shown(path)}" cannot be made: {exc.strerror}') from None


def file_system(directory: Path, mounts: str = MOUNTS) -> str:
    """Return the kind of the file system of a directory, ``ext4`` for instance; empty where nothing tells.

    Source: proc(5), ``/proc/[pid]/mountinfo``.
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="replace").splitlines()
        real = directory.resolve()
    except OSError:
        return ""
    best, found = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        parts = fields.split()
        if len(parts) < 5 or not rest:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = Path(parts[4].replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), rest.split()[0]
    return found


def _invalid(message: str, remedy: str = "") -> StateError:
    return StateError(
        f"the state store cannot be used: {message}",
        code="STATE_PATH_INVALID",
        remedy=remedy or "make the directory for this user, or name another file: MIRRORD_STATE=sqlite:///PATH",
    )


def _way(directory: Path) -> str:
    """Return what to type so that there is a directory for the state: the one that was tried, or one of one's own."""
    made = f"sudo install -d -m 700 -o {_user()} '{_shown(directory)}'"
    own = Path(os.path.expanduser("~")) / ".local/state/mirrord/state.db"  # noqa: PTH111 - Path.home() may raise
    return f"make it ({made}), or keep the state elsewhere: MIRRORD_STATE=sqlite://{_shown(own)}"


def _user() -> str:
    """Return the name of the user who runs this, its number where it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _shown(path: Path) -> str:
    return quote(str(path))
