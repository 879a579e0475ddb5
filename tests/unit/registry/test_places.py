"""Places at a registry: in order within a run, in turns between runs, and none is lost."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import TaskGroup

from mirrord.ports.turns import ON_BEHALF_OF
from mirrord.registry.places import FairPlaces

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Crowd:
    """Waits for places on behalf of runs, and notes who came when."""

    def __init__(self, places: FairPlaces, group: TaskGroup) -> None:
        self.places = places
        self.served: list[str] = []
        self._group = group

    async def want(self, run: str, times: int = 1) -> anyio.CancelScope:
        scopes = [anyio.CancelScope() for _ in range(times)]
        for scope in scopes:
            self._group.start_soon(self._wait, run, scope)
        await anyio.wait_all_tasks_blocked()
        return scopes[-1]

    async def _wait(self, run: str, scope: anyio.CancelScope) -> None:
        ON_BEHALF_OF.set(run)
        with scope:
            await self.places.acquire()
            self.served.append(run)


async def test_run_that_wants_one_place_waits_for_one_turn_and_not_for_thousands() -> None:
    places = FairPlaces(1)
    async with anyio.create_task_group() as group:
        crowd = Crowd(places, group)
        await crowd.want("holder")
        await crowd.want("many", 1_000)
        await crowd.want("one")
        await crowd.want("two", 2)
        for _ in range(6):
            places.release()
            await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert crowd.served == ["holder", "many", "one", "two", "many", "two", "many"]


async def test_waiters_of_one_run_are_served_in_their_order() -> None:
    places = FairPlaces(0)
    served: list[int] = []

    async def wait(number: int) -> None:
        await places.acquire()
        served.append(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(wait, number)
            await anyio.wait_all_tasks_blocked()
        for _ in range(5):
            places.release()
            await anyio.wait_all_tasks_blocked()

    assert served == [0, 1, 2, 3, 4]


async def test_waiters_that_are_cancelled_lose_no_place() -> None:
    places = FairPlaces(1)
    async with anyio.create_task_group() as group:
        crowd = Crowd(places, group)
        await crowd.want("a")
        leaves = await crowd.want("b")
        leaves.cancel()
        await anyio.wait_all_tasks_blocked()
        waiting = places.waiting
        called = await crowd.want("c")
        places.release()
        called.cancel()  # in the very moment in which the place was given to it
        await anyio.wait_all_tasks_blocked()

    assert waiting == 0
    held = crowd.served.count("c")  # it may have been too late to leave
    assert crowd.served[:1] == ["a"]
    assert places.free + held == 1


async def test_free_place_is_taken_at_once_and_given_back_once() -> None:
    places = FairPlaces(1)

    async with places:
        refused = places.acquire_nowait()
    taken = places.acquire_nowait()
    places.release()

    assert (refused, taken) == (False, True)
    with pytest.raises(ValueError, match="more places"):
        places.release()
