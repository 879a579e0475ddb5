"""How much one registry is asked at a time: places, requests per second, bytes per second, and pauses.

Everything here belongs to one registry and is shared by all rules of the process that use it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import anyio

from mirrord.ports.clock import Clock
from mirrord.ports.registry import Places, Slots

DEFAULT_CONCURRENCY = 16


class Pace:
    """Lets ``rate`` units a second pass, evenly, so that no window of time sees more; None lets everything pass."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock.monotonic()

    async def take(self, units: float = 1.0) -> None:
        """Wait until ``units`` more may pass. Waiters are served in the order of their calls."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        start = max(self._free_at, now)
        self._free_at = start + units / self._rate
        if start > now:
            await self._clock.sleep(start - now)


class Throttle:
    """The limits of one registry."""

    def __init__(
        self,
        *,
        clock: Clock,
        concurrency: int = DEFAULT_CONCURRENCY,
        requests_per_second: float | None = None,
        bandwidth: int | None = None,
    ) -> None:
        """Set the limits.

        Args:
            clock: time.
            concurrency: exchanges at the same time.
            requests_per_second: None for no limit.
            bandwidth: bytes per second of all bodies together; None for no limit.
        """
        self.concurrency = concurrency
        self._places = anyio.Semaphore(concurrency, max_value=concurrency, fast_acquire=True)
        self.bandwidth = Pace(bandwidth, clock)
        self._clock = clock
        self._requests = Pace(requests_per_second, clock)
        self._paused_until = 0.0

    def pause(self, seconds: float) -> None:
        """Let no request start for ``seconds``: the registry asked for it, whichever request it told."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    async def resumed(self) -> None:
        """Wait for the end of a pause; called before a place is taken."""
        while (wait_s := self._paused_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)

    async def turn(self) -> None:
        """Wait for the end of a pause and for the next request's turn; called under a place."""
        await self.resumed()
        await self._requests.take()

    def place(self) -> anyio.Semaphore:
        """Return what holds one place for one exchange, as a context manager."""
        return self._places

    async def acquire(self) -> None:
        """Take a place, to be given back with `release`."""
        await self._places.acquire()

    def release(self) -> None:
        """Give a place back."""
        self._places.release()


class _Held(Places):
    """Places at the registries of one copy. A registry that is source and target has one place for both."""

    def __init__(self, source: str, targets: Collection[str]) -> None:
        self._source = source
        self._wanted = frozenset(targets)
        self._throttles: dict[str, Throttle | None] = {}
        self._done: set[tuple[str, bool]] = set()

    @property
    def targets(self) -> frozenset[str]:
        """The targets that got a place, whether or not it was given back since."""
        return self._wanted & self._throttles.keys()

    def add(self, host: str, throttle: Throttle | None) -> None:
        """Note a place that was taken; None where nothing limits the host."""
        self._throttles[host] = throttle

    def source_done(self) -> None:
        """Give back the source's place, unless the host is a target too."""
        self._give_back(self._source, is_source=True)

    def target_done(self, host: str) -> None:
        """Give back a target's place, unless the host is the source too."""
        self._give_back(host, is_source=False)

    def close(self) -> None:
        """Give back everything."""
        self.source_done()
        for host in self.targets:
            self.target_done(host)

    def _give_back(self, host: str, *, is_source: bool) -> None:
        use, other = (host, is_source), (host, not is_source)
        if use in self._done or host not in self._throttles:
            return
        self._done.add(use)
        has_other_use = host in self._wanted if is_source else host == self._source
        throttle = self._throttles[host]
        if throttle is not None and (other in self._done or not has_other_use):
            throttle.release()


class RegistrySlots(Slots):
    """Places at several registries.

    Nobody waits in a circle: hosts are asked in sorted order, and while anything is held only the source is waited
    for without a bound.
    """

    def __init__(self, throttles: ThrottleBook) -> None:
        self._throttles = throttles

    @asynccontextmanager
    async def hold(self, *, source: str, targets: Collection[str], patience_s: float) -> AsyncIterator[Places]:
        """Hold one place at ``source`` and at each target, as the port says."""
        held = await self._take(source, targets, patience_s)
        while targets and not held.targets:
            held.close()
            await self._any_free(targets)
            held = await self._take(source, targets, patience_s)
        try:
            yield held
        finally:
            held.close()

    async def _take(self, source: str, targets: Collection[str], patience_s: float) -> _Held:
        """Take what is to be had."""
        held = _Held(source, targets)
        try:
            for host in sorted({source, *targets}):
                throttle = self._throttles.throttle(host)
                if throttle is None:
                    held.add(host, None)
                elif host == source:
                    await throttle.acquire()
                    held.add(host, throttle)
                else:
                    with anyio.move_on_after(patience_s):
                        await throttle.acquire()
                        held.add(host, throttle)
        except BaseException:
            held.close()
            raise
        return held

    async def _any_free(self, hosts: Collection[str]) -> None:
        """Wait until any of ``hosts`` has a free place; does not keep it."""
        async with anyio.create_task_group() as group:

            async def wait(throttle: Throttle) -> None:
                async with throttle.place():
                    group.cancel_scope.cancel()

            for host in hosts:
                if (throttle := self._throttles.throttle(host)) is not None:
                    group.start_soon(wait, throttle)


class ThrottleBook:
    """The throttles of all registries by host; hosts without one (layout directories) are not limited."""

    def __init__(self) -> None:
        self._throttles: dict[str, Throttle] = {}

    def add(self, host: str, throttle: Throttle) -> None:
        """Set the throttle of ``host``."""
        self._throttles[host] = throttle

    def throttle(self, host: str) -> Throttle | None:
        """Return the throttle of ``host``, or None where nothing limits it."""
        return self._throttles.get(host)
