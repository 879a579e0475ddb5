"""Connections that cannot be held open for nothing: bounded in number, in the size of heads, and in time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mirrord.web.answers import HEADERS, HttpError, error_body


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a listener: seconds, bytes, and a number of connections.

    ``head_s`` is how long the head of a request may take, ``idle_s`` how long a connection may wait for the next one,
    ``grace_s`` how long requests in flight may go on at the end.
    """

    connections: int = 256
    head_s: float = 15.0
    head_bytes: int = 32 * 1024
    idle_s: float = 75.0
    grace_s: float = 1.0


def bounded_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return a protocol of uvicorn's with bounds."""

    class Bounded(_BoundedProtocol):
        bounds = limits

    return Bounded


class _BoundedProtocol(H11Protocol):
    """Closes connections that are too many, or that do not get to the end of a request's head."""

    bounds = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self.heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self.heard_at = self.loop.time()
        if len(self.connections) > self.bounds.connections and not self._make_room():
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._deadline is None:
            self._watch()

    def handle_events(self) -> None:
        """Go on with what came, but for heads with a bare line feed, which a proxy in front may read otherwise."""
        if self.conn.their_state is h11.IDLE and _has_bare_line_feed(self.conn.trailing_data[0]):
            self._refuse(HttpError(400, "a line of the head ends without CR", code="REQUEST_INVALID"))
            return
        super().handle_events()

    def on_response_complete(self) -> None:
        self._unwatch()
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] and self._deadline is None:
            self._watch()  # the next head has begun to arrive already

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the shape that all errors have."""
        del msg  # it says no more than that
        self._refuse(HttpError(400, "this is no valid HTTP request", code="REQUEST_INVALID"))

    def _make_room(self) -> bool:
        """Break the connection that has been silent for longest of those that wait for a request; say if one did.

        Else whoever holds connections open keeps health checks out, and has the service killed.
        """
        waiting = [other for other in self.connections - {self} if isinstance(other, _BoundedProtocol)]
        idle = [other for other in waiting if other.conn.their_state is h11.IDLE]
        if not idle:
            return False
        silent = min(idle, key=lambda other: other.heard_at)
        self.connections.discard(silent)  # it is gone a little later only
        silent.transport.abort()
        return True

    def _watch(self) -> None:
        self._deadline = self.loop.call_later(self.bounds.head_s, self._late)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            late = f"the head of the request did not arrive within {self.bounds.head_s:g} s"
            self._refuse(HttpError(408, late, code="REQUEST_TIMEOUT", remedy="try again"))

    def _refuse(self, error: HttpError) -> None:
        """Answer what has not become a request, and close; an answer that has begun is broken off."""
        if self.conn.our_state is not h11.IDLE and self.conn.our_state is not h11.SEND_RESPONSE:
            self.transport.abort()
            return
        body = error_body(error)
        headers = {
            **HEADERS,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        head = h11.Response(status_code=error.status, headers=list(headers.items()))
        for part in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()


def _has_bare_line_feed(received: bytes) -> bool:
    head = received.partition(b"\r\n\r\n")[0]
    return b"\n" in head.replace(b"\r\n", b"")
