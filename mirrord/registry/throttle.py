"""How much one registry is asked at a time: places, requests per second, bytes per second, and pauses.

Everything here belongs to one registry and is shared by all rules of the process that use it; runs take turns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import anyio

from mirrord.ports.clock import Clock
from mirrord.ports.registry import Places, Slots
from mirrord.registry.places import FairPlaces

DEFAULT_CONCURRENCY = 16


class Pace:
    """Lets ``rate`` units a second pass, evenly, so that no window of time sees more; None lets everything pass."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock.monotonic()

    def change(self, rate: float | None) -> None:
        """Let ``rate`` units a second pass from the next one on."""
        self._rate = rate

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
        self._places = FairPlaces(concurrency)
        self.bandwidth = Pace(bandwidth, clock)
        self._clock = clock
        self._requests = Pace(requests_per_second, clock)
        self._paused_until = 0.0

    def set_pace(self, requests_per_second: float | None) -> None:
        """Begin so many requests in a second from now on; None for no limit."""
        self._requests.change(requests_per_second)

    def pause(self, seconds: float) -> float:
        """Let no request start for ``seconds``: the registry asked for it, whichever request it told.

        Return by how many seconds that is longer than it was to rest already.
        """
        now = self._clock.monotonic()
        before = max(self._paused_until, now)
        self._paused_until = max(before, now + seconds)
        return self._paused_until - before

    async def resumed(self) -> None:
        """Wait for the end of a pause; called before a place is taken."""
        while (wait_s := self._paused_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)

    async def turn(self) -> None:
        """Wait for the end of a pause and for the next request's turn; called under a place."""
        await self.resumed()
        await self._requests.take()

    def place(self) -> FairPlaces:
        """Return what holds one place for one exchange, as a context manager."""
        return self._places

    async def acquire(self) -> None:
        """Take a place, to be given back with `release`."""
        await self._places.acquire()

    def try_acquire(self) -> bool:
        """Take a place if one is free at once."""
        return self._places.acquire_nowait()

    def release(self) -> None:
        """Give a place back."""
        self._places.release()


class _Held(Places):
    """Places at the registries of one copy. A registry that is source and target has one place for both."""

    def __init__(self, source: str, targets: Collection[str]) -> None:
        self.wanted = sorted({source, *targets})
        self._source = source
        self._targets = frozenset(targets)
        self._throttles: dict[str, Throttle | None] = {}
        self._done: set[tuple[str, bool]] = set()

    @property
    def targets(self) -> frozenset[str]:
        """The targets that got a place, whether or not it was given back since."""
        return self._targets & self._throttles.keys()

    @property
    def missing(self) -> Collection[str]:
        """The hosts of which one has to be waited for before the copy can begin."""
        if self._source not in self._throttles:
            return (self._source,)
        return self._targets if not self.targets else ()

    def has(self, host: str) -> bool:
        """Say whether there is a place at ``host``."""
        return host in self._throttles

    def is_in_order(self, host: str) -> bool:
        """Say whether ``host`` comes after all that is held, so that waiting for it closes no circle."""
        return all(host > other for other, throttle in self._throttles.items() if throttle is not None)

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
        has_other_use = host in self._targets if is_source else host == self._source
        throttle = self._throttles[host]
        if throttle is not None and (other in self._done or not has_other_use):
            throttle.release()


class RegistrySlots(Slots):
    """Places at several registries.

    Nobody waits in a circle, and a registry that stands still does not fill the others with copies that wait for it.
    Hosts are asked in sorted order, and while anything is held no host is waited for longer than the caller's
    patience. Who lacks the source or all targets then holds nothing while waiting for that; the place which comes is
    kept, and the hosts before it in the order are taken only if they are free at once. A host that was waited for in
    vain is not waited for again until it has a free place, or each blob would lose the time anew.
    """

    def __init__(self, throttles: ThrottleBook) -> None:
        self._throttles = throttles
        self._full: set[str] = set()

    @asynccontextmanager
    async def hold(self, *, source: str, targets: Collection[str], patience_s: float) -> AsyncIterator[Places]:
        """Hold one place at ``source`` and at each target, as the port says."""
        held = _Held(source, targets)
        try:
            while not await self._take(held, patience_s):
                missing = held.missing
                held.close()
                held = _Held(source, targets)
                await self._wait_for_any(held, missing)
            yield held
        finally:
            held.close()

    async def _take(self, held: _Held, patience_s: float) -> bool:
        """Take what is to be had besides what is held; say whether it is enough to begin."""
        for host in held.wanted:
            throttle = self._throttles.throttle(host)
            if held.has(host):
                continue
            if throttle is None or throttle.try_acquire():
                self._full.discard(host)
                held.add(host, throttle)
            elif host not in self._full and held.is_in_order(host):
                with anyio.move_on_after(patience_s) as scope:
                    await throttle.acquire()
                    held.add(host, throttle)
                if scope.cancelled_caught:
                    self._full.add(host)
        return not held.missing

    async def _wait_for_any(self, held: _Held, hosts: Collection[str]) -> None:
        """Wait until one of ``hosts`` has a place, and take it."""
        throttles = {host: throttle for host in hosts if (throttle := self._throttles.throttle(host)) is not None}
        async with anyio.create_task_group() as group:

            async def wait(host: str, throttle: Throttle) -> None:
                await throttle.acquire()
                if group.cancel_scope.cancel_called:
                    throttle.release()
                    return
                held.add(host, throttle)
                self._full.discard(host)
                group.cancel_scope.cancel()

            for host, throttle in throttles.items():
                group.start_soon(wait, host, throttle)


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
