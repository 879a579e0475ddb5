"""How much one registry is asked at a time: places, requests per second, bytes per second, and pauses.

Everything here belongs to one registry and is shared by all rules of the process that use it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from mirrord.ports.clock import Clock
from mirrord.ports.registry import Slots

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


class RegistrySlots(Slots):
    """Places at several registries, taken in sorted order of hosts so that nobody waits in a circle."""

    def __init__(self, throttles: ThrottleBook) -> None:
        self._throttles = throttles

    @asynccontextmanager
    async def hold(self, *, source: str, targets: Collection[str], patience_s: float) -> AsyncIterator[frozenset[str]]:
        """Hold one place at ``source`` and at each target; a host that is both takes one place.

        Targets that have no place within ``patience_s`` after the first target had one are left out.
        """
        async with AsyncExitStack() as stack:
            held: set[str] = set()
            wanted = {source, *targets}
            for host in sorted(wanted):
                throttle = self._throttles.throttle(host)
                if throttle is None:
                    held.add(host)
                    continue
                optional = host != source and bool((held & set(targets)) - {host})
                if optional:
                    with anyio.move_on_after(patience_s) as scope:
                        await throttle.acquire()
                    if scope.cancelled_caught:
                        continue
                else:
                    await throttle.acquire()
                stack.callback(throttle.release)
                held.add(host)
            yield frozenset(held & set(targets))


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
