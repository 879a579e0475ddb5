"""Paces, pauses and places of one registry."""

from __future__ import annotations

import anyio
import pytest

from mirrord.registry.throttle import Pace, Throttle, ThrottleBook
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def test_pace_without_a_rate_lets_everything_pass() -> None:
    clock = FakeClock()
    pace = Pace(None, clock)
    for _ in range(100):
        await pace.take(1_000_000)

    assert clock.slept == []


@pytest.mark.covers("C40")
@pytest.mark.parametrize("rate", [1.0, 10.0, 2.5], ids=str)
async def test_no_second_sees_more_than_the_rate(rate: float) -> None:
    clock = FakeClock()
    pace = Pace(rate, clock)
    moments: list[float] = []
    for number in range(60):
        await pace.take()
        moments.append(clock.monotonic())
        if number == 20:
            clock.advance(30)  # idle time is not saved up

    for start in moments:
        assert len([moment for moment in moments if start <= moment < start + 1 - 1e-9]) <= max(1, rate + 0.5)


async def test_pace_serves_waiters_in_the_order_of_their_calls() -> None:
    clock = FakeClock(manual=True)
    pace = Pace(1.0, clock)
    served: list[int] = []

    async def take(number: int) -> None:
        await pace.take()
        served.append(number)

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
        for count in range(1, 5):
            await anyio.wait_all_tasks_blocked()
            assert len(served) == count
            clock.advance(1)

    assert served == [0, 1, 2, 3]


@pytest.mark.covers("D28", "C40")
async def test_pause_holds_every_request_and_the_longest_one_counts() -> None:
    clock = FakeClock(manual=True)
    throttle = Throttle(clock=clock)
    begun: list[float] = []
    throttle.pause(2)
    throttle.pause(5)
    throttle.pause(3)

    async def turn() -> None:
        await throttle.turn()
        begun.append(clock.monotonic())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(turn)
        await anyio.wait_all_tasks_blocked()
        clock.advance(4.9)
        await anyio.wait_all_tasks_blocked()
        assert begun == []
        clock.advance(0.2)

    assert begun == [pytest.approx(5.1)] * 3


async def test_pause_that_grows_meanwhile_is_waited_for() -> None:
    clock = FakeClock(manual=True)
    throttle = Throttle(clock=clock)
    throttle.pause(1)

    async with anyio.create_task_group() as group:
        group.start_soon(throttle.resumed)
        await anyio.wait_all_tasks_blocked()
        throttle.pause(10)
        clock.advance(1)
        await anyio.wait_all_tasks_blocked()
        assert clock.slept == [1, 9]
        clock.advance(9)


async def test_no_more_places_are_held_than_there_are() -> None:
    throttle = Throttle(clock=FakeClock(), concurrency=2)
    held = most = 0

    async def work() -> None:
        nonlocal held, most
        async with throttle.place():
            held += 1
            most = max(most, held)
            await anyio.lowlevel.checkpoint()
            held -= 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(work)

    assert most == 2


async def test_book_knows_throttles_by_host() -> None:
    book, throttle = ThrottleBook(), Throttle(clock=FakeClock())
    book.add("registry.test", throttle)

    assert book.throttle("registry.test") is throttle
    assert book.throttle("/srv/layout") is None
