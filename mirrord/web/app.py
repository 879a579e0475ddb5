"""The application: routes behind the guard."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mirrord import __version__
from mirrord.errors import MirrordError
from mirrord.ports.clock import Clock
from mirrord.ports.history import History
from mirrord.ports.service import ServiceView
from mirrord.web.access import Access
from mirrord.web.described import describe
from mirrord.web.events import Broadcaster
from mirrord.web.failures import answer_to
from mirrord.web.guard import Guard
from mirrord.web.pagefiles import page_routes
from mirrord.web.routes import API, Sources, api_routes, health_routes
from mirrord.web.token import BearerToken


def create_app(
    *,
    view: ServiceView,
    history: History,
    metrics: Callable[[str | None], tuple[bytes, str]],
    token_file: str | None,
    is_loopback: bool,
    clock: Clock,
) -> FastAPI:
    """Return the API, health, metrics, events and page of a service.

    Args:
        view: the running service.
        history: runs and images.
        metrics: returns all metrics and their content type for an Accept header.
        token_file: the file with the bearer token; None: there is none, and nothing can be changed.
        is_loopback: whether only this machine can connect; else reading needs the token too.
        clock: tells when events are due.

    Raises:
        StartupError: the token file cannot be used (API_TOKEN_INVALID).
    """
    token = BearerToken(token_file) if token_file is not None else None
    if token is not None:
        token.load()
    access = Access(token=token, is_loopback=is_loopback)
    events = Broadcaster(view, clock)
    sources = Sources(view=view, history=history, metrics=metrics, access=access, events=events)
    app = FastAPI(
        title="mirrord",
        version=__version__,
        description="How mirrors stand, what ran, and what is on its way. Sizes in bytes, spans in seconds, UTC.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.events = events
    app.include_router(health_routes(sources))
    app.include_router(api_routes(sources))
    app.router.routes.extend(page_routes())
    for kind in (RequestValidationError, HTTPException, MirrordError):
        app.add_exception_handler(kind, _answer)
    app.add_middleware(Guard, access=access)
    describe(app)
    return app


async def _answer(_request: Request, error: Exception) -> Response:
    return answer_to(error)
