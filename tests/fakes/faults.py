"""Faults: what goes wrong with a request, and with which one.

A fault has a match (class, method, repository, which hit, how often) and an action. One that never fired fails the
test that set it. Nothing here sleeps: a delay is a gate that the test opens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

import anyio

from mirrord.demo.registry.asgi import Answer, AsgiApp, Message, send_answer
from mirrord.demo.registry.traffic import RequestRecord
from tests.fakes.wire import Exchange, capture, http_text


class Action(Protocol):
    """What goes wrong. ``app`` answers the request as if nothing did."""

    async def run(self, exchange: Exchange, app: AsgiApp) -> None: ...


@dataclass(slots=True)
class Fault:
    """An action for the ``nth`` matching request (from 1) and the ``times - 1`` after it; None means all after it.

    ``kind`` is a class of requests as they are counted: ``blob GET``, ``upload PATCH``, ``token``, ``storage``.
    """

    action: Action
    _: KW_ONLY
    kind: str | None = None
    method: str | None = None
    repository: str | None = None
    where: Callable[[RequestRecord], bool] = lambda _record: True
    nth: int = 1
    times: int | None = 1
    hits: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def meets(self, record: RequestRecord) -> bool:
        """Count a request that matches, and say whether the action is due for it."""
        wanted = (
            self.kind in {None, record.kind}
            and self.method in {None, record.method}
            and self.repository in {None, record.route.repository}
            and self.where(record)
        )
        if not wanted:
            return False
        self.hits += 1
        return self.hits >= self.nth and (self.times is None or self.fired < self.times)


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer with this, and do nothing else. The body of the request is left unread."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        answer = Answer(status=self.status, headers=self.headers, body=self.body)
        await send_answer(answer, exchange.send, head=exchange.scope["method"] == "HEAD")


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer and without any effect; ``after_body`` reads the request first."""

    reset: bool = False
    after_body: bool = False

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        if self.after_body:
            await exchange.read_all()
        await exchange.close(reset=self.reset)


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Do what was asked, then close the connection instead of answering."""

    reset: bool = False

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        await capture(app, exchange.scope, exchange.receive)
        await exchange.close(reset=self.reset)


@dataclass(frozen=True, slots=True)
class CutRequest:
    """Let the application see ``after`` bytes of the request's body, then close the connection."""

    after: int
    reset: bool = False

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        left = self.after

        async def receive() -> Message:
            nonlocal left
            if left <= 0:
                return {"type": "http.disconnect"}
            message = await exchange.receive()
            piece = message.get("body", b"")[:left]
            left -= len(piece)
            return {**message, "body": piece, "more_body": True} if message["type"] == "http.request" else message

        await capture(app, exchange.scope, receive)
        await exchange.close(reset=self.reset)


@dataclass(frozen=True, slots=True)
class CutBody:
    """Announce the whole body, send its first ``after`` bytes, and close the connection."""

    after: int
    reset: bool = False

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        answer = await capture(app, exchange.scope, exchange.receive)
        if answer is None:
            return
        cut = Answer(status=answer.status, headers=answer.headers, body=answer.body[: self.after])
        await exchange.write(http_text(cut, length=len(answer.body)))
        await exchange.close(reset=self.reset)


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Send the whole body under a Content-Length that is ``by`` bytes off, then close the connection."""

    by: int

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        answer = await capture(app, exchange.scope, exchange.receive)
        if answer is None:
            return
        await exchange.write(http_text(answer, length=len(answer.body) + self.by))
        await exchange.close()


@dataclass(frozen=True, slots=True)
class Raw:
    """Write these bytes instead of an answer, then close the connection."""

    data: bytes

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        await exchange.write(self.data)
        await exchange.close()


@dataclass(frozen=True, slots=True)
class Change:
    """Answer with what ``change`` makes of the true answer. Its Content-Length follows the body."""

    change: Callable[[Answer], Answer]

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        answer = await capture(app, exchange.scope, exchange.receive)
        if answer is None:
            return
        head = exchange.scope["method"] == "HEAD"
        changed = self.change(answer)
        if not head:
            headers = tuple(pair for pair in changed.headers if pair[0].lower() != "content-length")
            changed = Answer(status=changed.status, headers=headers, body=changed.body)
        await send_answer(changed, exchange.send, head=head)


def corrupt(offset: int = 0) -> Change:
    """Return the action that flips one bit of the answer's body, at ``offset``."""

    def flip(answer: Answer) -> Answer:
        body = bytearray(answer.body)
        body[offset] ^= 1
        return Answer(status=answer.status, headers=answer.headers, body=bytes(body))

    return Change(flip)


@dataclass(frozen=True, slots=True)
class Endless:
    """Answer with a body that never ends; the writer waits whenever the reader does not read."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    piece: bytes = b"x" * 65_536

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        await exchange.send({"type": "http.response.start", "status": self.status, "headers": encoded})
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                while True:
                    await exchange.send({"type": "http.response.body", "body": self.piece, "more_body": True})
                    await anyio.lowlevel.checkpoint()

            tasks.start_soon(write)
            await exchange.gone()
            tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait for a gate, then go on as if nothing was. ``reached`` is set when the request has come to the gate.

    The gate stands before anything is done, or, with ``after``, behind that many bytes of the answer's body; None
    there means before it is begun. ``stored`` puts it behind the effect and before the answer.
    """

    gate: anyio.Event = field(default_factory=anyio.Event)
    reached: anyio.Event = field(default_factory=anyio.Event)
    after: int | None = None
    stored: bool = False

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        if self.after is None and not self.stored:
            await self._wait(exchange)
            await app(exchange.scope, exchange.receive, exchange.send)
            return
        answer = await capture(app, exchange.scope, exchange.receive)
        if answer is None:
            return
        if self.after is None:
            await self._wait(exchange)
            await send_answer(answer, exchange.send, head=exchange.scope["method"] == "HEAD")
            return
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        await exchange.send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        first, rest = answer.body[: self.after], answer.body[self.after :]
        await exchange.send({"type": "http.response.body", "body": first, "more_body": True})
        await self._wait(exchange)
        await exchange.send({"type": "http.response.body", "body": rest, "more_body": False})

    async def _wait(self, exchange: Exchange) -> None:
        self.reached.set()
        await self.gate.wait()


@dataclass(frozen=True, slots=True)
class Around:
    """Run something of the test's own before or after the request: move a tag, reap a blob, revoke a token."""

    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        self.before()
        answer = await capture(app, exchange.scope, exchange.receive)
        self.after()
        if answer is not None:
            await send_answer(answer, exchange.send, head=exchange.scope["method"] == "HEAD")
