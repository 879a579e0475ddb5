"""Long work on values in slices, so that the event loop has its turn in between: it answers probes and signals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import anyio.lowlevel

T = TypeVar("T")

SLICE = 200
"""Some milliseconds' worth of images."""


async def slices(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Yield ``items`` in slices, others having their turn after each; cancellation waits until the end."""
    for start in range(0, len(items), SLICE):
        yield items[start : start + SLICE]
        await anyio.lowlevel.cancel_shielded_checkpoint()
