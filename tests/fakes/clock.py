"""Clocks for tests: one that a test moves, and one that runs fast."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel

from mirrord.ports.clock import Clock

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock(Clock):
    """Stands still until it is moved. A sleeper moves it itself, so that waiting costs nothing.

    With ``manual``, sleepers wait until the test has advanced the clock far enough. ``slept`` are the seconds of all
    sleeps, in order.
    """

    def __init__(self, start: datetime = START, *, manual: bool = False) -> None:
        self.slept: list[float] = []
        self._start = start
        self._elapsed_s = 0.0
        self._manual = manual
        self._moved = anyio.Event()

    def now(self) -> datetime:
        """Return the moment."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed_s += seconds
        self._moved.set()
        self._moved = anyio.Event()

    async def sleep(self, seconds: float) -> None:
        """Let time pass, or wait for the test to do so."""
        self.slept.append(seconds)
        until = self._elapsed_s + seconds
        if not self._manual:
            self.advance(max(0.0, seconds))
        await anyio.lowlevel.checkpoint()
        while self._elapsed_s < until and self._manual:
            await self._moved.wait()


class HastyClock(Clock):
    """The machine's clocks, so many times as fast: for what really waits, between requests over sockets."""

    def __init__(self, haste: float = 100) -> None:
        self._haste = haste
        self._began = time.monotonic()
        self._first = datetime.now(UTC)

    def now(self) -> datetime:
        return self._first + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._haste

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds / self._haste)
