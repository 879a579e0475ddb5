"""`mirrord status` and `mirrord healthcheck`, against the service's own application on a socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from mirrord.cli.serviceclient import DEADLINE_S, service_url
from mirrord.cli.status import status_lines
from mirrord.errors import UsageError
from mirrord.ports.service import Check, Health
from mirrord.web import create_app, serve_http
from mirrord.web.answers import dump
from tests.fakes.clock import FakeClock
from tests.fakes.commands import run_command
from tests.fakes.history import RamHistory
from tests.fakes.pagescenes import SCENES, behind_scene, hostile_scene
from tests.fakes.service import WELL, FakeView

pytestmark = pytest.mark.usefixtures("bare")
TOKEN = "a-token-of-this-test"


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    async with anyio.create_task_group() as group:
        told: list[str] = []
        is_there = anyio.Event()

        def on_listening(url: str) -> None:
            told.append(url)
            is_there.set()

        async def serve() -> None:
            await serve_http(app, host="127.0.0.1", port=0, on_listening=on_listening)

        group.start_soon(serve)
        with anyio.fail_after(10):
            await is_there.wait()
        yield told[0]
        group.cancel_scope.cancel()


@contextmanager
def service(view: FakeView, *, is_loopback: bool = True, token: Path | None = None) -> Iterator[str]:
    """Serve a view from another thread; yield its address."""
    app = create_app(
        view=view,
        history=RamHistory(),
        metrics=lambda _accept: (b"", "text/plain"),
        token_file=str(token) if token is not None else None,
        is_loopback=is_loopback,
        clock=FakeClock(),
    )
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(listening(app)) as url:
        yield url


@contextmanager
def answering(status: int, content: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """Answer every GET the same; yield the address and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_status_tells_the_verdict_first_and_then_every_rule() -> None:
    with service(FakeView(current=behind_scene().status)) as url:
        done = run_command("status", "--url", url)

    lines = done.stdout.splitlines()
    assert (done.code, done.stderr) == (0, "")
    assert lines[0] == "11 of 12 mirrors are fresh"
    assert lines[1].startswith("  python is 2 h 10 min behind its promise of 1 h")
    table = {line.split()[0]: line for line in lines if line[:1].strip()}
    assert "waiting" in table["python"]
    assert "3 h 10 min of 1 h !" in table["python"]
    assert "copying" in table["team-images"]
    assert "62%, 2 min left" in table["team-images"]
    assert "Docker Hub: 12 of 200 pulls left in 6 h, 20 reserved, more by 14:32 UTC" in lines
    assert lines[-2:] == ["mirrord 1.0.0, up for 41 d 3 h", "/etc/mirrord/config.yaml of 08:12 UTC"]


def test_status_in_json_is_that_of_the_api() -> None:
    view = FakeView()
    with service(view) as url:
        done = run_command("status", "--url", url, "--output", "json")

    assert json.loads(done.stdout) == {"schema_version": 1, **json.loads(dump(view.current))}


@pytest.mark.parametrize("scene", SCENES)
def test_table_of_rules_fits_80_columns(scene: str) -> None:
    found = json.loads(dump(SCENES[scene]().status))
    lines = list(status_lines(found, 80))
    start = next((place for place, line in enumerate(lines) if line.startswith("RULE")), None)
    table = lines[start : start + 1 + len(found["rules"])] if start is not None else []

    assert bool(table) == bool(found["rules"])
    assert max(map(len, table), default=0) <= 80


def test_faults_of_file_and_state_store_are_told() -> None:
    with service(FakeView(current=replace(SCENES["refused"]().status, draining=True))) as url:
        done = run_command("status", "--url", url)

    assert (
        "/etc/mirrord/config.yaml was refused as it stands, the one before it is in force:\n  config.yaml:9:5"
        in done.stdout
    )
    assert "the state store cannot be used: sqlite:" in done.stdout
    assert "the service is about to end" in done.stdout


@pytest.mark.covers("C34")
def test_names_that_registries_made_up_do_nothing_to_a_terminal() -> None:
    text = "\n".join(status_lines(json.loads(dump(hostile_scene().status)), 200))

    assert "\u202e" not in text
    assert "\\u202e" in text


def test_token_of_the_environment_opens_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    with service(FakeView(), is_loopback=False, token=token) as url:
        refused = run_command("status", "--url", url)
        monkeypatch.setenv("MIRRORD_API_TOKEN_FILE", str(token))
        taken = run_command("status", "--url", url)

    assert refused.code == 1
    assert "API_TOKEN_REQUIRED" in refused.stderr
    assert "set MIRRORD_API_TOKEN_FILE" in refused.stderr
    assert taken.code == 0


def test_token_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIRRORD_API_TOKEN_FILE", str(tmp_path / "none"))

    done = run_command("status", "--url", "http://127.0.0.1:1")

    assert done.code == 3
    assert "TOKEN_FILE_UNREADABLE" in done.stderr


def test_service_that_does_not_run_is_told_with_what_to_do() -> None:
    done = run_command("status", "--url", "http://127.0.0.1:1")

    assert done.code == 1
    assert "SERVICE_UNREACHABLE: no service answers at http://127.0.0.1:1: Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("status", "content"), [(200, b"<html>"), (200, b"[]"), (404, b'{"error": "no"}'), (200, b'{"a":' * 5000)]
)
def test_what_is_no_mirrord_is_told(status: int, content: bytes) -> None:
    with answering(status, content) as (url, _):
        done = run_command("status", "--url", url)
        health = run_command("healthcheck", "--url", url)

    assert (done.code, health.code) == (1, 1)
    assert "SERVICE_FOREIGN" in done.stderr
    assert "SERVICE_FOREIGN" in health.stderr


def test_redirects_are_not_followed() -> None:
    with answering(200, b"{}") as (other, asked), answering(302, b"", Location=f"{other}/stolen") as (url, _):
        done = run_command("status", "--url", url)

    assert done.code == 1
    assert asked == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with service(FakeView()) as url:
        done = run_command("healthcheck", "--url", url)

    assert done.code == 0


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        (None, "http://127.0.0.1:8080"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        (":9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("mirrord.internal:80", "http://mirrord.internal:80"),
    ],
)
def test_service_is_looked_for_where_it_listens(listen: str | None, expected: str) -> None:
    environment = {"MIRRORD_LISTEN": listen} if listen is not None else {}

    assert service_url(None, environment) == expected


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "127.0.0.1:8080",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://u:secret@h",
        "http://h/?a=b",
        "http://h\n",
    ],
)
def test_address_that_cannot_be_read_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        service_url(url, {})

    assert raised.value.code == "URL_INVALID"
    assert "secret" not in str(raised.value)


def test_healthcheck_tells_by_its_code_whether_the_service_lives_and_is_ready() -> None:
    full = Check(name="state", ok=False, detail="the disk is full")
    view = FakeView(checks=Health(live=(WELL,), ready=(full,)))
    with service(view) as url:
        live = run_command("healthcheck", "--url", url)
        ready = run_command("healthcheck", "--ready", "--url", url)
    with service(view, is_loopback=False) as url:
        others = run_command("healthcheck", "--ready", "--url", url)

    assert others == (1, "state: not ok\n", "")  # whoever shows no token gets no details
    assert live == (0, "state: ok, can be read and written\n", "")
    assert ready == (1, "state: not ok, the disk is full\n", "")


def test_healthcheck_fails_with_1_for_whatever_reason() -> None:
    codes = [run_command("healthcheck", "--url", url).code for url in ("http://127.0.0.1:1", "no address")]

    assert codes == [1, 1]


def test_answer_that_comes_byte_by_byte_is_waited_for_no_longer_than_any() -> None:
    """No timeout of a socket ends a head of which something always comes."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not ended.wait(0.2):
                    connection.sendall(b"y")

        worker = threading.Thread(target=trickle)
        worker.start()
        begun = time.monotonic()
        done = run_command("healthcheck", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        took = time.monotonic() - begun
        ended.set()
        worker.join()

    assert done.code == 1
    assert "SERVICE_UNREACHABLE" in done.stderr
    assert took < 2 * DEADLINE_S
