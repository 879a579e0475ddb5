from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from mirrord.registry.throttle import RegistrySlots, Throttle, ThrottleBook
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

PATIENCE_S = 0.01


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


class Registries:
    """Throttles of some registries, by name."""

    def __init__(self, **places: int) -> None:
        self.throttles = {host: Throttle(clock=FakeClock(), concurrency=count) for host, count in places.items()}
        book = ThrottleBook()
        for host, throttle in self.throttles.items():
            book.add(host, throttle)
        self.slots = RegistrySlots(book)

    def free(self, host: str) -> int:
        return self.throttles[host].place().free

    async def queued(self, host: str) -> None:
        """Return when a copy waits for ``host`` and holds nothing."""
        with anyio.fail_after(1):
            while not (self.throttles[host].place().waiting and self.free("b")):
                await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()

    async def fill(self, host: str) -> None:
        while self.free(host):
            await self.throttles[host].acquire()


async def test_slots_hold_a_place_at_each_registry_and_give_them_back() -> None:
    registries = Registries(a=2, b=2, c=2)

    async with registries.slots.hold(source="b", targets=["a", "c"], patience_s=PATIENCE_S) as places:
        assert places.targets == {"a", "c"}
        assert [registries.free(host) for host in "abc"] == [1, 1, 1]

    assert [registries.free(host) for host in "abc"] == [2, 2, 2]


async def test_slots_hold_one_place_at_a_registry_that_is_source_and_target() -> None:
    registries = Registries(a=2)

    async with registries.slots.hold(source="a", targets=["a"], patience_s=PATIENCE_S) as places:
        assert places.targets == {"a"}
        assert registries.free("a") == 1
        places.source_done()
        assert registries.free("a") == 1
        places.target_done("a")
        assert registries.free("a") == 2

    assert registries.free("a") == 2


async def test_slots_give_a_place_back_as_soon_as_it_is_not_needed() -> None:
    registries = Registries(a=2, b=2, c=2)

    async with registries.slots.hold(source="a", targets=["b", "c"], patience_s=PATIENCE_S) as places:
        places.source_done()
        places.target_done("c")
        places.target_done("c")
        assert [registries.free(host) for host in "abc"] == [2, 1, 2]

    assert [registries.free(host) for host in "abc"] == [2, 2, 2]


async def test_slots_do_not_limit_what_has_no_throttle() -> None:
    registries = Registries(a=1)

    async with registries.slots.hold(source="a", targets=["oci:there"], patience_s=PATIENCE_S) as places:
        assert places.targets == {"oci:there"}


async def test_slots_without_targets_hold_the_source_alone() -> None:
    registries = Registries(a=1)

    async with registries.slots.hold(source="a", targets=(), patience_s=0) as places:
        assert places.targets == frozenset()
        assert registries.free("a") == 0


@pytest.mark.covers("C39", "D99")
@pytest.mark.parametrize("targets", [["a", "c"], ["c", "d"], ["c", "d", "e"]], ids="-".join)
async def test_slots_leave_out_a_busy_target_wherever_it_stands(targets: Sequence[str]) -> None:
    for busy in targets:
        registries = Registries(a=1, b=1, c=1, d=1, e=1)
        await registries.fill(busy)

        async with registries.slots.hold(source="b", targets=targets, patience_s=PATIENCE_S) as places:
            assert places.targets == {*targets} - {busy}

        assert registries.free("b") == 1


@pytest.mark.covers("C39")
@pytest.mark.parametrize("targets", [["a"], ["c"], ["a", "c"]], ids="-".join)
async def test_slots_hold_nothing_while_every_target_is_busy(targets: Sequence[str]) -> None:
    registries = Registries(a=1, b=1, c=1)
    for host in targets:
        await registries.fill(host)
    got: list[frozenset[str]] = []

    async def copy() -> None:
        async with registries.slots.hold(source="b", targets=targets, patience_s=PATIENCE_S) as places:
            got.append(places.targets)

    async with anyio.create_task_group() as group:
        group.start_soon(copy)
        await registries.queued(targets[-1])
        assert got == []
        registries.throttles[targets[-1]].release()

    assert got == [{targets[-1]}]
    assert registries.free("b") == 1


@pytest.mark.covers("C39")
async def test_slots_hold_nothing_while_the_source_is_busy() -> None:
    registries = Registries(a=1, b=1, c=1)
    await registries.fill("b")
    got: list[frozenset[str]] = []

    async def copy() -> None:
        async with registries.slots.hold(source="b", targets=["a", "c"], patience_s=PATIENCE_S) as places:
            got.append(places.targets)

    async with anyio.create_task_group() as group:
        group.start_soon(copy)
        with anyio.fail_after(1):
            while not (registries.throttles["b"].place().waiting and registries.free("a")):
                await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert registries.free("a") == registries.free("c") == 1
        registries.throttles["b"].release()

    assert got == [{"a", "c"}]
    assert [registries.free(host) for host in "abc"] == [1, 1, 1]


async def test_slots_do_not_wait_again_for_a_registry_that_had_no_place() -> None:
    registries = Registries(a=5, b=1, c=5)
    await registries.fill("b")
    await wanted(registries, patience_s=PATIENCE_S)

    with anyio.fail_after(1):
        assert await wanted(registries, patience_s=60) == {"c"}
        registries.throttles["b"].release()
        assert await wanted(registries, patience_s=60) == {"b", "c"}


async def wanted(registries: Registries, *, patience_s: float) -> frozenset[str]:
    async with registries.slots.hold(source="a", targets=["b", "c"], patience_s=patience_s) as places:
        return places.targets


@pytest.mark.parametrize("busy", ["ac", "b", "abc"], ids=["targets", "source", "all"])
@pytest.mark.parametrize("queued", [False, True], ids=["patient", "queued"])
async def test_slots_give_everything_back_when_the_wait_is_cancelled(busy: str, queued: bool) -> None:
    registries = Registries(a=1, b=1, c=1)
    for host in busy:
        await registries.fill(host)

    async with anyio.create_task_group() as group:

        async def copy() -> None:
            async with registries.slots.hold(source="b", targets=["a", "c"], patience_s=0.001 if queued else 60):
                pytest.fail("there is no place")

        group.start_soon(copy)
        await anyio.wait_all_tasks_blocked()
        if queued:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()

    assert [registries.free(host) for host in "abc"] == [int(host not in busy) for host in "abc"]


async def test_slots_serve_all_who_queued_for_a_registry_once_it_is_free() -> None:
    registries = Registries(a=2, b=2)
    await registries.fill("b")
    served = 0

    async def copy() -> None:
        nonlocal served
        async with registries.slots.hold(source="a", targets=["b"], patience_s=PATIENCE_S):
            await anyio.lowlevel.checkpoint()
            served += 1

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(copy)
        with anyio.fail_after(1.5):
            while registries.throttles["b"].place().waiting < 100:
                await anyio.lowlevel.checkpoint()
        registries.throttles["b"].release()

    assert served == 100


async def test_slots_of_one_place_each_let_crosswise_copies_through() -> None:
    registries = Registries(a=1, b=1, c=1)
    done = 0

    async def copy(source: str, *targets: str) -> None:
        nonlocal done
        left = set(targets)
        while left:
            async with registries.slots.hold(source=source, targets=left, patience_s=PATIENCE_S) as places:
                await anyio.lowlevel.checkpoint()
                left -= places.targets
        done += 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(copy, "a", "b", "c")
            group.start_soon(copy, "b", "a", "c")
            group.start_soon(copy, "c", "b", "a")

    assert done == 30
