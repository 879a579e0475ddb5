"""Pulls of a registry that counts them: what is left, who may still fetch, and who waits or goes without.

A pull is a manifest that is fetched; looking one up by HEAD is free, and its answer tells what is left. One `Metering`
belongs to one registry and is shared by all rules of the process; it keeps the accounts of credentials apart, since
each has a quota of its own.

Nothing is held while somebody waits here: neither a place at the registry nor one of a copy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

import anyio

from mirrord.errors import QuotaExhaustedError, RegistryError
from mirrord.planning.report import PullQuota, window_text
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, ManifestPulled, QuotaTold, RegistryPaused
from mirrord.registry.pulled import PulledManifests
from mirrord.registry.quota import Reading, read_quota

LONGEST_WAIT_S: Final = 15 * 60.0
"""Who would have to wait longer for a pull goes without."""

ASK_EVERY_S: Final = 60.0
"""How often it is asked again, by HEAD, whether there is more."""

QUOTA_TRIES: Final = 3
"""How often a pull is tried that the registry refuses although it said that there are some left."""

NARROW_SHARE: Final = 0.1
"""With less than this share of the quota left, pulls go one after the other, each with the answer of the one before."""

PLENTY: Final = 1_000
"""With fewer pulls left, images take turns: what is left is to make some of them whole, and not all of them begun."""

T = TypeVar("T")

_MOST_REMEMBERED: Final = 10_000
_NOT_FOUND: Final = 404


@dataclass(slots=True)
class _Account:
    """What is known of one credential's quota. Moments are monotonic seconds; ticks order questions and answers.

    ``remaining`` None: there is no limit, or nobody said yet (``known`` False). ``refill_at`` is a moment that the
    registry named. ``dry_since`` is when it came to light that nothing may be spent, ``waiting_since`` when somebody
    began to wait for more, and ``resting_until`` up to when that was told.
    """

    known: bool = False
    limit: int | None = None
    remaining: int | None = None
    window_s: int | None = None
    refill_at: float | None = None
    told_at: float = -math.inf
    told_tick: int = 0
    in_flight: int = 0
    dry_since: float | None = None
    waiting_since: float | None = None
    resting_until: float = 0.0
    spent: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_REMEMBERED))
    asking: anyio.Lock = field(default_factory=anyio.Lock)
    changed: anyio.Event = field(default_factory=anyio.Event)

    def is_dry(self, reserve: int) -> bool:
        """Say whether nothing may be spent any more."""
        return self.remaining is not None and self.remaining <= reserve

    def has_room(self, reserve: int) -> bool:
        """Say whether one more pull may begin beside those in flight, all of which may still count."""
        if self.remaining is None:
            return True
        left = self.remaining - reserve
        if self.in_flight and left <= (self.limit or self.remaining) * NARROW_SHARE:
            return False
        return left > self.in_flight

    def take_note(self, reading: Reading, *, counts: bool, asked_tick: int, tick: int, now: float) -> None:
        """Take note of an answer to a question that was asked at ``asked_tick``."""
        self.known = True
        if reading.remaining is None:
            if counts and self.remaining is not None:
                self.remaining = max(0, self.remaining - 1)
            elif not counts:
                self.remaining = self.limit = None
        elif self.remaining is None or asked_tick > self.told_tick:
            self.remaining = reading.remaining
        else:  # answers of requests side by side may overtake each other: the smaller number is the later one
            self.remaining = min(self.remaining, reading.remaining)
        if reading:
            self.limit = reading.limit if reading.limit is not None else self.limit
            self.window_s = reading.window_s or self.window_s
            self.refill_at = now + reading.reset_s if reading.reset_s is not None else None
        if counts:
            self.spent.append(now)
        self.told_at, self.told_tick = now, tick

    def refills_at(self, reserve: int) -> float | None:
        """Return when there will be a pull to spend, or None if nothing tells: at the latest, if nobody else pulls."""
        moments = [self.refill_at] if self.refill_at is not None else []
        if self.window_s is not None and self.dry_since is not None:
            moments.append(self.dry_since + self.window_s)
            missing = reserve + 1 - (self.remaining or 0)
            if 0 < missing <= len(self.spent):
                moments.append(self.spent[missing - 1] + self.window_s)
        return min(moments, default=None)

    def wake(self) -> None:
        """Let those look again who wait for pulls in flight."""
        self.changed.set()
        self.changed = anyio.Event()


class Metering:
    """Counts the pulls of one registry, and lets through what its quota and the reserve allow."""

    def __init__(
        self, *, host: str, reserve: int, identity: Callable[[], Awaitable[str]], clock: Clock, events: EventSink
    ) -> None:
        """Know nothing yet.

        Args:
            host: the registry's name.
            reserve: pulls that are never spent.
            identity: returns who asks, by a name that stays when secrets change; each has a quota of its own.
            clock: time.
            events: is told of every pull, and of what is left.
        """
        self.manifests = PulledManifests()
        self._host = host
        self._reserve = reserve
        self._identity = identity
        self._clock = clock
        self._events = events
        self._accounts: dict[str, _Account] = {}
        self._turns = anyio.Lock()
        self._ticks = 0

    def tick(self) -> int:
        """Return a number greater than all before: what was asked when."""
        self._ticks += 1
        return self._ticks

    async def hear(self, method: str, status: int, headers: Mapping[str, str], asked_tick: int) -> None:
        """Take note of the answer to a question about a manifest. A 401 is none: it is asked again."""
        reading = read_quota(headers)
        counts = method == "GET" and (status < 400 or status == _NOT_FOUND)  # noqa: PLR2004 - refusals cost nothing
        account = await self._account()
        if reading or status == 200:  # noqa: PLR2004 - OK: a refusal without headers says nothing
            account.take_note(
                reading, counts=counts, asked_tick=asked_tick, tick=self.tick(), now=self._clock.monotonic()
            )
        if counts:
            self._events.emit(ManifestPulled(host=self._host))
        if account.remaining is not None:
            quota = PullQuota(
                limit=account.limit, remaining=account.remaining, window_s=account.window_s, reserve=self._reserve
            )
            self._events.emit(QuotaTold(host=self._host, quota=quota))

    async def exhausted(self, retry_after_s: float | None) -> None:
        """Take note that the registry refused a pull because none is left."""
        account, now = await self._account(), self._clock.monotonic()
        account.known, account.remaining = True, 0
        account.told_at, account.told_tick = now, self.tick()
        if retry_after_s is not None:
            account.refill_at = now + retry_after_s

    async def fetch(self, attempt: Callable[[], Awaitable[T]], look: Callable[[], Awaitable[object]]) -> T:
        """Make an attempt at a pull when the quota allows it; a refused one waits for its turn anew.

        Args:
            attempt: fetches the manifest.
            look: looks it up by HEAD, with all tries; the answer comes to `hear`.

        Raises:
            QuotaExhaustedError: none may be spent now, nor soon.
            RegistryError: what ``attempt`` or ``look`` raised.
        """

        async def ask() -> None:
            try:
                await look()
            except QuotaExhaustedError as exc:
                await self.exhausted(exc.retry_after_s)
            except RegistryError as exc:
                exc.retryable = False  # it had its tries: retries must not multiply
                raise

        tries = 0
        while True:
            tries += 1
            try:
                async with self.pull(ask):
                    return await attempt()
            except QuotaExhaustedError as exc:
                if exc.status is None or tries >= QUOTA_TRIES:
                    exc.retryable = False
                    raise
                await self.exhausted(exc.retry_after_s)

    @asynccontextmanager
    async def pull(self, ask: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Wait until one pull may be spent, and hold it as one in flight.

        Args:
            ask: asks the registry something that is free and whose answer tells what is left; it comes to `hear`.

        Raises:
            QuotaExhaustedError: none may be spent now, nor soon.
        """
        account = await self._account()
        await self._admit(account, ask)
        try:
            yield
        except (RegistryError, anyio.get_cancelled_exc_class()) as exc:
            if (
                getattr(exc, "status", None) is None and account.remaining
            ):  # no answer: it may have counted all the same
                account.remaining -= 1
            raise
        finally:
            account.in_flight -= 1
            account.wake()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Let one image after the other fetch its manifests while pulls are few; nobody waits where they are many."""
        account = await self._account()
        if account.remaining is None or account.remaining - self._reserve >= PLENTY:
            yield
            return
        async with self._turns:
            yield

    async def _account(self) -> _Account:
        return self._accounts.setdefault(await self._identity(), _Account())

    async def _admit(self, account: _Account, ask: Callable[[], Awaitable[object]]) -> None:
        if self._reserve and not account.known:
            async with account.asking:
                if not account.known:
                    await ask()
                    account.known = True
        while not account.has_room(self._reserve):
            if account.is_dry(self._reserve):
                await self._wait_for_more(account, ask)
            else:
                await account.changed.wait()
        account.dry_since = account.waiting_since = None
        account.in_flight += 1

    async def _wait_for_more(self, account: _Account, ask: Callable[[], Awaitable[object]]) -> None:
        """Wait a little where there will be more soon, and ask; raise where there will not.

        The window rolls, and others may pull too: what a moment promises is asked for, at intervals.
        """
        now = self._clock.monotonic()
        account.dry_since = now if account.dry_since is None else account.dry_since
        moment = account.refills_at(self._reserve)
        known_tick = account.told_tick
        if moment is not None and moment - now <= LONGEST_WAIT_S:
            account.waiting_since = now if account.waiting_since is None else account.waiting_since
            if now < account.waiting_since + LONGEST_WAIT_S:
                every_s = min(ASK_EVERY_S, max(1.0, (account.window_s or math.inf) / 10))
                wait_s = min(moment - now, every_s) if moment > now else account.told_at + every_s - now
                if wait_s > 0:
                    self._tell_rest(account, now, wait_s)
                    await self._clock.sleep(wait_s)
                await self._ask(account, ask, known_tick)
                return
        else:
            account.waiting_since = None
        if now - account.told_at < ASK_EVERY_S:
            raise self._refusal(account, moment)
        await self._ask(account, ask, known_tick)
        if account.told_at < now and account.is_dry(self._reserve):
            raise self._refusal(account, moment)

    def _tell_rest(self, account: _Account, now: float, wait_s: float) -> None:
        """Tell that pulls rest; several that wait for the same account are one rest."""
        longer_s = now + wait_s - max(now, account.resting_until)
        if longer_s > 0:
            account.resting_until = now + wait_s
            self._events.emit(RegistryPaused(host=self._host, seconds=longer_s, reason="quota"))

    async def _ask(self, account: _Account, ask: Callable[[], Awaitable[object]], known_tick: int) -> None:
        """Ask what is left, unless somebody was told meanwhile."""
        async with account.asking:
            if account.told_tick == known_tick:
                await ask()

    def _refusal(self, account: _Account, moment: float | None) -> QuotaExhaustedError:
        """Return the error that says what is left, what is reserved, and until when."""
        now, left = self._clock.monotonic(), account.remaining or 0
        of = f" of {account.limit:,}" if account.limit is not None else ""
        window = f" in {window_text(account.window_s)}" if account.window_s is not None else ""
        text = f"{self._host}: {left:,}{of} pulls{window} are left"
        larger = "log in for a larger quota"
        if left and self._reserve:
            text += f", all of them within the reserve of {self._reserve:,}"
            larger += f', or lower registries."{self._host}".quota.reserve'
        again = "run again later"
        if moment is not None:
            until = f"{self._clock.now() + timedelta(seconds=max(0.0, moment - now) + 59):%Y-%m-%d %H:%M} UTC"
            text += f"; there will be more by {until}"
            again = f"run again after {until}"
        return QuotaExhaustedError(
            text,
            host=self._host,
            code="QUOTA_RESERVED" if left and self._reserve else None,
            remedy=f"{again}, {larger}",
            retry_after_s=max(0.0, moment - now) if moment is not None else None,
        )
