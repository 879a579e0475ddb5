"""The listener, on real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from fastapi import FastAPI

from mirrord.errors import StartupError
from mirrord.web import serve_http
from mirrord.web.access import Access
from mirrord.web.connections import Limits
from mirrord.web.guard import Guard
from tests.fakes.clock import FakeClock
from tests.fakes.service import FakeView
from tests.unit.web.conftest import TOKEN, MakeApp

pytestmark = pytest.mark.anyio
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def served(app: FastAPI, host: str = "127.0.0.1", limits: Limits | None = None) -> AsyncIterator[tuple[str, int]]:
    """Serve while the context lasts; yield the address that was told, and the port."""
    async with anyio.create_task_group() as group:
        told: list[str] = []
        listening = anyio.Event()

        def on_listening(url: str) -> None:
            told.append(url)
            listening.set()

        async def serve() -> None:
            await serve_http(app, host=host, port=0, on_listening=on_listening, limits=limits)

        group.start_soon(serve)
        with anyio.fail_after(10):
            await listening.wait()
        yield told[0], int(told[0].rstrip("/").rpartition(":")[2])
        group.cancel_scope.cancel()


async def rest(stream: SocketStream) -> bytes:
    """Return what comes until the service closes the connection."""
    found = b""
    with anyio.fail_after(10):
        try:
            async for part in stream:
                found += part
        except anyio.BrokenResourceError:
            pass
    return found


async def ask(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    async with await anyio.connect_tcp(host, port) as stream:
        await stream.send(request)
        return await rest(stream)


def error_of(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "0.0.0.0", "::1"])
async def test_address_that_is_told_can_be_asked(make_app: MakeApp, host: str) -> None:
    async with served(make_app(), host) as (url, port):
        answer = await ask(port, GET + b"Connection: close\r\n\r\n", "::1" if host == "::1" else "127.0.0.1")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert url in {f"http://127.0.0.1:{port}/", f"http://[::1]:{port}/"}


async def test_every_address_of_one_family_is_told_as_one_of_it(make_app: MakeApp) -> None:
    """`[::]` is IPv6 alone: at 127.0.0.1 nobody answers."""
    async with served(make_app(), "::") as (url, port):
        answer = await ask(port, GET + b"Connection: close\r\n\r\n", "::1")

    assert url == f"http://[::1]:{port}/"
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_every_address_means_both_families(make_app: MakeApp) -> None:
    async with served(make_app(), "") as (_, port):
        answers = [await ask(port, GET + b"Connection: close\r\n\r\n", host) for host in ("127.0.0.1", "::1")]

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def test_address_in_use_is_told_with_what_to_do(make_app: MakeApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            StartupError, match=f"127.0.0.1:{port} cannot be listened on: Address already in use"
        ) as raised:
            await serve_http(make_app(), host="127.0.0.1", port=port, on_listening=lambda _url: None)

    assert raised.value.code == "LISTEN_FAILED"
    assert "MIRRORD_LISTEN" in raised.value.remedy


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-name.invalid"])
async def test_address_that_is_not_ours_is_told(make_app: MakeApp, host: str) -> None:
    with pytest.raises(StartupError, match=host) as raised:
        await serve_http(make_app(), host=host, port=0, on_listening=lambda _url: None)

    assert raised.value.code == "LISTEN_FAILED"


async def test_port_is_free_again_after_the_end(make_app: MakeApp) -> None:
    async with served(make_app()) as (_, port), await anyio.connect_tcp("127.0.0.1", port):
        pass

    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_events_come_as_they_happen_and_end_with_the_service(
    make_app: MakeApp, view: FakeView, clock: FakeClock
) -> None:
    async with served(make_app()) as (_, port):
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        with anyio.fail_after(10):
            while b"event: status" not in found or not found.endswith(b"\n\n\r\n"):
                found += await stream.receive()
            view.change("redis", queued=True)
            clock.advance(1)
            changed = await stream.receive()
    ended = await rest(stream)
    await stream.aclose()

    assert b"content-type: text/event-stream" in found
    assert b"x-accel-buffering: no" in found
    assert b"event: rule" in changed
    assert ended.endswith(b"0\r\n\r\n")


async def test_client_that_goes_away_is_forgotten(make_app: MakeApp) -> None:
    app = make_app()
    async with served(app) as (_, port):
        stream = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await stream.receive()
        during = app.state.events.clients
        await stream.aclose()
        with anyio.fail_after(10):
            while app.state.events.clients:
                await anyio.lowlevel.checkpoint()

    assert during == 1


@pytest.mark.covers("E131", "E133")
@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", id="no-host"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", id="two-hosts"),
        pytest.param(b"GET /livez HTTP/1.0\r\n\r\n", id="no-host-in-1.0"),
        pytest.param(GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="two-lengths"),
        pytest.param(GET + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", id="bad-chunk-end"),
        pytest.param(b"GET /livez HTTP/1.1\nHost: localhost\r\n\r\n", id="bare-line-feed"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: localhost\n\n", id="bare-line-feed-at-the-end"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="tls"),
        pytest.param(GET + b"X: " + b"y" * 40_000, id="endless-head"),
    ],
)
async def test_what_is_no_clean_request_is_400_and_the_connection_is_closed(
    make_app: MakeApp, request_text: bytes
) -> None:
    async with served(make_app()) as (_, port):
        answer = await ask(port, request_text)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer.lower()
    assert b"nosniff" in answer


@pytest.mark.covers("E147")
@pytest.mark.parametrize("head", [b"", b"GET /livez HTTP/1.1\r\nHost: local"])
async def test_head_that_does_not_arrive_is_408(make_app: MakeApp, head: bytes) -> None:
    async with served(make_app(), limits=Limits(head_s=0.1)) as (_, port):
        answer = await ask(port, head)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert error_of(answer) == "REQUEST_TIMEOUT"


@pytest.mark.covers("E147")
async def test_second_head_on_a_connection_is_bounded_too(make_app: MakeApp) -> None:
    async with served(make_app(), limits=Limits(head_s=0.2)) as (_, port):
        answer = await ask(port, GET + b"\r\nGET /livez HTTP/1.1\r\nHost: l")

    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.covers("E133")
async def test_bare_line_feed_in_a_second_head_is_refused_too(make_app: MakeApp) -> None:
    async with served(make_app()) as (_, port):
        answer = await ask(port, GET + b"\r\nGET /livez HTTP/1.1\nHost: localhost\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.covers("E147")
async def test_connections_beyond_the_bound_are_closed_where_all_are_in_use(
    make_app: MakeApp, view: FakeView, clock: FakeClock
) -> None:
    async with served(make_app(), limits=Limits(connections=3)) as (_, port):
        kept = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(3)]
        for stream in kept:
            await stream.send(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with anyio.fail_after(10):
                while b"event: status" not in await stream.receive():
                    pass
        refused = await ask(port, b"")
        for stream in kept:
            await stream.aclose()

    assert refused == b""


async def test_run_is_started_over_a_socket(make_app: MakeApp, view: FakeView) -> None:
    request = (
        "POST /api/v1/rules/nginx/sync HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    )
    async with served(make_app()) as (_, port):
        answer = await ask(port, request.encode())

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert view.woken == ["nginx"]


@pytest.mark.covers("E126", "E147")
async def test_body_that_does_not_arrive_is_408(make_app: MakeApp) -> None:
    app = make_app()
    head = (
        "POST /api/v1/rules/nginx/sync HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    )
    access = Access(token=None, is_loopback=True)
    hasty = FastAPI()
    hasty.mount("/", app)
    hasty.add_middleware(Guard, access=access, body_s=0.1)
    async with served(hasty) as (_, port):
        answer = await ask(port, head.encode() + b"{")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert error_of(answer) == "REQUEST_TIMEOUT"


@pytest.mark.covers("E147")
async def test_silent_connections_make_room_for_who_asks(make_app: MakeApp) -> None:
    """Whoever holds connections open must not keep the health checks of an orchestrator out."""
    async with served(make_app(), limits=Limits(connections=10)) as (_, port):
        silent = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(40)]
        answer = await ask(port, GET + b"Connection: close\r\n\r\n")
        first = await rest(silent[0])
        for stream in silent:
            await stream.aclose()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert first == b""


async def test_name_of_which_another_program_has_one_address_is_refused(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of the name would come to that program, and bring it their token."""

    async def resolve(_host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, 0, 0, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(anyio, "getaddrinfo", resolve)
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with anyio.fail_after(10), pytest.raises(StartupError, match="Address already in use"):
            await serve_http(make_app(), host="mirror.internal", port=port, on_listening=lambda _url: None)
