from __future__ import annotations

import anyio
import pytest

from mirrord.errors import DeniedError
from mirrord.transfer.side import each

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [0, 1, 2, 20])
async def test_each_returns_results_in_the_order_of_the_items(count: int) -> None:
    async def work(item: int) -> int:
        for _ in range(count - item):
            await anyio.lowlevel.checkpoint()
        return item * 10

    assert await each(range(count), work, 4) == [item * 10 for item in range(count)]


async def test_each_works_on_a_bounded_number_at_a_time() -> None:
    now = most = 0

    async def work(_item: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.lowlevel.checkpoint()
        now -= 1

    await each(range(50), work, 7)

    assert most == 7


@pytest.mark.parametrize("count", [1, 20])
async def test_each_raises_one_error_alone(count: int) -> None:
    async def work(item: int) -> None:
        await anyio.lowlevel.checkpoint()
        raise DeniedError(f"item {item}")

    with pytest.raises(DeniedError, match=r"item [012]"):
        await each(range(count), work, 3)


async def test_each_begins_nothing_after_an_error() -> None:
    begun: list[int] = []

    async def work(item: int) -> None:
        begun.append(item)
        await anyio.lowlevel.checkpoint()
        raise DeniedError("no")

    with pytest.raises(DeniedError):
        await each(range(20), work, 3)

    assert begun == [0, 1, 2]


async def test_each_ends_the_others_when_one_fails() -> None:
    never = anyio.Event()

    async def work(item: int) -> None:
        if item == 1:
            raise DeniedError("no")
        await never.wait()

    with pytest.raises(DeniedError):
        await each(range(3), work, 3)
