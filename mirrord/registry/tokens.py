"""How one registry wants to know who asks: its challenge, and the tokens of its token service.

Source: distribution, docs/content/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote as percent
from urllib.parse import urlencode

import anyio

from mirrord.errors import ProtocolViolationError, RegistryError, UnauthorizedError, UnsupportedError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential
from mirrord.registry.authorizing import RequestAuthorizer
from mirrord.registry.challenge import BasicChallenge, BearerChallenge, choose, parse_challenges
from mirrord.registry.scopes import Scopes
from mirrord.registry.tokenanswer import Token, TokenAnswer, TokenFetcher, read_token
from mirrord.registry.vetting import Vetting

CLIENT_ID = "mirrord"
REFUSED_FOR_S = 15.0
"""A token service that refused or did not answer is not asked the same again for so long: some lock accounts."""

MOST_RENEWALS = 3
RENEWALS_WITHIN_S = 60.0
"""Tokens for one thing that are fetched in so many seconds because the one before was refused."""

_MOST_TOKENS = 4096
_POST_REFUSED = frozenset({400, 401, 403, 404, 405, 501})


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
        knock: Callable[[str], Awaitable[bool]] | None = None,
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
            knock: asks the registry whether it accepts a header with a password, False where that cannot be told;
                raises `UnauthorizedError` where it does not.
        """
        self._missing = missing
        self._knock = knock
        self._token_scopes = token_scopes
        self._drop_credential = drop_credential
        self._host = host
        self._credential = credential
        self._fetch = fetch
        self._clock = clock
        self._drop_again_at = 0.0
        self._challenge: BasicChallenge | BearerChallenge | None = None
        self._tokens: dict[_Key, Token] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._locks: dict[_Key, anyio.Lock] = {}
        self._renewed: dict[_Key, tuple[int, float]] = {}
        self._insist_again_at = 0.0
        self._vetting = Vetting(clock)
        self._password: tuple[str, Credential] | None = None

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
        if credential is None and isinstance(challenge, BasicChallenge):
            return None
        try:
            return await self._value(challenge, scopes, credential)
        except UnauthorizedError:
            if credential is not None:
                self._drop()
            fresh = await self._credential()  # is there anything else?
            if credential is None or fresh is None or fresh.key == credential.key:
                raise
            return await self._value(challenge, scopes, fresh)

    async def _value(
        self, challenge: BasicChallenge | BearerChallenge, scopes: Scopes, credential: Credential | None
    ) -> str:
        if isinstance(challenge, BearerChallenge):
            return f"Bearer {await self._token(challenge, self._meant(challenge, scopes), credential)}"
        assert credential is not None
        value = _basic(credential)
        self._password = (value, credential)
        await self._vet(value, credential)
        return value

    async def _vet(self, value: str, credential: Credential) -> None:
        """See that the registry accepts a password, before many requests carry it.

        Raises:
            UnauthorizedError: it does not.
        """
        vetting, key = self._vetting, credential.key
        if self._knock is None or vetting.is_vouched(key):
            return
        async with vetting.turn(key):
            if vetting.is_vouched(key):
                return
            try:
                accepted = await self._knock(value)
            except UnauthorizedError as exc:
                error = self._rejected(credential, said=exc)
                vetting.reject(key, error)
                raise error from exc
            except RegistryError:
                accepted = False
            vetting.accept(key, strongly=accepted)

    def may_insist(self) -> bool:
        """Let a password that was accepted be sent once more as it is, now and then."""
        now = self._clock.monotonic()
        accepted = self._password is not None and self._vetting.is_vouched(self._password[1].key)
        if not accepted or isinstance(self._challenge, BearerChallenge) or now < self._insist_again_at:
            return False
        self._insist_again_at = now + REFUSED_FOR_S
        return True

    def heard(self, sent: str, status: int) -> None:
        """Take note of how a request with the header value ``sent`` was answered."""
        if self._password is None or sent != self._password[0]:
            return
        credential = self._password[1]
        if status != 401:  # noqa: PLR2004 - Unauthorized
            self._vetting.accept(credential.key)
        elif self._vetting.is_one_too_many(credential.key):
            self._vetting.reject(credential.key, self._rejected(credential))

    def _rejected(
        self, credential: Credential, *, by: str = "", said: RegistryError | None = None
    ) -> UnauthorizedError:
        return UnauthorizedError(
            f'{by}{self._host} does not accept the credential of user "{credential.username}"'
            + (f": {said.message}" if said is not None else ""),
            host=self._host,
            status=(said and said.status) or 401,
            error_codes=said.error_codes if said is not None else (),
        )

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
            now = self._clock.monotonic()
            if token is None or refused != f"Bearer {token.text}":
                return
            self._renewed = {known: entry for known, entry in self._renewed.items() if entry[1] > now}
            count, until = self._renewed.get(key, (0, now + RENEWALS_WITHIN_S))
            if count < MOST_RENEWALS:  # else it is a right that lacks, and the next token will not have it either
                self._renewed[key] = count + 1, until
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
                    fresh = await self._vetted(challenge, scopes, credential)
                except RegistryError as exc:
                    exc.retryable = False  # whoever asked the service made its tries: retries must not multiply
                    self._remember_failure(key, exc)
                    raise
                if len(self._tokens) >= _MOST_TOKENS:
                    self._drop_old()
                self._tokens[key] = fresh
                return fresh.text
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(key, None)

    async def _vetted(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> Token:
        """Ask for a token; where it is refused, find out whether the credential is to blame, and remember that."""
        if credential is None:
            return await self._ask(challenge, scopes, None)
        vetting, key = self._vetting, credential.key
        async with vetting.turn(key):
            try:
                fresh = await self._ask(challenge, scopes, credential)
            except UnauthorizedError as exc:
                if not vetting.is_vouched(key):
                    await self._find_blame(challenge, scopes, credential, exc)
                raise
            except RegistryError:
                vetting.accept(key, strongly=False)
                raise
            vetting.accept(key)
            return fresh

    async def _find_blame(
        self, challenge: BearerChallenge, scopes: Scopes, credential: Credential, refusal: UnauthorizedError
    ) -> None:
        """Ask for a token without any scope, as `docker login` does: who gets none has the wrong password.

        Raises:
            UnauthorizedError: so it is.
        """
        final: RegistryError | None = refusal
        if scopes and refusal.status != 400:  # noqa: PLR2004 - not understood
            try:
                await self._ask(challenge, (), credential)
                final = None
            except RegistryError as exc:
                final = exc
        if not isinstance(final, UnauthorizedError) or final.status == 400:  # noqa: PLR2004 - not understood
            self._vetting.accept(credential.key, strongly=final is None)
            return
        error = self._rejected(credential, by="the token service of ", said=final)
        self._vetting.reject(credential.key, error)
        raise error from refusal

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

    async def _ask(self, challenge: BearerChallenge, scopes: Scopes, credential: Credential | None) -> Token:
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
        return read_token(answer.body, received, self._host)

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
