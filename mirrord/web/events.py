"""Server-sent events: what changes, rendered once for all who look on, and not at all while nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mirrord.ports.clock import Clock
from mirrord.ports.service import ServiceView
from mirrord.web.answers import HttpError
from mirrord.web.changes import Snapshot, changes

EVERY_S = 0.5
"""Changes are told at most so often."""

ALIVE_S = 15.0
"""After so long without an event comes a comment, and what only time changes is looked at."""

STUCK_S = 60.0
"""Who has taken nothing for so long while events wait is cut off."""

MOST_CLIENTS = 100
MOST_WAITING = 64

_ALIVE = b": alive\n\n"

MayGoOn = Callable[[], Awaitable[bool]]
"""Says whether one who looks on still may."""


class Client:
    """One who looks on. What waits for it is bounded: whoever falls behind gets the whole state instead."""

    def __init__(self, first: bytes, now: float) -> None:
        self.waiting = deque([first])
        self.taken_at = now
        self.is_ended = False
        self.scope = anyio.CancelScope()
        self._changed = anyio.Event()

    def put(self, told: Sequence[bytes], snapshot: Snapshot) -> None:
        """Add events; with too many, have only ``snapshot``, which stands for all of them, wait."""
        if len(self.waiting) + len(told) > MOST_WAITING:
            self.waiting.clear()
            self.waiting.append(snapshot.text)
        else:
            self.waiting.extend(told)
        self._wake()

    def remind(self) -> None:
        """Add a comment where nothing waits."""
        if not self.waiting:
            self.waiting.append(_ALIVE)
            self._wake()

    def end(self) -> None:
        """Have the stream end once what waits is sent."""
        self.is_ended = True
        self._wake()

    async def take(self) -> bytes | None:
        """Return what waits, or wait for it; None: the stream ends."""
        while not self.waiting:
            if self.is_ended:
                return None
            self._changed = anyio.Event()
            await self._changed.wait()
        taken = b"".join(self.waiting)
        self.waiting.clear()
        return taken

    def _wake(self) -> None:
        self._changed.set()


class Broadcaster:
    """Renders changes for all clients. Its task lives only while there are some."""

    def __init__(self, view: ServiceView, clock: Clock) -> None:
        self._view = view
        self._clock = clock
        self._clients: set[Client] = set()
        self._snapshot: Snapshot | None = None
        self._task: asyncio.Task[None] | None = None
        self._rendered_at = self._told_at = 0.0
        self._is_closed = False

    @property
    def clients(self) -> int:
        """How many look on."""
        return len(self._clients)

    def stream(self, may_go_on: MayGoOn | None = None) -> EventStream:
        """Return the answer to one who wants to look on; ``may_go_on`` is asked every `ALIVE_S` at the latest.

        Raises:
            HttpError: there are too many, or the service ends.
        """
        if self._is_closed or len(self._clients) >= MOST_CLIENTS:
            raise HttpError(
                503,
                f"{MOST_CLIENTS} clients follow the events already, or the service ends",
                code="STREAMS_TOO_MANY",
                remedy="close some pages, or ask for /api/v1/status now and then",
                headers={"Retry-After": "30"},
            )
        return EventStream(self, may_go_on)

    def join(self) -> Client:
        """Add one who looks on, to whom everything is told first."""
        now = self._clock.monotonic()
        if self._snapshot is None:
            self._snapshot, self._rendered_at = self._render(), now
        client = Client(b"retry: 1000\n\n" + self._snapshot.text, now)
        self._clients.add(client)
        if self._is_closed:
            client.end()
        elif self._task is None:
            self._told_at = now
            self._task = asyncio.get_running_loop().create_task(self._run(), name="events")
        return client

    def leave(self, client: Client) -> None:
        """Remove one who looked on; after the last one nothing is rendered any more."""
        self._clients.discard(client)
        if not self._clients:
            self._snapshot = None
            if self._task is not None:
                self._task.cancel()
                self._task = None

    def now(self) -> float:
        """Return the moment, in monotonic seconds."""
        return self._clock.monotonic()

    def took(self, client: Client) -> None:
        """Note that a client has taken what waited."""
        client.taken_at = self._clock.monotonic()

    def close(self) -> None:
        """End all streams, and begin none any more."""
        self._is_closed = True
        for client in self._clients:
            client.end()

    async def _run(self) -> None:
        try:
            while True:
                await self._clock.sleep(EVERY_S)
                self.tick()
        except Exception:
            logging.getLogger(__name__).exception("events can be told no more")
            # Pages connect again instead of looking at what stands still.
            self._task = None
            for client in self._clients:
                client.end()

    def tick(self) -> None:
        """Tell what changed since the last time. Costs next to nothing where nothing did."""
        before, now = self._snapshot, self._clock.monotonic()
        if before is None:
            return
        is_due = now - self._rendered_at >= ALIVE_S
        if self._view.version != before.version or before.is_running or is_due:
            self._snapshot, self._rendered_at = self._render(), now
            told = changes(before, self._snapshot)
            if told:
                self._told_at = now
                for client in self._clients:
                    client.put(told, self._snapshot)
        if now - self._told_at >= ALIVE_S:
            self._told_at = now
            for client in self._clients:
                client.remind()
        for client in self._clients:
            if client.waiting and now - client.taken_at >= STUCK_S:
                client.scope.cancel()
            elif not client.waiting:
                client.taken_at = now

    def _render(self) -> Snapshot:
        return Snapshot(self._view.version, self._view.status())


class EventStream(Response):
    """An answer that goes on until the client or the service ends."""

    media_type = "text/event-stream"

    def __init__(self, broadcaster: Broadcaster | None = None, may_go_on: MayGoOn | None = None) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broadcaster = broadcaster
        self._may_go_on = may_go_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come."""
        del scope
        assert self._broadcaster is not None, "only the broadcaster makes streams"
        client = self._broadcaster.join()
        try:
            with client.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(_end_with, receive, client.scope)
                    await self._send(client, send)
                    group.cancel_scope.cancel()
        finally:
            self._broadcaster.leave(client)

    async def _send(self, client: Client, send: Send) -> None:
        assert self._broadcaster is not None, "only the broadcaster makes streams"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        asked_at = self._broadcaster.now()
        while (taken := await client.take()) is not None:
            # Something comes every `ALIVE_S` at the latest. A token that was replaced opens nothing any more.
            if self._broadcaster.now() - asked_at >= ALIVE_S:
                asked_at = self._broadcaster.now()
                if self._may_go_on is not None and not await self._may_go_on():
                    break
            await send({"type": "http.response.body", "body": taken, "more_body": True})
            self._broadcaster.took(client)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end_with(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel when the connection ends."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
