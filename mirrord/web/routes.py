"""The routes of the API, of health and of the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote as percent

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from mirrord.planning.status import Cause, ImagePage, RuleStatus, RunPage, RunStatus, ServiceStatus
from mirrord.ports.history import History, ImageQuery
from mirrord.ports.service import Check, ServiceView, Ticket
from mirrord.web.access import Access
from mirrord.web.answers import ErrorAnswer, HealthAnswer, HttpError, json_answer
from mirrord.web.events import Broadcaster, EventStream
from mirrord.web.parameters import After, Limit, RuleFilter, RuleName, RunId, Search, StateFilter, allow

API = "/api/v1"
MetricsText = Callable[[str | None], tuple[bytes, str]]

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be served as it is."},
    "5XX": {"model": ErrorAnswer, "description": "The service cannot serve it now."},
}
_BEARER = Security(HTTPBearer(auto_error=False, description="The content of the file MIRRORD_API_TOKEN_FILE."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where answers come from."""

    view: ServiceView
    history: History
    metrics: MetricsText
    access: Access
    events: Broadcaster


def api_routes(sources: Sources) -> APIRouter:
    """Return the routes below ``/api/v1``."""
    router = APIRouter(prefix=API, responses=_ERRORS, dependencies=[_BEARER])
    _add_rules(router, sources)
    _add_runs(router, sources.history)
    _add_events(router, sources)
    return router


def _add_rules(router: APIRouter, sources: Sources) -> None:
    view = sources.view

    @router.get("/status", response_model=ServiceStatus, dependencies=[Depends(allow())])
    async def status() -> Response:
        """Tell how everything stands: verdict, rules, registries, configuration."""
        return json_answer(view.status())

    @router.get("/rules", response_model=list[RuleStatus], dependencies=[Depends(allow())])
    async def rules() -> Response:
        """Tell how every rule stands."""
        return json_answer(view.status().rules, tuple[RuleStatus, ...])

    @router.get("/rules/{name}", response_model=RuleStatus, dependencies=[Depends(allow())])
    async def rule(name: RuleName) -> Response:
        """Tell how one rule stands."""
        return json_answer(_known(view.rule(name)))

    @router.post("/rules/{name}/sync", response_model=Ticket, status_code=202, dependencies=[Depends(allow())])
    async def sync(name: RuleName, request: Request) -> Response:
        """Have a rule run as soon as it may; one that waits to begin already is not queued twice."""
        await sources.access.check_write(request.headers)
        _check_body(await request.body())
        _known(view.rule(name))
        ticket = view.wake(name, Cause.MANUAL)
        if ticket is None:
            raise HttpError(
                503,
                "the service is about to end and begins no run",
                code="DRAINING",
                remedy="ask again once it has started again",
                headers={"Retry-After": "30"},
            )
        return json_answer(ticket, status=202, headers={"Location": f"{API}/runs/{percent(ticket.run, safe='')}"})


def _add_runs(router: APIRouter, history: History) -> None:
    @router.get("/runs", response_model=RunPage, dependencies=[Depends(allow("rule", "limit", "after"))])
    async def runs(rule: RuleFilter = None, limit: Limit = 50, after: After = None) -> Response:
        """List runs, the newest first, without what they changed."""
        return json_answer(await history.runs(rule=rule, limit=limit, after=after))

    @router.get("/runs/{id}", response_model=RunStatus, dependencies=[Depends(allow())])
    async def run(id: RunId) -> Response:  # noqa: A002 - the name in the path
        """Tell of one run, with what it changed."""
        found = await history.run(id)
        if found is None:
            raise HttpError(
                404,
                "no run has this id, or it is forgotten",
                code="RUN_NOT_FOUND",
                remedy="see /api/v1/runs for those that are known",
            )
        return json_answer(found)

    allowed = allow("rule", "state", "search", "limit", "after", repeated="state")

    @router.get("/images", response_model=ImagePage, dependencies=[Depends(allowed)])
    async def images(
        rule: RuleFilter = None, state: StateFilter = None, search: Search = "", limit: Limit = 100, after: After = None
    ) -> Response:
        """List images with their states, in the order of rule, source, tag and target."""
        query = ImageQuery(rule=rule, states=tuple(state or ()), search=search, limit=limit, after=after)
        return json_answer(await history.images(query))


def _add_events(router: APIRouter, sources: Sources) -> None:
    stream: dict[int | str, dict[str, Any]] = {
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Never ends."}
    }

    @router.get(
        "/events", status_code=200, response_class=EventStream, responses=stream, dependencies=[Depends(allow())]
    )
    async def events(request: Request) -> Response:
        """Follow changes: `status` first, then `rule`, `service`, `run` and `gone` as they come."""
        return sources.events.stream(partial(sources.access.may_read, request.headers))


def health_routes(sources: Sources) -> APIRouter:
    """Return the routes of health and metrics, which are open to everyone."""
    router = APIRouter()
    view = sources.view
    failed: dict[int | str, dict[str, Any]] = {503: {"model": HealthAnswer, "description": "A check is not well."}}

    @router.get("/livez", response_model=HealthAnswer, responses=failed)
    async def livez(request: Request) -> Response:
        """Tell whether the service makes progress. Details are for those who may read."""
        return _health(view.health().live, tells=await sources.access.may_read(request.headers))

    @router.get("/readyz", response_model=HealthAnswer, responses=failed)
    async def readyz(request: Request) -> Response:
        """Tell whether the service has a configuration and a usable state store. Details are for those who may read."""
        return _health(view.health().ready, tells=await sources.access.may_read(request.headers))

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics(request: Request) -> Response:
        """Return the metrics, in the format that Accept asks for."""
        content, content_type = sources.metrics(request.headers.get("accept"))
        return Response(content, headers={"Content-Type": content_type, "Vary": "Accept"})

    return router


def _health(checks: tuple[Check, ...], *, tells: bool) -> Response:
    is_well = all(check.ok for check in checks)
    if not tells:
        # A store's own words may name its path, host or user, and these answers are open to everyone.
        checks = tuple(replace(check, detail="") for check in checks)
    return json_answer(HealthAnswer(ok=is_well, checks=checks), status=200 if is_well else 503)


def _known(rule: RuleStatus | None) -> RuleStatus:
    if rule is None:
        raise HttpError(
            404, "no rule has this name", code="RULE_NOT_FOUND", remedy="see /api/v1/rules for those there are"
        )
    return rule


def _check_body(body: bytes) -> None:
    """Refuse a body that says anything: whoever sends it expects something of it that would not happen."""
    if b"".join(body.split()) not in {b"", b"{}"}:
        raise HttpError(
            400,
            "the body says something, and nothing can be said here",
            code="BODY_INVALID",
            remedy="send no body, or {}",
        )
