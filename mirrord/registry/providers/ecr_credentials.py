"""The credential of ECR: a token of AWS that is a user name and a password, for twelve hours.

Source: AWS, API_GetAuthorizationToken; amazon-ecr-credential-helper, ecr-login/cache (renewal at half of its life).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import anyio

from mirrord.errors import CredentialError, RegistryError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.registry.providers.ecr_api import EcrApi

LIFE_S: Final = 12 * 3600.0
"""How long AWS says that tokens live."""
FLOOR_S: Final = 60.0
"""The shortest time between two tokens, whatever their life is said to be, and between two that were refused."""
FAILED_FOR_S: Final = 15.0
"""AWS is not asked again for so long after a failure."""

_SKEW_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Issued:
    """A token, with moments on the monotonic clock: when to ask for the next, and when it ends."""

    credential: Credential
    renew_at: float
    good_until: float


class EcrCredentials(CredentialProvider):
    """Tokens of one ECR. One is fetched at a time, and all who ask share it for half of its life.

    While the next one is fetched, and when that fails, the old one is used for as long as it lives.
    """

    def __init__(self, api: EcrApi, clock: Clock) -> None:
        """Ask for nothing yet."""
        self._api = api
        self._clock = clock
        self._lock = anyio.Lock()
        self._issued: _Issued | None = None
        self._failure: CredentialError | None = None
        self._failed_until = 0.0
        self._forget_again_at = 0.0

    async def credential(self, host: str) -> Credential | None:
        """Return the credential for a registry of this account and region.

        Raises:
            CredentialUnavailableError: there is no boto3, or no identity at AWS.
            CredentialError: AWS gave no token.
        """
        if (known := self._usable()) is not None:
            return known
        async with self._lock:
            if (known := self._usable(locked=True)) is not None:
                return known
            return await self._renew(host)

    def forget(self, host: str) -> None:  # noqa: ARG002 - one token for all names of the registry
        """Drop the token: the registry says that it has ended. One that comes at once is no better, and is kept."""
        now = self._clock.monotonic()
        if self._issued is not None and now >= self._forget_again_at:
            self._forget_again_at = now + FLOOR_S
            self._issued = None

    def _usable(self, *, locked: bool = False) -> Credential | None:
        issued, now = self._issued, self._clock.monotonic()
        if issued is None:
            return None
        renewing = self._lock.locked() and not locked
        return issued.credential if now < (issued.good_until if renewing else issued.renew_at) else None

    async def _renew(self, host: str) -> Credential:
        try:
            self._raise_known_failure()
            self._issued = await self._fetch(host)
        except CredentialError as exc:
            now, old = self._clock.monotonic(), self._issued
            if old is not None and now < old.good_until:
                self._issued = replace(old, renew_at=now + FLOOR_S)
                return old.credential
            if now >= self._failed_until:
                self._failure, self._failed_until = exc, now + FAILED_FOR_S
            raise
        return self._issued.credential

    def _raise_known_failure(self) -> None:
        known = self._failure
        if known is not None and self._clock.monotonic() < self._failed_until:
            raise type(known)(known.message, code=known.code, remedy=known.remedy) from known

    async def _fetch(self, host: str) -> _Issued:
        place = self._api.place
        what = f"get a token for {host} from AWS"
        parameters = {"registryIds": [place.account]} if place.account else {}
        try:
            answer = await self._api.call(
                "get_authorization_token",
                what=what,
                host=host,
                action=f"{place.service}:GetAuthorizationToken",
                **parameters,
            )
        except RegistryError as exc:
            raise CredentialError(exc.message, code=exc.code, remedy=exc.remedy) from exc
        return self._read(answer, what)

    def _read(self, answer: Mapping[str, Any], what: str) -> _Issued:
        """Return the token of an answer; one whose end is out of all reason lives as long as AWS says that they do."""
        data = answer.get("authorizationData")
        entry = data[0] if isinstance(data, list) and data else data  # ECR Public answers with one object
        token = entry.get("authorizationToken") if isinstance(entry, dict) else None
        try:
            text = base64.b64decode(token or "", validate=True).decode()
        except (binascii.Error, ValueError, TypeError):
            text = ""
        username, colon, password = text.partition(":")
        if not username or not colon or not password:
            raise CredentialError(f"{what}: the answer has no usable token", remedy="try again; report it if it stays")
        now = self._clock.monotonic()
        expires_at = entry.get("expiresAt") if isinstance(entry, dict) else None
        left_s = self._left_s(expires_at)
        life_s = LIFE_S if left_s is None else left_s
        credential = Credential(
            username=username,
            secret=password,
            expires_at=expires_at if left_s is not None else None,
            origin="AWS, by boto3",
        )
        return _Issued(credential, now + max(life_s / 2, FLOOR_S), now + life_s)

    def _left_s(self, expires_at: object) -> float | None:
        """Return the seconds until ``expires_at``; None for a moment that cannot be meant: a clock is wrong."""
        if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
            return None
        left_s = (expires_at - self._clock.now()).total_seconds()
        return left_s if 0 < left_s <= LIFE_S + _SKEW_S else None


class EcrPublicCredentials(EcrCredentials):
    """Tokens for public.ecr.aws, which serves everybody: whoever gets none is anonymous, and only slower.

    An identity at AWS is mostly there for something else, and may have no right to such a token.
    """

    async def credential(self, host: str) -> Credential | None:
        """Return the credential; None where AWS gives none, for whatever reason."""
        try:
            return await super().credential(host)
        except CredentialError:
            return None
