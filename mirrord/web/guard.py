"""What stands before every route: bounds, access, and the headers and errors that all answers share."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirrord.errors import MirrordError
from mirrord.web.access import Access
from mirrord.web.answers import HEADERS, HttpError
from mirrord.web.failures import answer_to

LARGEST_BODY = 64 * 1024
"""The largest body of a request, in bytes."""

BODY_S = 10.0
"""How long a body may take to arrive, in seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST"})
_ALLOW = ", ".join(sorted(_METHODS))


class Guard:
    """Lets through to ``app`` what may pass, with its whole body at hand, and answers everything else itself."""

    def __init__(self, app: ASGIApp, access: Access, body_s: float = BODY_S) -> None:
        self._app = app
        self._access = access
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            return
        answer = _Answer(send, is_head=scope["method"] == "HEAD")
        try:
            body = await self._admit(scope, receive)
            await self._app(_with_get(scope), _Replay(body, receive), answer)
        except Exception as exc:  # the outermost boundary: everything becomes an answer
            if not isinstance(exc, MirrordError):
                logging.getLogger(__name__).exception("a request of %r failed", scope["path"][:200])
            if answer.began:
                return  # the connection breaks off, which is all that can be said by now
            response = answer_to(exc)
            if isinstance(exc, HttpError) and exc.status in {400, 408, 413, 415}:
                # What is left of the request is not read.
                response.headers["connection"] = "close"
            await response(scope, receive, answer)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body of a request that may pass."""
        headers = Headers(scope=scope)
        method = scope["method"]
        if method not in _METHODS:
            raise HttpError(
                405,
                "no such method is served",
                code="METHOD_NOT_ALLOWED",
                remedy=f"use one of {_ALLOW}",
                headers={"Allow": _ALLOW},
            )
        if "transfer-encoding" in headers and "content-length" in headers:
            raise HttpError(400, "the length of the body is told in two ways", code="REQUEST_INVALID")
        self._access.check_host(headers)
        await self._access.check_token(scope["path"], headers)
        return await self._body(method, headers, receive)

    async def _body(self, method: str, headers: Headers, receive: Receive) -> bytes:
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            return b""
        too_large = HttpError(
            413,
            f"the body is larger than {LARGEST_BODY} bytes",
            code="REQUEST_TOO_LARGE",
            remedy="send none: no request needs one",
        )
        if not length.isdecimal() or int(length[:20]) > LARGEST_BODY:
            raise too_large
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if method == "POST" and (kind != "application/json" or "content-encoding" in headers):
            raise HttpError(
                415,
                "the body is of another kind than plain application/json",
                code="CONTENT_TYPE_REFUSED",
                remedy="send no body, or {} as application/json",
            )
        body = bytearray()
        with anyio.move_on_after(self._body_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise HttpError(400, "the request broke off", code="REQUEST_INVALID")
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
        raise HttpError(
            408, f"the body did not arrive within {self._body_s:g} s", code="REQUEST_TIMEOUT", remedy="try again"
        )


def _with_get(scope: Scope) -> Scope:
    """Return a request as the routes know it: HEAD is GET without the body, but for the events, which never end."""
    if scope["method"] == "HEAD" and scope["path"] != "/api/v1/events":
        return {**scope, "method": "GET"}
    return scope


class _Replay:
    """Tells the application of a body that was read before, and then of the end of the connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


class _Answer:
    """Sends an answer on, with the headers that all have. ``began``: its head is on its way."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self.began = False
        self._send = send
        self._is_head = is_head

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] == "http.response.body" and self._is_head:
            message = {**message, "body": b""}
        await self._send(message)
