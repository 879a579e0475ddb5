"""Work side by side, a bounded number at a time, without exception groups leaking out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Sequence[T], work: Callable[[T], Awaitable[R]], at_once: int) -> list[R]:
    """Return the results of ``work`` for all items, in order; the first error ends all and is raised alone."""
    if len(items) == 1:
        return [await work(items[0])]
    results: dict[int, R] = {}
    errors: list[Exception] = []
    queue = iter(enumerate(items))

    async def worker(scope: anyio.CancelScope) -> None:
        for index, item in queue:
            try:
                results[index] = await work(item)
            except Exception as exc:  # noqa: BLE001 - raised below, alone and not in a group
                errors.append(exc)
                scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(items))):
            group.start_soon(worker, group.cancel_scope)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]
