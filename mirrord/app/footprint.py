"""Keeps the process small: what runs freed is given back to the system, which glibc alone would not do for hours."""

from __future__ import annotations

import ctypes
import gc

_ARENA_MAX = -8
"""``M_ARENA_MAX`` of mallopt(3)."""

_ARENAS = 2
"""Each thread may open an arena of its own, of which little is ever given back; two are enough for what threads do."""


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


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
