"""Keeps the process small, since what runs freed is given back to the system; and knows how large it may become."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of mallopt(3)."""

_ARENAS = 2
"""Each thread may open an arena of its own, of which little is ever given back; two are enough for what threads do."""


_NO_LIMIT = 1 << 60
"""The first version of control groups says so, in pages near the greatest number, where there is none."""


def keep_small() -> None:
    """Let threads share few arenas; without glibc nothing is done."""
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give freed memory back to the system; without glibc nothing is done. Takes some milliseconds."""
    gc.collect()
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return how many bytes the process may have, by the least limit of its control groups; None: by none that is told.

    The system is asked each time: a limit can be changed while the process runs. Source: cgroups(7).
    """
    limits = []
    for file in _limit_files(root):
        try:
            limits.append(int(file.read_text("ascii")))
        except (OSError, ValueError):  # no such group here, or no limit: "max"
            continue
    return min((limit for limit in limits if limit < _NO_LIMIT), default=None)


def _limit_files(root: Path) -> Iterator[Path]:
    """Yield where the limits of this process's group, and of all above it, may stand.

    In a container the path is often that of the machine, which is not there: the root of what is mounted is the group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        for length in range(len(parts) + 1):
            yield top.joinpath(*parts[:length], name)


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
