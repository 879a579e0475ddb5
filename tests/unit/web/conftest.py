"""An application over a fake service, and clients of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from mirrord.web import create_app
from tests.fakes.clock import FakeClock
from tests.fakes.history import RamHistory
from tests.fakes.service import FakeView

TOKEN = "a-token-of-this-test"

MakeApp = Callable[..., FastAPI]
Ask = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
def history() -> RamHistory:
    return RamHistory()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(manual=True)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def make_app(view: FakeView, history: RamHistory, clock: FakeClock, token_file: Path) -> MakeApp:
    """Return what makes the application; without words it listens on loopback and has a token."""

    def make(*, is_loopback: bool = True, token: str | None = str(token_file)) -> FastAPI:
        return create_app(
            view=view,
            history=history,
            metrics=lambda accept: (b"up 1\n", f"text/plain; asked={accept}"),
            token_file=token,
            is_loopback=is_loopback,
            clock=clock,
        )

    return make


def client_of(app: FastAPI, token: str | None = None) -> httpx2.AsyncClient:
    """Return a client that calls the application without a socket."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8080", headers=headers
    )
