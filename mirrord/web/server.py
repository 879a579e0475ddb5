"""Serves an ASGI application inside the running event loop, on one address or on all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from fastapi import FastAPI

from mirrord.web.connections import Limits, bounded_protocol
from mirrord.web.listeners import address_of, open_listeners

if TYPE_CHECKING:
    from mirrord.web.events import Broadcaster

_CLOSE_S = 2.0


async def serve_http(
    app: FastAPI, *, host: str, port: int, on_listening: Callable[[str], None], limits: Limits | None = None
) -> None:
    """Serve until cancelled; then end streams, let requests in flight end for a moment, and close every connection.

    uvicorn's listeners are used without its main loop: no signal handler is installed, and nothing ticks.

    Args:
        app: what `create_app` made.
        host: a name or an address; empty: every address.
        port: 0 for any free one.
        on_listening: told ``http://127.0.0.1:8080/`` once requests are taken.
        limits: bounds of connections; None: the usual ones.

    Raises:
        StartupError: the address cannot be listened on (LISTEN_FAILED).
    """
    bounds = limits or Limits()
    listeners = await open_listeners(host, port)
    try:
        config = uvicorn.Config(
            app,
            http=bounded_protocol(bounds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(bounds.idle_s),
            h11_max_incomplete_event_size=bounds.head_bytes,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        try:
            await server.startup(sockets=listeners)
            on_listening(address_of(listeners[0]))
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await _close(server, getattr(app.state, "events", None), bounds.grace_s)
    finally:
        for listener in listeners:
            listener.close()


async def _close(server: uvicorn.Server, events: Broadcaster | None, grace_s: float) -> None:
    """Stop listening, end streams, let requests in flight end, then break what is left."""
    for listening in getattr(server, "servers", ()):
        listening.close()
    if events is not None:
        events.close()
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
        for listening in getattr(server, "servers", ()):
            await listening.wait_closed()
