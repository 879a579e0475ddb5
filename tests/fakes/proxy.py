"""A proxy on loopback: it forwards plain requests, opens tunnels for CONNECT, and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class FakeProxy:
    """``lines`` are the first lines of the requests, ``headers`` all their header lines.

    ``answer`` is written instead of forwarding; ``hosts`` sends names elsewhere, as a proxy's own resolver does.
    """

    host: str = ""
    lines: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    answer: bytes | None = None
    hosts: dict[str, str] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which ends with its first exchange."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, _, rest = head.partition("\r\n")
        self.lines.append(first)
        self.headers += [line for line in rest.split("\r\n") if line]
        method, target, version = first.split(" ")
        if self.answer is not None:
            writer.write(self.answer)
            writer.close()
            return
        authority = target if method == "CONNECT" else urlsplit(target).netloc
        host, _, port = self.hosts.get(authority, authority).partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port or 80))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            kept = [line for line in rest.split("\r\n") if line and not line.lower().startswith("proxy-")]
            far_writer.write("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode("latin-1"))
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@asynccontextmanager
async def open_proxy() -> AsyncIterator[FakeProxy]:
    """Open a proxy on a free port."""
    proxy = FakeProxy()
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await proxy.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            serving.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
