"""Routes in memory: respx behind httpx2's mock transport.

    routes = Routes()
    routes.get("https://registry.test/v2/").respond(200)
    transport = routes.transport()

respx speaks httpx, so requests and answers are carried over. Values and side effects are `httpx.Response`.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import httpx2
import respx

from mirrord.ports.settings import RegistrySettings
from mirrord.registry.transport import Transport


class Routes(respx.MockRouter):
    """A router whose routes answer for httpx2; a request without a route fails the test."""

    def __init__(self) -> None:
        super().__init__(assert_all_called=False)
        self.asked: list[httpx2.Request] = []

    def transport(self) -> httpx2.MockTransport:
        """Return the transport that answers from the routes."""

        async def answer(request: httpx2.Request) -> httpx2.Response:
            body = await request.aread()
            self.asked.append(request)
            found = await self.async_handler(
                httpx.Request(request.method, str(request.url), headers=request.headers.raw, content=body)
            )
            stream = httpx2.ByteStream(found.content)  # to be read as from the network: raw, once
            return httpx2.Response(found.status_code, headers=found.headers.raw, stream=stream, request=request)

        return httpx2.MockTransport(answer)

    def everywhere(self) -> Callable[[RegistrySettings, bool], Transport]:
        """Return a maker of transports for a gateway: the same routes for the registry and for other origins."""
        transport = self.transport()
        return lambda _settings, _foreign: transport

    def targets(self) -> list[str]:
        """Return method and URL of each request, in order."""
        return [f"{request.method} {request.url}" for request in self.asked]
