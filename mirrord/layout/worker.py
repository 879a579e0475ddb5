"""Blocking file work in threads, with failures reported as errors of the layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread

from mirrord.layout.disk import reported
from mirrord.oci.reference import LayoutDirectory

THREADS = 8

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Worker:
    """Runs blocking calls for one layout. ``limiter`` bounds the threads; a new one for 8 threads if None."""

    def __init__(self, location: LayoutDirectory, limiter: anyio.CapacityLimiter | None) -> None:
        self._place = str(location)
        self._limiter = limiter or anyio.CapacityLimiter(THREADS)

    async def run(self, action: str, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what ``call`` returns; ``action`` says in errors what was tried, ``read index.json`` for instance.

        A call that began runs to its end, even if the task is cancelled meanwhile.

        Raises:
            LayoutError: the operating system refused.
        """
        with reported(action, self._place):
            return await anyio.to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._limiter)
