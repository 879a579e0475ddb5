"""A relay before a real server, which can lose the answer to a request after the server has done what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Relay:
    """``host`` is where it listens. Requests are told apart by the piece of a connection that begins with a method."""

    backend: str
    host: str = ""
    lost: int = 0
    _due: dict[bytes, int] = field(default_factory=dict)

    def lose(self, method: str, nth: int = 1) -> None:
        """Lose the answer to the ``nth`` request of this method from now on, and close its connection."""
        self._due[f"{method} ".encode()] = nth

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on in both directions."""
        host, _, port = self.backend.partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        losing = False

        async def forth() -> None:
            nonlocal losing
            while piece := await reader.read(65_536):
                for start in [start for start in self._due if piece.startswith(start)]:
                    self._due[start] -= 1
                    if self._due[start] == 0:
                        del self._due[start]
                        losing = True
                far_writer.write(piece)
                await far_writer.drain()
            far_writer.close()

        async def back() -> None:
            while piece := await far_reader.read(65_536):
                if losing:
                    self.lost += 1
                    break
                writer.write(piece)
                await writer.drain()
            writer.close()
            far_writer.close()

        try:
            await asyncio.gather(forth(), back(), return_exceptions=True)
        finally:
            for end in (writer, far_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()


@asynccontextmanager
async def open_relay(backend: str) -> AsyncIterator[Relay]:
    """Open a relay to ``backend`` (``127.0.0.1:PORT``) on a free port."""
    relay = Relay(backend)
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(asyncio.CancelledError):
            await relay.serve(reader, writer)
        serving.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    relay.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
