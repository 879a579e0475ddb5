"""Processes that others left behind: process 1 of a container inherits them, and has to take note of their end."""

from __future__ import annotations

import os
from collections.abc import Callable

MOST_AT_ONCE = 100


class Reaper:
    """Takes note of the end of processes that nobody waits for, so that they do not stay as zombies.

    Who started a process waits for it himself. So only what still is a zombie at the next look is taken.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self._seen: int | None = None

    def look(self) -> int:
        """Look for ended processes, and return how many were taken note of."""
        taken = 0
        while taken < MOST_AT_ONCE:
            found = _first_ended()
            if found is None or found != self._seen:
                self._seen = found  # its owner may be about to wait for it
                return taken
            _take(found)
            taken += 1
            self._seen = None
        return taken


def reaper_for(pid: int) -> Callable[[], int] | None:
    """Return what looks for orphans, for a process that inherits them: the first of its container; else None."""
    return Reaper().look if pid == 1 else None


def _first_ended() -> int | None:
    """Return a child that ended and was not waited for, without waiting for it. Source: waitid(2), ``WNOWAIT``."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _take(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # its owner was quicker
