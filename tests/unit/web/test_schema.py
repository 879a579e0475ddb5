"""The description of the API, held against what it answers to requests that are made up from it."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mirrord.web import create_app
from tests.fakes.clock import FakeClock
from tests.fakes.history import RamHistory
from tests.fakes.pagedata import make_run
from tests.fakes.pagescenes import behind_scene
from tests.fakes.service import FakeView
from tests.unit.web.conftest import TOKEN

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


ASKED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> BaseSchema:
    """Return the description, bound to an application."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    run = make_run("nginx", 1, id="1")
    app = create_app(
        view=FakeView(current=behind_scene().status),
        history=RamHistory(saved_runs={run.id: run}),
        metrics=lambda _accept: (b"up 1\n", "text/plain"),
        token_file=str(token),
        is_loopback=True,
        clock=FakeClock(),
    )
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers={"Host": "localhost"})


@pytest.mark.parametrize(
    "label",
    [
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "GET /api/v1/status",
        "GET /api/v1/rules",
        "GET /api/v1/rules/{name}",
        "POST /api/v1/rules/{name}/sync",
        "GET /api/v1/runs",
        "GET /api/v1/runs/{id}",
        "GET /api/v1/images",
    ],
)
def test_api_answers_as_it_is_described(described: BaseSchema, label: str) -> None:
    operation = described.find_operation_by_label(label)
    assert operation is not None
    statuses = set()

    @ASKED
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "localhost"}
        statuses.add(case.call_and_validate(checks=CHECKS, headers=headers).status_code)

    ask()

    assert statuses


def test_api_describes_every_route(described: BaseSchema) -> None:
    paths = described.raw_schema["paths"]

    assert sorted(paths) == [
        "/api/v1/events",
        "/api/v1/images",
        "/api/v1/rules",
        "/api/v1/rules/{name}",
        "/api/v1/rules/{name}/sync",
        "/api/v1/runs",
        "/api/v1/runs/{id}",
        "/api/v1/status",
        "/livez",
        "/metrics",
        "/readyz",
    ]
    assert all("422" not in operation["responses"] for path in paths.values() for operation in path.values())
