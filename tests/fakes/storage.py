"""The object storage behind an emulated registry: another origin, signed URLs, and no use for Authorization."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from mirrord.demo.registry.asgi import Answer, OciError, Receive, Request, Scope, Send, send_answer
from mirrord.demo.registry.blobs import get_blob
from mirrord.demo.registry.routes import Route, RouteKind
from mirrord.demo.registry.store import Store
from mirrord.oci.digest import Digest
from tests.fakes.tokens import EmulatorClock
from tests.fakes.wire import with_headers


class Storage:
    """Serves blobs to whoever holds a URL that it signed: each for one method, for a while, byte for byte.

    ``seals`` are the signatures given so far; those of the storage behind another registry (``of``) differ.
    """

    def __init__(self, store: Store, clock: EmulatorClock, *, life_s: float, of: str = "") -> None:
        self.store = store
        self.clock = clock
        self.life_s = life_s
        self.seals: list[str] = []
        self._of = of
        self._signed: dict[tuple[str, bytes], tuple[Route, float]] = {}

    def sign(self, method: str, repository: str, digest: Digest) -> str:
        """Return path and query for reading a blob. The query has what clients like to re-encode."""
        number = len(self._signed) + 1
        seal = hashlib.sha256(f"{self._of} {number} {digest}".encode()).hexdigest()
        query = f"X-Amz-Credential=KEY%2f20260101%2Fs3&response=a+b%20c~d&empty=&X-Amz-Signature={seal}%3D%3d"
        target = f"/storage/{quote(repository)}/{digest.hex}?{query}"
        route = Route(kind=RouteKind.BLOB, repository=repository, reference=str(digest))
        self._signed[method, target.encode()] = (route, self.clock.now_s + self.life_s)
        self.seals.append(seal)
        return target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the blob, or with XML that says why not."""
        request = Request(scope, receive)
        await send_answer(await self._answer(request), send, head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Answer:
        if request.header("Authorization") is not None:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        route, dies_at_s = self._signed.get((request.method, request.target), (None, 0.0))
        if route is None:
            return _xml(403, "SignatureDoesNotMatch", "The request signature does not match")
        if dies_at_s <= self.clock.now_s:
            return _xml(403, "AccessDenied", "Request has expired")
        try:
            answer = await get_blob(self.store, request, route)
        except OciError:
            return _xml(404, "NoSuchKey", "The specified key does not exist")
        return with_headers(answer, docker_content_digest=None)


def _xml(status: int, code: str, message: str) -> Answer:
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status=status, headers=(("Content-Type", "application/xml"),), body=body.encode())
