"""Work in slices leaves turns to others, and is not broken off halfway."""

from __future__ import annotations

import anyio
import pytest

from mirrord.sync.slices import SLICE, slices

pytestmark = pytest.mark.anyio


async def test_others_have_their_turn_between_slices() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    seen: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        async for part in slices(range(10 * SLICE + 1)):
            seen += part
        group.cancel_scope.cancel()

    assert seen == list(range(10 * SLICE + 1))
    assert turns >= 10


async def test_work_that_has_begun_is_done_to_its_end_though_cancelled() -> None:
    seen = 0
    with anyio.CancelScope() as scope:
        async for part in slices(range(3 * SLICE)):
            scope.cancel()
            seen += len(part)

    assert seen == 3 * SLICE
