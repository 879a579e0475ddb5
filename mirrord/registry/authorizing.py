"""Who makes the Authorization header of a request: what a registry's client and an API's client have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential
from mirrord.registry.scopes import Scopes

REFUSED_FOR_S: Final = 15 * 60.0
"""What an API refused is not sent there again for so long: too many tries lock accounts."""

MOST_REFUSALS: Final = 4
"""Refusals without a success between them, after which what was accepted once counts as refused."""

DROP_EVERY_S: Final = 15.0
"""What was refused is asked for anew once in so many seconds: where a right lacks, another token is no better."""


class RequestAuthorizer(Protocol):
    """Makes the Authorization header, and learns from refusals."""

    @property
    def scheme(self) -> str:
        """What is asked for: "basic", "bearer", "api" or "none"."""
        ...

    @property
    def realm(self) -> str:
        """The URL of the token service that the registry named; empty where it named none."""
        ...

    async def header(self, scopes: Scopes) -> str | None:
        """Return the header's value for a request that needs ``scopes``; None: send none."""
        ...

    async def forget(self, scopes: Scopes, refused: str) -> None:
        """Drop what made the header value ``refused``."""
        ...

    async def renew(self, scopes: Scopes, refused: str) -> bool:
        """Drop what made the header value ``refused``, since it has ended; say whether there is another one to send."""
        await self.forget(scopes, refused)
        return await self.header(scopes) not in (None, refused)

    def learn(self, header_values: Sequence[str]) -> bool:
        """Take note of a challenge; say whether it can be met."""
        ...

    async def refused(self) -> str:
        """Return what was not accepted, in words that go on after "the API at x"; "" where nothing was sent."""
        return ""

    async def whose(self) -> str:
        """Return whose credential is sent, for the errors of an API; "" where the errors say it, or nobody's is."""
        return ""

    def may_insist(self) -> bool:
        """Say whether what was refused may be sent once more as it is: a refusal may have been a mistake."""
        return False

    def heard(self, sent: str, status: int) -> None:  # noqa: ARG002 - of use to some
        """Take note of how a request with the header value ``sent`` was answered."""
        return


class ApiAuthorizer(RequestAuthorizer):
    """Authorises requests to an API beside the distribution API by what the provider says, and by nothing else.

    What was refused is not sent again for a while, so that a wrong password costs few requests: the API is asked
    anonymously then, which some things need no more than.
    """

    def __init__(
        self,
        authorization: Callable[[], Awaitable[str | None]],
        *,
        clock: Clock,
        credential: Callable[[], Awaitable[Credential | None]],
        drop: Callable[[str], None] = lambda _refused: None,
    ) -> None:
        """Ask ``authorization`` before each request.

        Args:
            authorization: returns the header's value.
            clock: time.
            credential: returns the registry's credential, for messages.
            drop: is told a value that was refused, so that the next one may be another.
        """
        self._authorization = authorization
        self._clock = clock
        self._credential = credential
        self._drop = drop
        self._refused = ""
        self._refused_until = 0.0
        self._accepted = ""
        self._refusals = 0
        self._drop_again_at = 0.0

    @property
    def scheme(self) -> str:
        """The API's own."""
        return "api"

    @property
    def realm(self) -> str:
        """None."""
        return ""

    async def header(self, scopes: Scopes) -> str | None:  # noqa: ARG002 - an API knows no scopes
        """Return what the provider says; the same again after it was refused is of no use, and none is sent."""
        value = await self._authorization()
        return None if value == self._refused and self._clock.monotonic() < self._refused_until else value

    async def forget(self, scopes: Scopes, refused: str) -> None:  # noqa: ARG002 - an API knows no scopes
        """Do not send ``refused`` again for a while, unless it was accepted elsewhere: then a right lacks here.

        Nothing changes where nothing was sent.
        """
        if not refused:
            return
        now = self._clock.monotonic()
        self._refusals += 1
        if refused != self._accepted or self._refusals >= MOST_REFUSALS:
            self._refused, self._refused_until = refused, now + REFUSED_FOR_S
        if now >= self._drop_again_at:
            self._drop_again_at = now + DROP_EVERY_S
            self._drop(refused)

    def heard(self, sent: str, status: int) -> None:
        """Take note of what was accepted."""
        if status != 401:  # noqa: PLR2004 - Unauthorized
            self._accepted, self._refusals = sent, 0

    async def refused(self) -> str:
        """Say whose credential is not accepted, or is none for this API."""
        whose = await self.whose()
        if not whose:
            return ""
        if await self._authorization() is None:
            return f"takes another kind of credential than that of {whose}"
        return f"does not accept the credential of {whose}"

    async def whose(self) -> str:
        """Name the user, and where its credential was found."""
        credential = await self._credential()
        return f'user "{credential.username}" ({credential.origin or "as configured"})' if credential else ""

    def learn(self, header_values: Sequence[str]) -> bool:  # noqa: ARG002 - the provider knows beforehand
        """Learn nothing: how an API is asked is known beforehand."""
        return False
