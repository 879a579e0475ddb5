"""Asks a registry what a credential may do: a log-in, a look at a token, one page of tags, an upload that is cancelled.

Source: distribution, docs/content/spec/auth/jwt.md for what a token says of itself.
"""

from __future__ import annotations

from mirrord.errors import RegistryError
from mirrord.oci.reference import Repository
from mirrord.ports.access import AccessProbe, Presence
from mirrord.registry import scopes
from mirrord.registry.call import Call
from mirrord.registry.gateway import HttpGateway
from mirrord.registry.http import RegistryHttp
from mirrord.registry.tags import MAX_BODY
from mirrord.registry.tokenanswer import read_claims
from mirrord.registry.uploads import try_upload

_GREETED = frozenset({200, 404})


class HttpAccess(AccessProbe):
    """Asks over the clients of a gateway, so that limits and credentials are those of real work."""

    def __init__(self, gateway: HttpGateway) -> None:
        self._gateway = gateway

    async def greet(self, host: str) -> str:
        """Ask ``/v2/`` with the credential; see the port."""
        http = self._http(host)
        call = Call(method="GET", target="/v2/", what=f"log in to {host}", scopes=scopes.NO_SCOPE, ok=_GREETED)
        await http.request(call)
        return http.authorizer.scheme

    async def granted(self, repository: Repository) -> frozenset[str] | None:
        """Ask the token service for a token to push with, and read what it says; see the port."""
        authorizer = self._http(repository.host).authorizer
        if authorizer.scheme != "bearer":
            return None
        try:
            header = await authorizer.header(scopes.push(repository.path))
        except RegistryError:
            return None  # some services refuse the whole request where they do not grant all of it
        return read_granted((header or "").removeprefix("Bearer "), repository.path)

    async def try_pull(self, repository: Repository) -> Presence:
        """Ask for one tag; see the port."""
        handle = self._gateway.handle(repository.host)
        call = Call(
            method="GET",
            target=f"/v2/{repository.path}/tags/list?n=1",
            what=f"read {repository}",
            scopes=scopes.pull(repository.path),
            ok=frozenset({200, 404}),
            limit=MAX_BODY,
            headers={"Accept": "application/json"},
        )
        try:
            answer = await handle.http.request(call)
        except RegistryError as exc:
            await handle.service.look_into(repository.path, exc)
            return Presence.LATER
        if answer.status == 200:  # noqa: PLR2004 - OK
            return Presence.YES
        return Presence.LATER if handle.provider.abilities.push_makes else Presence.NO

    async def try_push(self, repository: Repository) -> None:
        """Begin and cancel an upload; see the port."""
        http = self._http(repository.host)
        async with http.throttle.place():
            await try_upload(http, repository.path)

    def _http(self, host: str) -> RegistryHttp:
        return self._gateway.handle(host).http


def read_granted(token: str, path: str) -> frozenset[str] | None:
    """Return the actions on a repository that a token names; None if it is no token that can be read.

    Nothing rests on it but what `mirrord auth check` prints: the signature is the registry's business.
    """
    access = read_claims(token).get("access")
    if not isinstance(access, list):
        return None
    granted: set[str] = set()
    for entry in access:
        if isinstance(entry, dict) and entry.get("type") == "repository" and entry.get("name") == path:
            actions = entry.get("actions")
            granted.update(action for action in actions if isinstance(action, str)) if isinstance(actions, list) else ()
    return frozenset(granted | {"pull", "push", "delete"} if "*" in granted else granted)
