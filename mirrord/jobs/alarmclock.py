"""APScheduler as an alarm clock: one job that wakes a sleeper at a moment of the wall clock."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import anyio.lowlevel

# It ships no types.
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]
from apscheduler.triggers.date import DateTrigger  # type: ignore[import-untyped]

_JOB = "next moment"


class SchedulerAlarm(AbstractAsyncContextManager["SchedulerAlarm"]):
    """Calls ``wake`` in the event loop of asyncio. Its jobs do nothing else, so none is ever in the way of another."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Know what to call; nothing runs before the context is entered."""
        self._wake = wake
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,  # without one it would look for the machine's, which it does not need
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1000},
        )

    async def __aenter__(self) -> Self:
        """Begin to watch the clock."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every job at INFO
        self._scheduler.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave no task and no timer behind."""
        self._scheduler.shutdown(wait=False)
        # It stops in the loop's next round; a job that it cancels ends in the one after.
        for _ in range(2):
            await anyio.lowlevel.cancel_shielded_checkpoint()

    def set(self, moment: datetime | None) -> None:
        """Wake at this moment instead of the one set before; None: not at all."""
        if moment is not None:
            self._scheduler.add_job(self._ring, DateTrigger(moment, UTC), id=_JOB, replace_existing=True)
        elif self._scheduler.get_job(_JOB):
            self._scheduler.remove_job(_JOB)

    async def _ring(self) -> None:  # APScheduler runs plain functions in a thread
        self._wake()
