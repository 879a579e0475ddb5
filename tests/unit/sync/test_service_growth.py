"""A service that runs for months: what a run leaves behind is nothing."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from mirrord.planning.status import Cause
from tests.fakes.images import make_image
from tests.unit.sync.scene import SOURCE, A, B, make_rule, settle
from tests.unit.sync.test_service import House

pytestmark = pytest.mark.anyio

RUNS = 300
MOST_BYTES_PER_RUN = 300
"""The registries in memory note a line for each write; a run that were kept would take thousands."""


async def test_three_hundred_runs_and_thirty_configurations_leave_nothing_behind() -> None:
    house = House()
    house.scene.memory.add(SOURCE, make_image("app"), "1.0")

    async def run(times: int) -> int:
        for number in range(times):
            if number % 10 == 0:
                house.adopt(make_rule("app", A if number % 20 else B))
            house.service.wake("app", Cause.SCHEDULE)
            await settle(lambda: not house.service.running and not house.service.queue_depth)
            house.scene.clock.advance(10)
            for kept in (house.history.saved_runs, house.released, house.engines, house.heard.events):
                kept.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with house.serving():
        tracemalloc.start(1)
        try:
            before = await run(40)
            after = await run(RUNS)
        finally:
            tracemalloc.stop()

    assert (after - before) / RUNS < MOST_BYTES_PER_RUN
