"""How many bytes the transfers of a process may hold between reading and writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MIB = 1024 * 1024
MOST_BYTES = 64 * MIB
LARGEST_WINDOW = 8 * MIB
SMALLEST_WINDOW = 2 * MIB


class Windows:
    """Shares 64 MiB among all tees of the process: 8 MiB for each while they are few, never under 2 MiB."""

    def __init__(self) -> None:
        self._tees = 0

    @contextmanager
    def tee(self) -> Iterator[None]:
        """Count a tee in for as long as it runs."""
        self._tees += 1
        try:
            yield
        finally:
            self._tees -= 1

    @property
    def bytes_each(self) -> int:
        """How many bytes each target's window may hold now."""
        return max(SMALLEST_WINDOW, min(LARGEST_WINDOW, MOST_BYTES // max(1, self._tees)))
