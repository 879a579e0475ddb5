"""Where the state store is: from the URL to a file that can be used, or an error that says what to do."""

from __future__ import annotations

import os
import pwd
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from mirrord.errors import StateError, quote

MOUNTS = "/proc/self/mountinfo"

_SQLITE = re.compile(r"sqlite(?:\+(?:aio|py)sqlite)?://(?P<path>.*)", re.DOTALL)
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3"}
    | {"smbfs"}
)
"""File systems on which several machines may have the same file open: SQLite's locks do not hold there."""


def path_of(url: str) -> Path:
    """Return the file that a URL names: what follows ``sqlite://`` is its path, relative or from ``/``.

    ``sqlite:///var/lib/mirrord/state.db`` and ``sqlite:////var/lib/mirrord/state.db`` are one file,
    ``sqlite://state.db`` and ``sqlite:///./state.db`` one in the working directory. ``%20`` stands for a space, as in
    every URL.

    Raises:
        StateError: it names no file, or another kind of database.
    """
    match = _SQLITE.fullmatch(url)
    if match is None:
        # It may hold a password: it is not shown.
        raise StateError(
            "postgresql needs a later release: this one keeps its state in a file",
            code="STATE_URL_INVALID",
            remedy="use a file: MIRRORD_STATE=sqlite:///var/lib/mirrord/state.db",
        )
    text = unquote(match["path"])
    if text.startswith(("/./", "/../")):
        text = text.removeprefix("/")
    path = Path(os.path.normpath(f"/{text.lstrip('/')}" if text.startswith("/") else text)).absolute()
    if not text or text.endswith("/") or "\0" in text or not path.name or path.name in {"..", ":memory:"}:
        raise StateError(
            f'"{quote(text)}" is no file for the state store',
            code="STATE_URL_INVALID",
            remedy="name one: MIRRORD_STATE=sqlite:///var/lib/mirrord/state.db",
        )
    return path


def prepare(path: Path, mounts: str = MOUNTS) -> Path:
    """See that a file can be made and written at ``path``; its directory is made where that is allowed.

    Links on the way to the directory are followed. The file itself must be none: what belongs to it stands beside it,
    and would stand beside each of its names.

    Returns:
        the same file by its real name.

    Raises:
        StateError: STATE_PATH_INVALID, with what is the matter.
    """
    directory = _directory(path.parent)
    path = directory / path.name
    system = file_system(directory, mounts)
    if system in _NETWORK:
        raise _invalid(
            f'"{_shown(directory)}" is on a network file system ({system}), where two machines could write at once',
            "put the state on a disk of this machine, or a volume that one machine mounts at a time",
        )
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return path
    except OSError as exc:
        raise _invalid(f'"{_shown(path)}" cannot be looked at: {exc.strerror}') from None
    if stat.S_ISLNK(kind):
        raise _invalid(f'"{_shown(path)}" is a link', f"name the file itself: MIRRORD_STATE=sqlite://{path.resolve()}")
    if not stat.S_ISREG(kind):
        raise _invalid(f'"{_shown(path)}" is not a file', "name a file: MIRRORD_STATE=sqlite:///PATH")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise _invalid(
            f'the file "{_shown(path)}" cannot be read and written by user {os.geteuid()}; it is owned by user '
            f"{path.stat().st_uid}",
            f"as root: chown {os.geteuid()} {_shown(path)}*",
        )
    return path


def look_at(path: Path) -> os.stat_result | None:
    """Return what the system says of a file; None where there is none.

    `Path.exists` and its kin say "none" of a file that cannot be looked at too: since Python 3.14 whatever the reason.

    Raises:
        OSError: it cannot be looked at; the directory is closed to this user, or its share went away.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def file_system(directory: Path, mounts: str = MOUNTS) -> str:
    """Return the kind of the file system of a directory, ``ext4`` for instance; empty where nothing tells.

    Source: proc(5), ``/proc/[pid]/mountinfo``.
    """
    try:
        lines = Path(mounts).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        real = directory.resolve()
    except OSError:
        return ""
    best, found = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        parts = fields.split(" ")
        if len(parts) < 5 or not rest:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), parts[4]))
        # Of two that are mounted at one place the later one is seen.
        if real.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), rest.split(" ")[0]
    return found


def _directory(directory: Path) -> Path:
    """Return a directory that files can be made in, by its real name."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = directory.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        cause = getattr(exc, "strerror", None) or str(exc)
        raise _invalid(f'the directory "{_shown(directory)}" cannot be made: {cause}', _way(directory)) from None
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        reason = "is on a file system that is mounted for reading only" if _is_read_only(directory) else "is not ours"
        raise _invalid(
            f'the directory "{_shown(directory)}" cannot be written by user {os.geteuid()}: it {reason}',
            _way(directory),
        )
    return directory


def _is_read_only(directory: Path) -> bool:
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def _invalid(message: str, remedy: str = "make the directory for this user, or name another file") -> StateError:
    return StateError(f"the state store cannot be used: {message}", code="STATE_PATH_INVALID", remedy=remedy)


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
