"""What the API answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import replace

import pytest
from pydantic import TypeAdapter
from starlette.types import Message

from mirrord.errors import StateError, UsageError
from mirrord.planning.memory import ImageState
from mirrord.planning.status import ImagePage, RuleStatus, RunStatus, ServiceStatus
from mirrord.ports.history import ImageQuery
from mirrord.ports.service import Check, Health
from tests.fakes.history import RamHistory
from tests.fakes.pagedata import make_run
from tests.fakes.service import WELL, FakeView
from tests.unit.web.conftest import TOKEN, MakeApp, client_of

pytestmark = pytest.mark.anyio
SYNC = "/api/v1/rules/nginx/sync"


async def test_status_is_told_whole(make_app: MakeApp, view: FakeView) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/api/v1/status")

    assert TypeAdapter(ServiceStatus).validate_json(answer.content) == view.current
    assert answer.headers["content-type"] == "application/json"


async def test_rules_are_told_all_or_one(make_app: MakeApp, view: FakeView) -> None:
    async with client_of(make_app()) as client:
        every = await client.get("/api/v1/rules")
        one = await client.get("/api/v1/rules/redis")

    assert TypeAdapter(tuple[RuleStatus, ...]).validate_json(every.content) == view.current.rules
    assert TypeAdapter(RuleStatus).validate_json(one.content) == view.rule("redis")


@pytest.mark.covers("E130")
@pytest.mark.parametrize(
    "name", ["nobody", "x'--", "%25", "..%2F..%2Fetc", "%00", "x" * 10_000, "ng%D1%96nx", "a%0D%0Ab"]
)
async def test_unknown_ids_are_answered_in_one_shape(make_app: MakeApp, name: str) -> None:
    async with client_of(make_app()) as client:
        answers = [await client.get(f"/api/v1/rules/{name}"), await client.get(f"/api/v1/runs/{name}")]

    for answer in answers:
        assert answer.status_code in {400, 404}
        assert set(answer.json()["error"]) == {"code", "message", "remedy"}


@pytest.mark.covers("E136")
async def test_run_is_asked_for_and_not_queued_twice(make_app: MakeApp, view: FakeView) -> None:
    async with client_of(make_app(), TOKEN) as client:
        answers = [await client.post(SYNC) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202] * 3
    assert [answer.json()["already"] for answer in answers] == [False, True, True]
    assert answers[0].json() == {"rule": "nginx", "run": "20260305T134410-1", "already": False}


async def test_run_of_an_unknown_rule_is_404_and_while_draining_503(make_app: MakeApp, view: FakeView) -> None:
    async with client_of(make_app(), TOKEN) as client:
        unknown = await client.post("/api/v1/rules/nobody/sync")
        view.put(*view.current.rules, draining=True)
        draining = await client.post(SYNC)

    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "RULE_NOT_FOUND")
    assert (draining.status_code, draining.json()["error"]["code"]) == (503, "DRAINING")


async def test_runs_are_listed_and_told(make_app: MakeApp, history: RamHistory) -> None:
    runs = [make_run("nginx", 1), make_run("redis", 2)]
    for run in runs:
        await history.save_run(run, looked=True)
    async with client_of(make_app()) as client:
        listed = await client.get("/api/v1/runs", params={"rule": "redis"})
        one = await client.get(f"/api/v1/runs/{runs[0].id}")
        unknown = await client.get("/api/v1/runs/unknown")

    assert [run["id"] for run in listed.json()["runs"]] == [runs[1].id]
    assert TypeAdapter(RunStatus).validate_json(one.content) == runs[0]
    assert unknown.json()["error"]["code"] == "RUN_NOT_FOUND"


class AskedHistory(RamHistory):
    """Keeps what was asked, and takes no cursor."""

    query: ImageQuery | None = None

    async def images(self, query: ImageQuery) -> ImagePage:
        self.query = query
        if query.after is not None:
            raise UsageError("this cursor was not made here", code="CURSOR_INVALID")
        return ImagePage(total=7)


@pytest.fixture
def history(request: pytest.FixtureRequest) -> AskedHistory:
    return AskedHistory()


async def test_images_are_asked_for_by_all_filters(make_app: MakeApp, history: AskedHistory) -> None:
    params = "rule=nginx&state=failed&state=waiting&search=1.2&limit=500"
    async with client_of(make_app()) as client:
        answer = await client.get("/api/v1/images", params=params)

    states: Collection[ImageState] = (ImageState.FAILED, ImageState.WAITING)
    assert history.query == ImageQuery(rule="nginx", states=states, search="1.2", limit=500)
    assert answer.json() == {"images": [], "total": 7, "next": None}


@pytest.mark.covers("E128")
@pytest.mark.parametrize("limit", ["-1", "0", "501", "1000000000", "1e3", "0x10", "5.0", "1_0", "", " 5", "\u0665"])
async def test_limit_is_a_plain_number_within_bounds(make_app: MakeApp, limit: str) -> None:
    async with client_of(make_app()) as client:
        answers = [await client.get(path, params={"limit": limit}) for path in ("/api/v1/runs", "/api/v1/images")]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (400, "PARAMETER_INVALID")
    ] * 2


@pytest.mark.covers("E128")
async def test_forged_cursor_is_400(make_app: MakeApp) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/api/v1/images", params={"after": "forged"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "CURSOR_INVALID")


@pytest.mark.covers("E129")
async def test_unknown_or_repeated_filters_are_refused_with_those_there_are(make_app: MakeApp) -> None:
    async with client_of(make_app()) as client:
        unknown = await client.get("/api/v1/images", params={"config.password": "x"})
        twice = await client.get("/api/v1/runs", params=[("rule", "a"), ("rule", "b")])
        state = await client.get("/api/v1/images", params={"state": "lost"})

    assert [answer.status_code for answer in (unknown, twice, state)] == [400, 400, 400]
    assert "known are rule, state, search, limit, after" in unknown.json()["error"]["message"]
    assert "'in_sync'" in state.json()["error"]["message"]


@pytest.mark.covers("E151")
async def test_dead_state_store_is_503_and_the_service_is_live(
    make_app: MakeApp, view: FakeView, history: RamHistory
) -> None:
    history.broken = True
    view.checks = Health(live=(WELL,), ready=(Check(name="state", ok=False, detail="the disk is full"),))
    async with client_of(make_app()) as client:
        runs = await client.get("/api/v1/runs")
        ready, live = await client.get("/readyz"), await client.get("/livez")

    assert (runs.status_code, runs.json()["error"]["code"]) == (503, StateError.default_code)
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json() == {"ok": False, "checks": [{"name": "state", "ok": False, "detail": "the disk is full"}]}
    assert live.json()["ok"] is True


async def test_metrics_are_given_in_the_format_that_is_asked_for(make_app: MakeApp) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})

    assert answer.text == "up 1\n"
    assert answer.headers["content-type"] == "text/plain; asked=application/openmetrics-text"


class FailingView(FakeView):
    """Has a fault."""

    def status(self) -> ServiceStatus:
        raise RuntimeError("secret place in the program")


async def test_fault_of_the_program_is_told_without_a_traceback(
    make_app: MakeApp, view: FakeView, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/api/v1/status")

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "INTERNAL_ERROR"
    assert "secret place" not in answer.text
    assert "secret place" in caplog.text


test_fault_of_the_program_is_told_without_a_traceback = pytest.mark.parametrize("view", [FailingView()])(
    test_fault_of_the_program_is_told_without_a_traceback
)


@pytest.mark.covers("E134", "E150")
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO", "get", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_other_methods_are_405(make_app: MakeApp, method: str) -> None:
    app = make_app()
    scope = {
        "type": "http",
        "method": method,
        "path": "/api/v1/rules/nginx",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app(scope, receive, send)

    assert sent[0]["status"] == 405
    assert json.loads(sent[1]["body"])["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_method_that_a_path_lacks_is_405_and_unknown_paths_are_404(make_app: MakeApp) -> None:
    async with client_of(make_app(), TOKEN) as client:
        lacking = [await client.post("/api/v1/status"), await client.get(SYNC), await client.head("/api/v1/events")]
        unknown = [
            await client.get(path) for path in ("/docs", "/redoc", "/openapi.json", "/api/v1/", "/api/v2/status")
        ]

    assert [answer.status_code for answer in lacking] == [405] * 3
    assert [answer.status_code for answer in unknown] == [404] * 5
    assert {answer.json()["error"]["code"] for answer in unknown} == {"PATH_NOT_FOUND"}


async def test_head_is_get_without_the_body(make_app: MakeApp) -> None:
    async with client_of(make_app()) as client:
        got, head = await client.get("/api/v1/rules"), await client.head("/api/v1/rules")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.covers("E148")
async def test_ranges_are_ignored(make_app: MakeApp) -> None:
    many = "bytes=" + ",".join(f"{start}-{start}" for start in range(1000))
    async with client_of(make_app()) as client:
        answers = [
            await client.get(path, headers={"Range": many}) for path in ("/", "/static/main.js", "/api/v1/rules")
        ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.covers("E126", "E127")
@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"Content-Type": "application/json"}, 202),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 202),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {}, 415),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        (b" " * 65_537, {"Content-Type": "application/json"}, 413),
        (b"[" * 60_000, {"Content-Type": "application/json"}, 400),
        (b'{"force": true}', {"Content-Type": "application/json"}, 400),
        (b'"text"', {"Content-Type": "application/json"}, 400),
        (b"NaN", {"Content-Type": "application/json"}, 400),
    ],
)
async def test_bodies_are_small_json_that_says_nothing(
    make_app: MakeApp, content: bytes, headers: dict[str, str], status: int
) -> None:
    async with client_of(make_app(), TOKEN) as client:
        answer = await client.post(SYNC, content=content, headers=headers)

    assert answer.status_code == status


@pytest.mark.covers("E126")
async def test_body_without_a_length_is_read_up_to_the_bound(make_app: MakeApp, view: FakeView) -> None:
    headers = {"Content-Type": "application/json"}
    async with client_of(make_app(), TOKEN) as client:
        small = await client.post(SYNC, content=chunks(64), headers=headers)
        large = await client.post(SYNC, content=chunks(100_000), headers=headers)

    assert (small.status_code, large.status_code) == (202, 413)
    assert view.woken == ["nginx"]


async def test_answers_have_the_headers_of_safety(make_app: MakeApp) -> None:
    async with client_of(make_app()) as client:
        answers = [await client.get(path) for path in ("/api/v1/status", "/livez", "/metrics", "/nothing", "/")]
        answers.append(await client.post(SYNC))

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert not {"set-cookie", "access-control-allow-origin", "server"} & set(answer.headers)
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store", "no-cache"}
    assert "script-src 'self'" in answers[4].headers["content-security-policy"]


async def test_floats_and_times_are_as_json_has_them(make_app: MakeApp, view: FakeView) -> None:
    rule = view.change("nginx", freshness_seconds=12.5)
    async with client_of(make_app()) as client:
        told = (await client.get("/api/v1/rules/nginx")).json()

    assert told["freshness_seconds"] == 12.5
    assert told["last_looked"].endswith("Z")
    assert replace(rule, freshness_seconds=0.0) != rule


async def test_run_that_was_asked_for_is_told_where_it_will_be(make_app: MakeApp) -> None:
    async with client_of(make_app(), TOKEN) as client:
        answer = await client.post(SYNC)

    assert answer.headers["location"] == f"/api/v1/runs/{answer.json()['run']}"
