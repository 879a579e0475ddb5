"""Requests and answers over ASGI 3: the few things that the routes need, and no framework.

Source: asgi specification 3.0, "HTTP & WebSocket ASGI Message Format" 2.3.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

PIECE_BYTES = 128 * 1024
"""How much of a blob is handed to the server at once; its flow control waits between pieces."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: nobody is left to answer."""


class Request:
    """One request: method, path (decoded), query and headers, and the body as a stream."""

    __slots__ = ("_headers", "_query", "_receive", "method", "path", "query_string", "target")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope.get("query_string", b"")
        raw_path: bytes = scope.get("raw_path") or self.path.encode()
        self.target = raw_path + (b"?" + self.query_string if self.query_string else b"")
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._query = parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)
        self._receive = receive

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return next(iter(self.headers(name)), None)

    def headers(self, name: str) -> list[str]:
        """Return all values of a header."""
        key = name.lower().encode("ascii")
        return [value.decode("latin-1") for found, value in self._headers if found.lower() == key]

    def query(self, name: str) -> str | None:
        """Return the first value of a query parameter, or None."""
        return next((value for found, value in self._query if found == name), None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            ClientGoneError: the connection ended before the body did.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            if piece:
                yield piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, headers and a body. Content-Length is that of the body, which a HEAD request does not receive."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


class OciError(Exception):
    """A request that the registry refuses, with the code of the distribution specification."""

    def __init__(
        self, status: int, code: str, message: str, *, detail: object = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = tuple(headers)

    def answer(self) -> Answer:
        """Return the error as the specification writes it."""
        error = {"code": self.code, "message": self.message}
        body = {"errors": [error if self.detail is None else {**error, "detail": self.detail}]}
        return json_answer(body, status=self.status, headers=self.headers)


def json_answer(
    body: object, *, status: int = 200, headers: Iterable[tuple[str, str]] = (), media_type: str = ""
) -> Answer:
    """Return an answer whose body is ``body`` as JSON."""
    content = json.dumps(body, separators=(",", ":")).encode() + b"\n"
    return Answer(status=status, headers=(("Content-Type", media_type or "application/json"), *headers), body=content)


def text_answer(status: int, text: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return an answer in plain text, as the router of distribution gives where no route fits."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Answer(status=status, headers=(kind, *headers), body=text.encode() + b"\n")


async def send_answer(answer: Answer, send: Send, *, head: bool = False) -> None:
    """Send ``answer``: for a HEAD request its headers alone, with the length that the body would have had."""
    headers = list(answer.headers)
    if answer.header("Content-Length") is None and answer.status not in {204, 304}:
        headers.append(("Content-Length", str(len(answer.body))))
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    body = b"" if head else answer.body
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": start + PIECE_BYTES < len(body)})
    if not body:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
