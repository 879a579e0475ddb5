"""Serves an ASGI application on a loopback port, inside the running event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from mirrord.demo.registry.asgi import AsgiApp

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = "127.0.0.1"
_KEEP_ALIVE_S = 75
_CLOSE_S = 2.0


@asynccontextmanager
async def serve(
    app: AsgiApp,
    *,
    port: int = 0,
    grace_s: float = 1.0,
    ssl_context: ssl.SSLContext | None = None,
    protocol: type[asyncio.Protocol] | str = "h11",
) -> AsyncIterator[str]:
    """Serve ``app`` on 127.0.0.1 while the context lasts, and yield its ``host:port``.

    uvicorn's listeners are used without its main loop, so no signal handler is installed and nothing ticks. At the
    end idle connections are closed at once, busy ones after ``grace_s`` seconds.

    Args:
        app: the application.
        port: the port, 0 for any free one.
        grace_s: how long requests in flight may go on when the context ends, in seconds.
        ssl_context: serve TLS with it; plain HTTP if None.
        protocol: uvicorn's HTTP implementation, or a protocol class of one's own.

    Raises:
        OSError: the port is taken.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        ssl_context_factory=None if ssl_context is None else lambda _config, _default: ssl_context,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = _listen(port)
    try:
        await server.startup(sockets=[listener])
        yield f"{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        with anyio.CancelScope(shield=True):
            await _close(server, grace_s)
        listener.close()


def _listen(port: int) -> socket.socket:
    """Return a listening socket.

    It names its protocol, and so do the connections that it accepts: asyncio sets TCP_NODELAY on such sockets alone,
    and without it each answer waits 40 ms for a delayed acknowledgement.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


async def _close(server: uvicorn.Server, grace_s: float) -> None:
    """Stop listening, let requests in flight end, then break what is left, and see every connection closed."""
    for listening in server.servers:
        listening.close()
    connections: set[Any] = server.server_state.connections
    for connection in list(connections):
        connection.shutdown()
    tasks = set(server.server_state.tasks)
    if tasks:
        _, unfinished = await asyncio.wait(tasks, timeout=grace_s)
        for task in unfinished:
            task.cancel()
    for connection in list(connections):
        connection.transport.abort()
    with anyio.move_on_after(_CLOSE_S):
        while connections:
            await anyio.lowlevel.checkpoint()
        for listening in server.servers:
            await listening.wait_closed()
