from __future__ import annotations

import signal
import socket
import ssl

import anyio
import httpx2
import pytest
import trustme

from mirrord.demo.registry import RegistryApp
from mirrord.demo.registry.asgi import Receive, Scope, Send
from mirrord.demo.serving import serve
from tests.fakes.wire import OpenProtocol

pytestmark = pytest.mark.anyio


async def test_serve_yields_host_and_port(app: RegistryApp) -> None:
    async with serve(app) as host:
        name, _, port = host.partition(":")

        assert name == "127.0.0.1"
        assert int(port) > 0


async def test_serve_leaves_signal_handlers_alone(app: RegistryApp) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async with serve(app):
        during = {number: signal.getsignal(number) for number in before}

    assert during == before


async def test_serve_closes_keep_alive_connections_at_once(app: RegistryApp) -> None:
    async with httpx2.AsyncClient(verify=False) as client:
        with anyio.fail_after(1):
            async with serve(app) as host:
                await client.get(f"http://{host}/v2/")


async def test_serve_refuses_a_port_that_is_taken(app: RegistryApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serve(app, port=taken.getsockname()[1]):
            pass


async def test_serve_runs_several_applications_side_by_side() -> None:
    first, second = RegistryApp(), RegistryApp()

    async with serve(first) as one, serve(second) as two, httpx2.AsyncClient(verify=False) as client:
        await client.get(f"http://{one}/v2/")
        await client.get(f"http://{two}/v2/_catalog")

    assert (dict(first.traffic.counts), dict(second.traffic.counts)) == ({"ping": 1}, {"catalog": 1})


async def test_serve_lets_a_request_in_flight_end() -> None:
    begun, gate = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    answers = []

    async def ask(host: str) -> None:
        async with httpx2.AsyncClient(verify=False) as client:
            answers.append((await client.get(f"http://{host}/")).content)

    async with anyio.create_task_group() as tasks, serve(app, grace_s=5) as host:
        tasks.start_soon(ask, host)
        await begun.wait()
        gate.set()

    assert answers == [b"done"]


async def test_serve_breaks_a_request_that_does_not_end() -> None:
    begun = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await anyio.sleep_forever()

    async def ask(host: str) -> None:
        async with httpx2.AsyncClient(verify=False) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get(f"http://{host}/")

    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(2):
            async with serve(app, grace_s=0) as host:
                tasks.start_soon(ask, host)
                await begun.wait()


async def test_serve_answers_without_waiting_for_acknowledgements() -> None:
    waits: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["state"]["transport"]
        waits.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serve(app, protocol=OpenProtocol) as host, httpx2.AsyncClient(verify=False) as client:
        await client.get(f"http://{host}/")

    assert waits == [1]


async def test_serve_speaks_tls(app: RegistryApp) -> None:
    authority = trustme.CA()
    server, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client_side)

    async with serve(app, ssl_context=server) as host, httpx2.AsyncClient(verify=client_side) as client:
        response = await client.get(f"https://{host}/v2/")

    assert response.status_code == 200
