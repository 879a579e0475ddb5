"""What registries serve beside the distribution API: an application over the same store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from mirrord.demo.registry.asgi import Answer, Receive, Request, Scope, Send, json_answer, send_answer
from mirrord.demo.registry.routes import Route

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry


class EmulatedApi:
    """The API of one emulated registry. ``prefixes`` are its paths where it shares the registry's name.

    A subclass answers in `answer`. Requests count as ``api`` in the registry's traffic, for faults too; a test may set
    attributes of ``registry.api`` to make it refuse or lie.
    """

    prefixes: ClassVar[tuple[str, ...]] = ("/api/",)

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.store = registry.store
        self.clock = registry.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        await send_answer(await self.answer(request), send, head=request.method == "HEAD")

    def before(self, request: Request, route: Route) -> Answer | None:
        """Return the answer to a request of the distribution API that no switch describes; None: as usual."""
        return None

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        return json_answer({"message": f"no such page: {request.path}"}, status=404)


ApiFactory = Callable[["FakeRegistry"], EmulatedApi]


async def read_body(request: Request) -> bytes:
    """Return the whole body of a request."""
    return b"".join([piece async for piece in request.pieces()])
