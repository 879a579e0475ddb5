"""The server's side of a connection: the transport within reach of the application, so that a test can break it."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Protocol

from uvicorn.protocols.http.h11_impl import H11Protocol

from mirrord.demo.registry.asgi import Answer, AsgiApp, Message, Receive, Scope, Send


class OpenProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with the transport of the connection in the scope's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Witness(Protocol):
    """Sees the requests that applications get."""

    def around(self, app: AsgiApp, origin: str) -> AsgiApp:
        """Return ``app`` under watch; ``origin`` is where it listens, whatever a request says of itself."""
        ...


@dataclass(slots=True)
class Exchange:
    """One request and its answer, with the connection below."""

    scope: Scope
    receive: Receive
    send: Send

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of the connection."""
        transport = self.scope["state"]["transport"]
        assert isinstance(transport, asyncio.Transport)
        return transport

    async def write(self, data: bytes) -> None:
        """Write bytes past the HTTP library, however wrong they are."""
        self.transport.write(data)

    async def close(self, *, reset: bool = False) -> None:
        """End the connection, with FIN after what was written or with RST at once, and wait until it is gone."""
        if reset:
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()
        await self.gone()

    async def gone(self) -> None:
        """Wait until the connection is closed; what still arrives is thrown away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def read_all(self) -> bytes:
        """Read the body of the request."""
        pieces = []
        more = True
        while more:
            message = await self.receive()
            pieces.append(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        return b"".join(pieces)


@dataclass(slots=True)
class _Capture:
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
            )
        else:
            self.pieces.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)


async def capture(app: AsgiApp, scope: Scope, receive: Receive) -> Answer | None:
    """Return what ``app`` answers, whole, or None if it had nobody to answer to."""
    caught = _Capture()
    await app(scope, receive, caught)
    if not caught.complete:
        return None
    return Answer(status=caught.status, headers=caught.headers, body=b"".join(caught.pieces))


def replayed(body: bytes) -> Receive:
    """Return a stream of a request's body that was read already."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def with_headers(answer: Answer, **changes: str | None) -> Answer:
    """Return ``answer`` with headers replaced, or removed where the value is None; ``_`` in a name means ``-``."""
    names = {name.replace("_", "-").lower(): value for name, value in changes.items()}
    kept = [(name, value) for name, value in answer.headers if name.lower() not in names]
    added = [(name, value) for name, value in names.items() if value is not None]
    return Answer(status=answer.status, headers=(*kept, *added), body=answer.body)


def http_text(answer: Answer, *, length: int | None) -> bytes:
    """Return an answer as it goes over the wire in HTTP/1.1, with any Content-Length, or none."""
    lines = [f"HTTP/1.1 {answer.status} Emulated"]
    lines += [f"{name}: {value}" for name, value in answer.headers if name.lower() != "content-length"]
    if length is not None:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
