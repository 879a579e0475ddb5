from __future__ import annotations

import anyio
import pytest

from mirrord.errors import DeniedError, LeaderFailedError
from mirrord.transfer.once import KeyedOnce

pytestmark = pytest.mark.anyio


class Work:
    """Work that waits at a gate and counts how often it was begun."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate = anyio.Event()
        self.begun = 0
        self._error = error

    async def __call__(self) -> None:
        self.begun += 1
        await self.gate.wait()
        if self._error is not None:
            raise self._error


async def test_once_has_work_done_by_the_first_while_the_others_wait() -> None:
    once, work = KeyedOnce(), Work()
    did: list[bool] = []

    async def ask() -> None:
        did.append(await once.run("key", work))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert did == []
        work.gate.set()

    assert work.begun == 1
    assert sorted(did) == [False, False, False, False, True]


async def test_once_believes_what_was_done() -> None:
    once, work = KeyedOnce(), Work()
    work.gate.set()

    assert await once.run("key", work)
    assert not await once.run("key", work)
    assert work.begun == 1


async def test_once_keeps_keys_apart() -> None:
    once, work = KeyedOnce(), Work()
    work.gate.set()

    assert await once.run("one", work)
    assert await once.run("other", work)


async def test_once_shares_a_failure_with_those_who_waited() -> None:
    cause = DeniedError("not yours")
    once, work = KeyedOnce(), Work(cause)
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await once.run("key", work)
        except (DeniedError, LeaderFailedError) as exc:
            errors.append(exc)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        work.gate.set()

    assert work.begun == 1
    assert errors[0] is cause
    assert [type(error) for error in errors[1:]] == [LeaderFailedError] * 19
    assert all(error.__cause__ is cause for error in errors[1:])
    assert "not yours" in str(errors[1])


async def test_once_lets_a_later_caller_try_again_after_a_failure() -> None:
    once, failing, working = KeyedOnce(), Work(DeniedError("not yours")), Work()
    failing.gate.set()
    working.gate.set()

    with pytest.raises(DeniedError):
        await once.run("key", failing)

    assert await once.run("key", working)


async def test_once_hands_the_work_of_a_cancelled_caller_to_one_who_waits() -> None:
    once, slow, quick = KeyedOnce(), Work(), Work()
    quick.gate.set()
    did: list[bool] = []

    async def wait() -> None:
        did.append(await once.run("key", quick))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as leader:
                leader.start_soon(once.run, "key", slow)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(wait)
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

    assert (slow.begun, quick.begun) == (1, 1)
    assert sorted(did) == [False, True]
