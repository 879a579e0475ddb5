"""Serves the real files of the status page, and before them an API that tells what a test wants."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import uvicorn
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mirrord.planning.status import ImagePage, RuleStatus, RunPage, RunStatus, ServiceStatus
from mirrord.web.pagefiles import page_routes
from tests.fakes.pagescenes import Scene

TOKEN = "a-token-of-this-test"
STARTED_S = 10.0
END = "end"

Prepare = Callable[["PageServer"], None]
Handler = Callable[[Request], Awaitable[Response]]


class PageServer:
    """A server of one scene, which a test changes while the page looks.

    Attributes:
        scene: what the API tells.
        reads_need_token: whether looking needs the token; to start a run always does.
        holds_stream_back: whether no event ever arrives, as behind a proxy that buffers.
        is_down: whether everything but the page's own files is answered with 503.
        refusal: what every request of data is refused with, beside a status of 403; None: it is answered.
        synced: the rules that were asked to run.
        requests: how often each path was asked for.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.reads_need_token = False
        self.holds_stream_back = False
        self.is_down = False
        self.refusal: dict[str, str] | None = None
        self.synced: list[str] = []
        self.requests: Counter[str] = Counter()
        self.address = ""
        self._clients: set[asyncio.Queue[str]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def clients(self) -> int:
        """How many pages follow the events."""
        return len(self._clients)

    def push(self, name: str, value: object) -> None:
        """Send an event to every page."""
        self._send(f"event: {name}\ndata: {dumped(value)}\n\n")

    def change(self, rule: RuleStatus) -> None:
        """Have a rule stand otherwise, and tell it."""
        rules = tuple(rule if old.name == rule.name else old for old in self.scene.status.rules)
        self.scene = replace(self.scene, status=replace(self.scene.status, rules=rules))
        self.push("rule", rule)

    def break_streams(self) -> None:
        """Close every stream of events, in the middle of one."""
        self._send(END)

    def _send(self, text: str) -> None:
        assert self._loop is not None

        def put() -> None:
            for client in self._clients:
                client.put_nowait(text)

        self._loop.call_soon_threadsafe(put)

    def app(self) -> Starlette:
        """Return the application: the page, and an API with the paths of the service."""
        routes = [
            Route("/api/v1/status", self._guarded(self._status)),
            Route("/api/v1/events", self._guarded(self._events)),
            Route("/api/v1/images", self._guarded(self._images)),
            Route("/api/v1/runs", self._guarded(self._runs)),
            Route("/api/v1/runs/{id}", self._guarded(self._run)),
            Route("/api/v1/rules/{name:path}/sync", self._guarded(self._sync, always=True), methods=["POST"]),
        ]
        return Starlette(routes=[*routes, *page_routes()])

    def _guarded(self, handler: Handler, *, always: bool = False) -> Handler:
        async def guarded(request: Request) -> Response:
            self._loop = asyncio.get_running_loop()
            self.requests[request.url.path] += 1
            told = request.headers.get("authorization", "")
            if self.is_down:
                return Response(status_code=503)
            if self.refusal is not None:
                return JSONResponse({"error": self.refusal}, 403)
            # A wrong token is refused even where none is needed, as careful services do.
            if (always or self.reads_need_token or told) and told != f"Bearer {TOKEN}":
                return JSONResponse({"error": {"message": "a bearer token is needed"}}, 401)
            return await handler(request)

        return guarded

    async def _status(self, request: Request) -> Response:
        return answer(self.scene.status)

    async def _events(self, request: Request) -> Response:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._clients.add(queue)

        async def told() -> AsyncIterator[str]:
            try:
                if self.holds_stream_back:
                    await asyncio.sleep(60)
                yield f"retry: 1000\n\nevent: status\ndata: {dumped(self.scene.status)}\n\n"
                while (text := await queue.get()) != END:
                    yield text
                yield 'event: rule\ndata: {"na'
            finally:
                self._clients.discard(queue)

        return StreamingResponse(told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _images(self, request: Request) -> Response:
        query = request.query_params
        states, search = query.getlist("state"), query.get("search", "")
        found = [
            image
            for image in self.scene.images.get(query["rule"], ())
            if (not states or image.state in states)
            and any(search in str(text) for text in (image.source, image.tag, image.target, image.digest, image.served))
        ]
        start, limit = int(query.get("after", "0")), int(query["limit"])
        after = str(start + limit) if start + limit < len(found) else None
        return answer(ImagePage(images=tuple(found[start : start + limit]), total=len(found), next=after))

    async def _runs(self, request: Request) -> Response:
        query = request.query_params
        found = self.scene.runs.get(query["rule"], ())
        start, limit = int(query.get("after", "0")), int(query["limit"])
        after = str(start + limit) if start + limit < len(found) else None
        return answer(RunPage(runs=tuple(replace(run, changes=()) for run in found[start : start + limit]), next=after))

    async def _run(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        for runs in self.scene.runs.values():
            for run in runs:
                if run.id == wanted:
                    return answer(run)
        return JSONResponse({"error": {"message": "no such run"}}, 404)

    async def _sync(self, request: Request) -> Response:
        name = request.path_params["name"]
        already = name in self.synced
        self.synced.append(name)
        return JSONResponse({"rule": name, "run": "next", "already": already}, 202)


@contextmanager
def serve_page(scene: Scene) -> Iterator[PageServer]:
    """Serve a scene on a free port of loopback, in a thread, while the context lasts."""
    page = PageServer(scene)
    config = uvicorn.Config(
        page.app(),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def start(sockets: object = None) -> None:
        await startup(sockets)  # type: ignore[arg-type] # passed through
        started.set()

    server.startup = start  # type: ignore[method-assign] # uvicorn tells of its start in no other way
    thread = threading.Thread(target=server.run, name="page-server", daemon=True)
    thread.start()
    assert started.wait(STARTED_S)
    port = server.servers[0].sockets[0].getsockname()[1]
    page.address = f"http://127.0.0.1:{port}"
    try:
        yield page
    finally:
        server.force_exit = True
        server.should_exit = True
        thread.join(STARTED_S)


def dumped(value: object) -> str:
    """Return a value as the API writes it."""
    if isinstance(value, dict):
        return json.dumps(value)
    return TypeAdapter(type(value)).dump_json(value).decode()


def answer(value: ServiceStatus | ImagePage | RunPage | RunStatus) -> Response:
    return Response(dumped(value), media_type="application/json")


def service_without_rules(status: ServiceStatus) -> dict[str, object]:
    """Return the event ``service`` of a status."""
    whole: dict[str, object] = json.loads(dumped(status))
    del whole["rules"]
    return whole
