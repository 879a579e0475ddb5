"""Who may ask for what: by name of the host, by origin, and by the bearer token."""

from __future__ import annotations

import re
from dataclasses import dataclass

from anyio import to_thread
from starlette.datastructures import Headers

from mirrord.web.answers import HttpError
from mirrord.web.token import BearerToken

# Digits alone make an address: 127.0.0.1.evil.example is a name that anybody may have.
_LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_ANY_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", re.ASCII)
_OPEN = frozenset({"/", "/livez", "/readyz", "/metrics"})
_OWN_SITE = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What is open to whom. ``token`` None: there is none, so nothing that needs one can be had."""

    token: BearerToken | None
    is_loopback: bool

    def check_host(self, headers: Headers) -> None:
        """Refuse a request that was not meant for this service.

        A page of any site can have its name point to 127.0.0.1 and would then pass for a page of ours (DNS
        rebinding); the name in Host gives it away.

        Raises:
            HttpError: Host is absent, stands twice, or is no name of this machine.
        """
        hosts = headers.getlist("host")
        names = _LOOPBACK if self.is_loopback else _ANY_HOST
        if len(hosts) != 1 or not names.fullmatch(hosts[0]):
            raise HttpError(
                400,
                "the header Host does not name this service once",
                code="HOST_REFUSED",
                remedy="ask for localhost, 127.0.0.1 or [::1]" if self.is_loopback else "send one Host header",
            )

    async def check_token(self, path: str, headers: Headers) -> None:
        """Refuse to show what the bearer token is needed for.

        A token that is wrong is refused even where none is needed: whoever sends one wants to know.

        Raises:
            HttpError: the token is absent or wrong.
        """
        if path in _OPEN or path.startswith("/static/"):
            return
        given = _bearer(headers)
        if self.is_loopback and (given is None or self.token is None):
            return
        await self._prove(given)

    async def may_read(self, headers: Headers) -> bool:
        """Say whether one who asks with these headers may see data now: a token may be another one by then."""
        if not self.is_loopback and _bearer(headers) is None:
            return False
        try:
            await self.check_token("", headers)
        except HttpError:
            return False
        return True

    async def check_write(self, headers: Headers) -> None:
        """Refuse a request that changes something and comes from elsewhere, or without the token.

        Raises:
            HttpError: a browser says that another site asks; the token is absent or wrong, or there is none at all.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        is_foreign = site not in _OWN_SITE if site is not None else origin is not None and not _is_own(origin, headers)
        if is_foreign:
            raise HttpError(
                403,
                "another site asks for this by way of a browser",
                code="CROSS_SITE_REFUSED",
                remedy="use the page of the service itself, or a client that is no browser",
            )
        if self.token is None:
            raise HttpError(
                403,
                "to start a run needs a bearer token, and the service has none",
                code="API_TOKEN_UNSET",
                remedy="set MIRRORD_API_TOKEN_FILE to a file that holds one, and start the service again",
            )
        await self._prove(_bearer(headers))

    async def _prove(self, given: bytes | None) -> None:
        if self.token is not None and await to_thread.run_sync(self.token.matches, given or b""):
            return
        raise HttpError(
            401,
            "the bearer token of this service is needed",
            code="API_TOKEN_REQUIRED",
            remedy="send Authorization: Bearer with the content of the service's MIRRORD_API_TOKEN_FILE",
            headers={"WWW-Authenticate": 'Bearer realm="mirrord"'},
        )


def _bearer(headers: Headers) -> bytes | None:
    """Return the token of a request; None: it has none. Two of them are as good as a wrong one."""
    found = headers.getlist("authorization")
    given = [value.partition(" ")[2].strip() for value in found if value.lower().startswith("bearer ")]
    if not given:
        return None
    return given[0].encode("latin-1") if len(found) == 1 else b""


def _is_own(origin: str, headers: Headers) -> bool:
    return origin.partition("://")[2] == headers.get("host", "")
