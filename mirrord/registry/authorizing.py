"""Who makes the Authorization header of a request: what a registry's client and an API's client have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from mirrord.registry.scopes import Scopes


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


class ApiAuthorizer(RequestAuthorizer):
    """Authorises requests to an API beside the distribution API by what the provider says, and by nothing else."""

    def __init__(self, authorization: Callable[[], Awaitable[str | None]]) -> None:
        """Ask ``authorization`` before each request."""
        self._authorization = authorization
        self._refused = ""

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
        return None if value == self._refused else value

    async def forget(self, scopes: Scopes, refused: str) -> None:  # noqa: ARG002 - an API knows no scopes
        """Do not send ``refused`` again."""
        self._refused = refused

    def learn(self, header_values: Sequence[str]) -> bool:  # noqa: ARG002 - the provider knows beforehand
        """Learn nothing: how an API is asked is known beforehand."""
        return False
