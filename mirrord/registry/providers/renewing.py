"""Credentials of clouds: short-lived, fetched by one for all who ask, and renewed before they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import anyio

from mirrord.errors import CredentialError, CredentialUnavailableError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider

USABLE_SHARE: Final = 0.8
"""The share of a credential's life after which the next one is fetched."""
FLOOR_S: Final = 60.0
"""The shortest time between two that were fetched, whatever their life: some clouds hand out the old one again."""
FAILED_FOR_S: Final = 15.0
"""A cloud that gave none is not asked again for so long."""
ABSENT_FOR_S: Final = 120.0
"""Where there is no identity, none is looked for again for so long."""
LONGEST_LIFE_S: Final = 12 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A credential, and the seconds that it lives from now on; its ``expires_at`` is filled in."""

    credential: Credential
    life_s: float


@dataclass(frozen=True, slots=True)
class _Held:
    credential: Credential
    renew_at: float
    good_until: float


class RenewingCredentials(CredentialProvider):
    """One credential at a time. While the next is fetched, and when that fails, the old one is used till its end.

    Where there is no identity at all the registry is used anonymously: public content needs none. What would give one
    is told by `missing`, to who is refused.
    """

    def __init__(self, clock: Clock, fetch: Callable[[str], Awaitable[Issued]]) -> None:
        """Ask for nothing yet.

        Args:
            clock: time.
            fetch: fetches a credential for a host; raises `CredentialUnavailableError` where there is no identity,
                with a remedy that says what would give one, and another `CredentialError` where it does not work.
        """
        self._clock = clock
        self._fetch = fetch
        self._lock = anyio.Lock()
        self._held: _Held | None = None
        self._failure: CredentialError | None = None
        self._ask_again_at = 0.0
        self._forget_again_at = 0.0

    async def credential(self, host: str) -> Credential | None:
        """Return the credential; None where there is no identity.

        Raises:
            CredentialError: there is one, and it does not work.
        """
        if (known := self._usable()) is not None:
            return known
        async with self._lock:
            if (known := self._usable(locked=True)) is not None:
                return known
            try:
                return await self._renew(host)
            except CredentialUnavailableError:
                return None

    def missing(self, host: str) -> str:  # noqa: ARG002 - one host
        """Return what would give an identity, where none was found."""
        return self._failure.remedy if isinstance(self._failure, CredentialUnavailableError) else ""

    def forget(self, host: str) -> None:  # noqa: ARG002 - one host
        """Drop the credential; one that was fetched just now is no better than the next would be, and is kept."""
        now = self._clock.monotonic()
        if self._held is not None and now >= self._forget_again_at:
            self._forget_again_at = now + FLOOR_S
            self._held = None

    def _usable(self, *, locked: bool = False) -> Credential | None:
        held, now = self._held, self._clock.monotonic()
        if held is None:
            return None
        renewing = self._lock.locked() and not locked
        return held.credential if now < (held.good_until if renewing else held.renew_at) else None

    async def _renew(self, host: str) -> Credential:
        now = self._clock.monotonic()
        if (known := self._failure) is not None and now < self._ask_again_at:
            raise type(known)(known.message, code=known.code, remedy=known.remedy) from known
        try:
            issued = await self._fetch(host)
        except CredentialError as exc:
            now, old = self._clock.monotonic(), self._held
            if old is not None and now < old.good_until:
                self._held = replace(old, renew_at=now + FLOOR_S)
                return old.credential
            absent = isinstance(exc, CredentialUnavailableError)
            self._failure, self._ask_again_at = exc, now + (ABSENT_FOR_S if absent else FAILED_FOR_S)
            raise
        self._failure = None
        now = self._clock.monotonic()
        life_s = min(issued.life_s, LONGEST_LIFE_S)
        credential = replace(issued.credential, expires_at=self._clock.now() + timedelta(seconds=life_s))
        self._held = _Held(credential, now + max(life_s * USABLE_SHARE, FLOOR_S), now + life_s)
        return credential
