"""The registry as an ASGI application: routes to handlers, errors to answers."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from mirrord.demo.registry import blobs, listings, manifests, uploads
from mirrord.demo.registry.asgi import (
    Answer,
    ClientGoneError,
    OciError,
    Receive,
    Request,
    Scope,
    Send,
    send_answer,
    text_answer,
)
from mirrord.demo.registry.routes import Route, RouteKind, parse_route
from mirrord.demo.registry.store import Store
from mirrord.demo.registry.traffic import Traffic

Handler = Callable[[Store, Request, Route], Awaitable[Answer]]


async def _ping(_store: Store, _request: Request, _route: Route) -> Answer:
    return Answer(status=200, headers=(("Content-Type", "application/json"),), body=b"{}")


_HANDLERS: Mapping[RouteKind, Mapping[str, Handler]] = {
    RouteKind.PING: {"GET": _ping, "HEAD": _ping},
    RouteKind.CATALOG: {"GET": listings.list_repositories},
    RouteKind.TAGS: {"GET": listings.list_tags},
    RouteKind.REFERRERS: {"GET": listings.list_referrers},
    RouteKind.MANIFEST: {
        "GET": manifests.get_manifest,
        "HEAD": manifests.get_manifest,
        "PUT": manifests.put_manifest,
        "DELETE": manifests.delete_manifest,
    },
    RouteKind.BLOB: {"GET": blobs.get_blob, "HEAD": blobs.get_blob, "DELETE": blobs.delete_blob},
    RouteKind.UPLOAD: {
        "GET": uploads.get_upload,
        "PATCH": uploads.patch_upload,
        "PUT": uploads.put_upload,
        "DELETE": uploads.delete_upload,
    },
}
_START_UPLOAD: Mapping[str, Handler] = {"POST": uploads.post_upload}


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicUser:
    """The one user of a registry that asks for Basic authentication."""

    name: str
    password: str = field(repr=False)

    def accepts(self, authorization: str | None) -> bool:
        """Say whether an Authorization header carries this user's credential."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, f"{self.name}:{self.password}".encode())


class RegistryApp:
    """A registry: ``store`` is what it holds, ``traffic`` what was asked of it. No user means no authentication."""

    def __init__(self, store: Store | None = None, *, user: BasicUser | None = None, realm: str = "registry") -> None:
        self.store = store if store is not None else Store()
        self.traffic = Traffic()
        self._user = user
        self._realm = realm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it."""
        await self.traffic.watch(self.handle, scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request without counting it, for applications that wrap this one."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except OciError as exc:
            answer = exc.answer()
        except ClientGoneError:
            return
        headers = (("Docker-Distribution-Api-Version", "registry/2.0"), *answer.headers)
        answer = Answer(status=answer.status, headers=headers, body=answer.body)
        await send_answer(answer, send, head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Answer:
        if request.path == "/v2":
            return Answer(status=301, headers=(("Location", "/v2/"),))
        route = parse_route(request.path)
        if self._user is not None and not self._user.accepts(request.header("Authorization")):
            challenge = ("WWW-Authenticate", f'Basic realm="{self._realm}"')
            raise OciError(401, "UNAUTHORIZED", "authentication required", headers=[challenge])
        handlers = _HANDLERS.get(route.kind, {})
        if route.kind is RouteKind.UPLOAD and not route.reference:
            handlers = _START_UPLOAD
        if not handlers:
            return text_answer(404, "404 page not found")
        handler = handlers.get(request.method)
        if handler is None:
            return text_answer(405, "Method Not Allowed", headers=[("Allow", ", ".join(handlers))])
        return await handler(self.store, request, route)
