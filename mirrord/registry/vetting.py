"""Whether a credential is any good, found out by the first who uses it: accounts get locked by too many refusals.

A refusal alone does not tell: some registries refuse a right password where a right to one repository lacks. What tells
is a log-in as `docker login` does it, without naming a repository.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from mirrord.errors import UnauthorizedError
from mirrord.ports.clock import Clock

VOUCHED_S: Final = 5 * 60.0
"""A credential that was accepted is taken for right so long; after that one asks first while the others wait."""

REJECTED_FOR_S: Final = 15 * 60.0
"""A credential that was rejected is not tried again for so long; another one is tried at once."""

UNCLEAR_FOR_S: Final = 15.0
"""Where nobody could tell, all may ask for so long."""

MOST_REFUSALS: Final = 4
"""Refusals of a credential that nothing vouches for, after which it counts as rejected."""

_MOST_KNOWN: Final = 64


@dataclass(slots=True)
class _Standing:
    """What is known of one credential; moments are monotonic seconds."""

    vouched_until: float = -math.inf
    rejected_until: float = -math.inf
    error: UnauthorizedError | None = None
    accepted: bool = False
    refusals: int = 0
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Vetting:
    """Remembers which credentials one registry accepted, by their keys; bounded, the oldest are forgotten first."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        self._known: dict[str, _Standing] = {}

    def is_vouched(self, key: str) -> bool:
        """Say whether all may use a credential at once."""
        return self._of(key).vouched_until > self._clock.monotonic()

    def raise_rejected(self, key: str) -> None:
        """Raise what a credential was rejected with, if that was not long ago.

        Raises:
            UnauthorizedError: it is not tried again for now.
        """
        standing = self._of(key)
        if (known := standing.error) is not None and self._clock.monotonic() < standing.rejected_until:
            raise UnauthorizedError(
                known.message, host=known.host, status=known.status, code=known.code, remedy=known.remedy
            ) from known

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Let all pass where a credential is vouched for, and one after the other where nobody knows yet.

        Raises:
            UnauthorizedError: it was rejected, perhaps while this one waited.
        """
        self.raise_rejected(key)
        if self.is_vouched(key):
            yield
            return
        async with self._of(key).lock:
            self.raise_rejected(key)
            yield

    def accept(self, key: str, *, strongly: bool = True) -> None:
        """Take note that a credential was accepted; not ``strongly``: that nobody can tell."""
        standing = self._of(key)
        standing.vouched_until = self._clock.monotonic() + (VOUCHED_S if strongly else UNCLEAR_FOR_S)
        if strongly:
            standing.accepted, standing.refusals, standing.error = True, 0, None

    def reject(self, key: str, error: UnauthorizedError) -> None:
        """Take note that a credential was rejected."""
        standing = self._of(key)
        standing.error, standing.rejected_until = error, self._clock.monotonic() + REJECTED_FOR_S
        standing.vouched_until, standing.accepted, standing.refusals = -math.inf, False, 0

    def is_one_too_many(self, key: str) -> bool:
        """Count a refusal; say whether a credential that never was accepted has had too many."""
        standing = self._of(key)
        standing.refusals += 1
        return not standing.accepted and standing.refusals >= MOST_REFUSALS

    def _of(self, key: str) -> _Standing:
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = _Standing()
        return self._known[key]
