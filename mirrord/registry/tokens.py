"""How one registry wants to know who asks: its challenge, and the tokens of its token service.

Source: distribution, docs/content/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote as percent
from urllib.parse import urlencode

import anyio

from mirrord.errors import ProtocolViolationError, RegistryError, UnauthorizedError, UnsupportedError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential
from mirrord.registry.authorizing import RequestAuthorizer
from mirrord.registry.challenge import BasicChallenge, BearerChallenge, choose, parse_challenges
from mirrord.registry.scopes import Scopes

CLIENT_ID = "mirrord"
DEFAULT_LIFE_S = 60.0
LONGEST_TOLD_LIFE_S = 15 * 60.0
LONGEST_LIFE_S = 12 * 3600.0
USABLE_SHARE = 0.8
REFUSED_FOR_S = 15.0
"""A token service that refused or did not answer is not asked the same again for so long: some lock accounts."""

_MOST_TOKENS = 4096
_JWT_PARTS = 3
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")
_POST_REFUSED = frozenset({400, 401, 403, 404, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What a token service answered: its status and its body, capped."""

    status: int
    body: bytes


class TokenFetcher(Protocol):
    """Asks a token service; checks first that the service may see this registry's credential."""

    async def __call__(self, *, method: str, url: str, headers: dict[str, str], content: bytes) -> TokenAnswer:
        """Carry out one request to a token service.

        Raises:
            AddressRefusedError: the realm is not one that may see the credential.
            RegistryError: there was no usable answer.
        """
        ...


@dataclass(slots=True)
class _Token:
    text: str
    good_until: float


@dataclass(frozen=True, slots=True)
class _Failure:
    error: RegistryError
    until: float


_Key = tuple[str, str, Scopes, str]


class Authorizer(RequestAuthorizer):
    """Makes the Authorization header for one registry and one credential, and learns from refusals."""

    def __init__(
        self,
        *,
        host: str,
        credential: Callable[[], Awaitable[Credential | None]],
        fetch: TokenFetcher,
        clock: Clock,
        token_scopes: Callable[[Scopes], Scopes] = lambda scopes: scopes,
        drop_credential: Callable[[], None] = lambda: None,
        missing: Callable[[], str] = lambda: "",
    ) -> None:
        """Make an authorizer.

        Args:
            host: the registry's name, for messages.
            credential: returns the credential, or None for an anonymous registry.
            fetch: asks token services.
            clock: time.
            token_scopes: puts scopes into the words of the registry's token service.
            drop_credential: makes ``credential`` ask its sources anew, since what it returned was not accepted.
            missing: says what would give an anonymous client a credential, as a remedy; "" where nothing is known.
        """
        self._missing = missing
        self._token_scopes = token_scopes
        self._drop_credential = drop_credential
        self._host = host
        self._credential = credential
        self._fetch = fetch
        self._clock = clock
        self._drop_again_at = 0.0
        self._challenge: BasicChallenge | BearerChallenge | None = None
        self._tokens: dict[_Key, _Token] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._locks: dict[_Key, anyio.Lock] = {}

    @property
    def scheme(self) -> str:
        """What the registry wants: "basic", "bearer" or "none" (as far as is known)."""
        match self._challenge:
            case BasicChallenge():
                return "basic"
            case BearerChallenge():
                return "bearer"
            case _:
                return "none"

    @property
    def realm(self) -> str:
        """The URL of the token service that the registry named last; not judged."""
        return self._challenge.realm if isinstance(self._challenge, BearerChallenge) else ""

    def learn(self, header_values: Sequence[str]) -> bool:
        """Take note of a challenge; say whether there was one that can be met.

        Once a registry spoke of tokens, a later Basic challenge is not believed: Harbor answers an expired token
        with one.
        """
        challenge = choose(parse_challenges(header_values))
        if challenge is None:
            return False
        if isinstance(self._challenge, BearerChallenge) and isinstance(challenge, BasicChallenge):
            return True
        self._challenge = challenge
        return True

    async def header(self, scopes: Scopes) -> str | None:
        """Return the value of the Authorization header for a request that needs ``scopes``; None: send none.

        Raises:
            CredentialError: the configured source of the credential failed.
            UnauthorizedError: the token service does not accept the credential.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        credential = await self._credential()
        if isinstance(challenge, BasicChallenge):
            return _basic(credential) if credential is not None else None
        meant = self._meant(challenge, scopes)
        try:
            return f"Bearer {await self._token(challenge, meant, credential)}"
        except UnauthorizedError:
            fresh = await self._credential()  # what the token service refused was dropped; is there anything else?
            if credential is None or fresh is None or fresh.key == credential.key:
                raise
            return f"Bearer {await self._token(challenge, meant, fresh)}"

    async def forget(self, scopes: Scopes, refused: str) -> None:
        """Drop what made the header value ``refused``, if it is still in use: a token, or the credential itself.

        Many requests may be refused at once: the first drops it, and the others find its successor.
        """
        challenge = self._challenge
        if challenge is None:
            return
        credential = await self._credential()
        if isinstance(challenge, BasicChallenge):
            if credential is not None and refused == _basic(credential):
                self._drop()
        else:
            key = _key(challenge, self._meant(challenge, scopes), credential)
            token = self._tokens.get(key)
            if token is not None and refused == f"Bearer {token.text}":
                del self._tokens[key]

    def _drop(self) -> None:
        """Have the sources of the credential asked anew, but not for every request that a wrong one makes fail."""
        now = self._clock.monotonic()
        if now >= self._drop_again_at:
            self._drop_again_at = now + REFUSED_FOR_S
            self._drop_credential()

    def _meant(self, challenge: BearerChallenge, scopes: Scopes) -> Scopes:
        """Use our own scopes; an opaque one of the challenge ("aws") stands where the registry knows no others."""
        if challenge.scope and ":" not in challenge.scope:
            return (challenge.scope,)
        return self._token_scopes(scopes)

    async def _token(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> str:
        key = _key(challenge, scopes, credential)
        if (token := self._usable(key)) is not None:
            return token
        lock = self._locks.setdefault(key, anyio.Lock())
        try:
            async with lock:
                if (token := self._usable(key)) is not None:
                    return token
                self._raise_known_failure(key)
                try:
                    fresh = await self._ask(challenge, scopes, credential)
                except RegistryError as exc:
                    exc.retryable = False  # whoever asked the service made its tries: retries must not multiply
                    if isinstance(exc, UnauthorizedError):
                        self._drop()
                    self._remember_failure(key, exc)
                    raise
                if len(self._tokens) >= _MOST_TOKENS:
                    self._drop_old()
                self._tokens[key] = fresh
                return fresh.text
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(key, None)

    def _usable(self, key: _Key) -> str | None:
        token = self._tokens.get(key)
        return token.text if token is not None and self._clock.monotonic() < token.good_until else None

    def _remember_failure(self, key: _Key, error: RegistryError) -> None:
        now = self._clock.monotonic()
        self._failures = {known: failure for known, failure in self._failures.items() if failure.until > now}
        self._failures[key] = _Failure(error, now + REFUSED_FOR_S)

    def _raise_known_failure(self, key: _Key) -> None:
        failure = self._failures.get(key)
        if failure is None or failure.until <= self._clock.monotonic():
            return
        known = failure.error
        raise type(known)(
            known.message, host=known.host, status=known.status, code=known.code, remedy=known.remedy, retryable=False
        ) from known

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        self._tokens = {key: token for key, token in self._tokens.items() if token.good_until > now}
        if len(self._tokens) >= _MOST_TOKENS:
            self._tokens.clear()

    async def _ask(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> _Token:
        received = self._clock.monotonic()
        if credential is not None and credential.identity_token:
            answer = await self._post(challenge, scopes, credential)
            if answer.status in _POST_REFUSED and credential.username and credential.secret:
                answer = await self._get(challenge, scopes, credential)
        else:
            answer = await self._get(challenge, scopes, credential)
            if answer.status in (404, 405) and credential is not None:
                answer = await self._post(challenge, scopes, credential)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise self._refused(scopes, credential, answer)
        return _read_token(answer.body, received, self._host)

    async def _get(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> TokenAnswer:
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        if credential is not None and credential.username and credential.secret:
            query.append(("account", credential.username))
        text = urlencode(query, quote_via=percent, safe="/:,")
        joint = "" if not text else "&" if "?" in challenge.realm else "?"
        headers = {"Authorization": _basic(credential)} if credential is not None and credential.secret else {}
        return await self._fetch(method="GET", url=f"{challenge.realm}{joint}{text}", headers=headers, content=b"")

    async def _post(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential) -> TokenAnswer:
        form = {"service": challenge.service, "client_id": CLIENT_ID, "scope": " ".join(scopes)}
        if credential.identity_token:
            form |= {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        else:
            form |= {"grant_type": "password", "username": credential.username, "password": credential.secret}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._fetch(
            method="POST", url=challenge.realm, headers=headers, content=urlencode(form, quote_via=percent).encode()
        )

    def _refused(self, scopes: Scopes, credential: Credential | None, answer: TokenAnswer) -> RegistryError:
        who = f'the credential of user "{credential.username}"' if credential is not None else "an anonymous client"
        what = f"the token service of {self._host} gives {who} no token for {' '.join(scopes) or 'this registry'}"
        if answer.status in (400, 401, 403):
            remedy = (credential is None and self._missing()) or None
            return UnauthorizedError(
                f"{what}: status {answer.status}", host=self._host, status=answer.status, remedy=remedy
            )
        if answer.status in (404, 405):
            return UnsupportedError(
                f"{what}: status {answer.status}; neither GET nor POST is understood there",
                host=self._host,
                status=answer.status,
            )
        return ProtocolViolationError(f"{what}: status {answer.status}", host=self._host, status=answer.status)


def _key(challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> _Key:
    return challenge.realm, challenge.service, scopes, credential.key if credential is not None else ""


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.secret}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _read_token(body: bytes, received: float, host: str) -> _Token:
    """Read a token answer of any of the shapes in use; its life counts from receipt, on the monotonic clock."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    text = (fields.get("token") or fields.get("access_token")) if isinstance(fields, dict) else None
    if not isinstance(text, str) or not _TOKEN_TEXT.fullmatch(text):
        raise ProtocolViolationError(
            f"the token service of {host} answered without a usable token", host=host, code="TOKEN_INVALID"
        )
    life = fields.get("expires_in")
    if not isinstance(life, int | float) or isinstance(life, bool) or not 0 < life < math.inf:
        life = _told_life_s(text)
    return _Token(text, received + min(life, LONGEST_LIFE_S) * USABLE_SHARE)


def _told_life_s(token: str) -> float:
    """Return the life that a JWT tells of itself, between its own two moments; what is no such token lives a minute.

    Nobody checks its signature here, so it is a hint: it is believed for no longer than `LONGEST_TOLD_LIFE_S`.
    """
    claims = read_claims(token)
    begins, ends = claims.get("iat"), claims.get("exp")
    if not isinstance(begins, int) or not isinstance(ends, int):
        return DEFAULT_LIFE_S
    return min(max(float(ends - begins), DEFAULT_LIFE_S), LONGEST_TOLD_LIFE_S)


def read_claims(token: str) -> Mapping[str, object]:
    """Return what a JWT says, unverified; nothing of one that cannot be read. Source: RFC 7519, section 3."""
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
