"""The transport over real sockets: what goes over the wire, byte for byte, and what its errors say."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio
import anyio.lowlevel
import httpx2
import pytest
import trustme

from mirrord.registry.guard import guarded_socket_factory
from mirrord.registry.transport import (
    PIECE,
    AddressBlockedError,
    AiohttpTransport,
    NameFailedError,
    Timeouts,
    TlsFailedError,
)
from tests.contract.images import blob_of
from tests.fakes.faults import (
    Action,
    CutBody,
    Drop,
    Endless,
    Hold,
    LoseAnswer,
    Raw,
    Respond,
    WrongLength,
)
from tests.fakes.proxy import open_proxy
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 4096
BLOB = f"/v2/team/app/blobs/{blob_of(CONTENT).digest}"


@asynccontextmanager
async def opened(
    *,
    trusted: trustme.CA | None = None,
    timeouts: Timeouts | None = None,
    guarded: bool = False,
    proxy: str | None = None,
) -> AsyncIterator[AiohttpTransport]:
    @cache
    def context() -> ssl.SSLContext:
        made = ssl.create_default_context()
        if trusted is not None:
            trusted.configure_trust(made)
        return made

    transport = AiohttpTransport(
        ssl_context=context,
        timeouts=timeouts or Timeouts(),
        socket_factory=guarded_socket_factory(allow_inside=False) if guarded else None,
        proxy=lambda _url: proxy,
    )
    try:
        yield transport
    finally:
        await transport.aclose()


async def ask(
    transport: AiohttpTransport,
    method: str,
    url: str,
    *,
    content: bytes | AsyncIterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """Carry out one exchange and read its whole answer, as it came."""
    request = httpx2.Request(method, url, headers=headers, content=content)
    response = await transport.handle_async_request(request)
    try:
        raw = b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()
    return httpx2.Response(response.status_code, headers=response.headers, content=raw, request=request)


def filled() -> FakeRegistry:
    registry = FakeRegistry()
    registry.store.add_blob("team/app", CONTENT)
    return registry


# --- what is sent


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v2/a/blobs/uploads/1?_state=a%2Bb%2Fc%3D", id="upload-state"),
        pytest.param("/v2/a?x=%2F%3A%40%7e%7E&y=a+b%20c", id="escapes-of-both-cases"),
        pytest.param("/v2/%2Fa%3Ab/~x?sig=%2f%3d&empty=&flag", id="escapes-in-the-path"),
        pytest.param("/v2/a?n=1&last=a/b:c@d,e;f!$'()*", id="raw-characters"),
        pytest.param("/v2/a//b/?", id="empty-segments-and-an-empty-query"),
        pytest.param("/v2/a?X-Amz-Signature=ab%3D%3d&X-Amz-Credential=KEY%2f2026%2Fs3", id="trap-12-ecr"),
    ],
)
async def test_url_goes_over_the_wire_byte_for_byte(target: str) -> None:
    async with FakeRegistry() as registry, opened() as transport:
        await ask(transport, "GET", f"{registry.url}{target}")

    assert registry.traffic.records[0].target == target.encode().removesuffix(b"?")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"])
async def test_only_the_headers_of_the_request_are_sent(method: str) -> None:
    content = b"body" if method in {"PUT", "PATCH"} else None
    async with FakeRegistry() as registry, opened() as transport:
        await ask(transport, method, f"{registry.url}/v2/", content=content, headers={"X-Mine": "1"})

    sent = {name for name, _ in registry.traffic.records[0].headers}
    assert sent <= {"host", "x-mine", "content-length"}


@pytest.mark.covers("E66", "A18")
async def test_cookies_are_neither_kept_nor_sent() -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Respond(200, tuple(("Set-Cookie", f"c{i}=secret; Path=/") for i in range(50))))
        await ask(transport, "GET", f"{registry.url}/v2/")
        await ask(transport, "GET", f"{registry.url}/v2/")

    assert registry.traffic.records[1].header("Cookie") is None


async def test_body_with_a_length_goes_as_it_is_and_one_without_goes_in_chunks() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with FakeRegistry() as registry, opened() as transport:
        await ask(transport, "PATCH", f"{registry.url}/v2/x", content=pieces(), headers={"Content-Length": "7"})
        await ask(transport, "PATCH", f"{registry.url}/v2/x", content=pieces())

    counted, chunked = registry.traffic.records
    assert (counted.header("Content-Length"), counted.header("Transfer-Encoding")) == ("7", None)
    assert (chunked.header("Content-Length"), chunked.header("Transfer-Encoding")) == (None, "chunked")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.covers("D59")
async def test_request_is_sent_once_on_a_connection_that_went_stale(method: str) -> None:
    async with FakeRegistry() as registry, opened() as transport:
        await ask(transport, "GET", f"{registry.url}/v2/")
        registry.fault(Drop(), nth=1, method=method)
        with pytest.raises(httpx2.ReadError, match="connection was lost"):
            await ask(transport, method, f"{registry.url}/v2/", content=b"bytes" if method == "PUT" else None)

        assert len(registry.traffic.records) == 2
        await ask(transport, "GET", f"{registry.url}/v2/")


# --- what comes back


async def test_body_comes_raw_and_in_large_pieces() -> None:
    async with filled() as registry, opened() as transport:
        response = await transport.handle_async_request(httpx2.Request("GET", f"{registry.url}{BLOB}"))
        pieces = [piece async for piece in response.aiter_raw()]
        await response.aclose()

    assert b"".join(pieces) == CONTENT
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.covers("E65")
async def test_encoded_body_is_not_decoded() -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Respond(200, (("Content-Encoding", "gzip"),), b"not gzip at all"))
        response = await transport.handle_async_request(httpx2.Request("GET", f"{registry.url}/v2/"))
        raw = b"".join([piece async for piece in response.aiter_raw()])
        await response.aclose()

    assert raw == b"not gzip at all"


@pytest.mark.covers("C37")
async def test_body_that_nobody_reads_is_not_fetched_into_memory() -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Endless())
        response = await transport.handle_async_request(httpx2.Request("GET", f"{registry.url}/v2/"))
        pieces = response.aiter_raw()
        await anext(pieces)
        await anyio.wait_all_tasks_blocked()
        sent = registry.traffic.records[0].sent_bytes
        await response.aclose()

    assert sent < 32 * 1024 * 1024, "the reader holds the writer back"


async def test_answer_given_up_halfway_costs_its_connection_alone() -> None:
    async with filled() as registry, opened() as transport:
        for _ in range(20):
            response = await transport.handle_async_request(httpx2.Request("GET", f"{registry.url}{BLOB}"))
            await response.aclose()
        whole = await ask(transport, "GET", f"{registry.url}{BLOB}")

    assert whole.content == CONTENT


@pytest.mark.covers("D62")
async def test_header_line_of_nearly_64_kib_is_read() -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Respond(307, (("Location", f"/{'x' * 60_000}"),)))
        response = await ask(transport, "GET", f"{registry.url}/v2/")

    assert len(response.headers["location"]) == 60_001


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Location: https://x.test/?X-Amz-Signature=topsecret" + b"x" * 2_000_000, id="D62:long-line"),
        pytest.param(b"\r\n".join(b"X-%d: 1" % i for i in range(10_001)), id="D62:many-headers"),
        pytest.param(b"Bad Name: 1", id="E68:blank-in-name"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6", id="D61:two-lengths"),
        pytest.param(b"Content-Length: x", id="D61:length-that-is-no-number"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 5", id="D61:length-with-chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n", id="D61:malformed-chunk-size"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="D61:no-final-chunk"),
    ],
)
async def test_answer_that_is_no_http_is_an_error_without_secrets(head: bytes) -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello"), kind="ping")
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)) as caught:
            await ask(transport, "GET", f"{registry.url}/v2/")
        assert (await ask(transport, "GET", f"{registry.url}/v2/")).status_code == 200

    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="D60:length"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", id="D60:until-the-end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="D60:chunked"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="D62:1xx"),
    ],
)
async def test_old_and_chatty_servers_are_understood(raw: bytes) -> None:
    async with FakeRegistry() as registry, opened() as transport:
        registry.fault(Raw(raw))
        response = await ask(transport, "GET", f"{registry.url}/v2/")

    assert response.content == b"hello"


# --- errors by their cause


@pytest.mark.covers("D42")
async def test_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with opened() as transport:
            with pytest.raises(httpx2.ConnectError, match="Connection refused"):
                await ask(transport, "GET", f"http://127.0.0.1:{port}/v2/")


@pytest.mark.covers("D44")
async def test_name_that_does_not_resolve_is_told_apart() -> None:
    unknown = ".".join(["a" * 60] * 5)  # too long for any name server: nobody is asked
    async with opened() as transport:
        with pytest.raises(NameFailedError, match="cannot be resolved"):
            await ask(transport, "GET", f"http://{unknown}/v2/")


@pytest.mark.covers("D41")
async def test_connection_that_is_never_accepted_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        async with opened(timeouts=Timeouts(connect_s=0.05)) as transport:
            with pytest.raises(httpx2.ConnectTimeout):
                await ask(transport, "GET", f"http://127.0.0.1:{full.getsockname()[1]}/v2/")
        for one in waiting:
            one.close()


@pytest.mark.covers("D40")
async def test_silent_server_is_a_read_timeout() -> None:
    async with FakeRegistry() as registry, opened(timeouts=Timeouts(read_s=0.05)) as transport:
        hold = Hold()
        registry.fault(hold)
        with pytest.raises(httpx2.ReadTimeout):
            await ask(transport, "GET", f"{registry.url}/v2/")
        hold.gate.set()


async def test_upload_may_take_longer_than_the_read_timeout_where_it_is_switched_off() -> None:
    async def slow() -> AsyncIterator[bytes]:
        end = time.monotonic() + 0.15
        yield b"a"
        while time.monotonic() < end:
            await anyio.lowlevel.checkpoint()
        yield b"b"

    async with FakeRegistry() as registry, opened(timeouts=Timeouts(read_s=0.05)) as transport:
        started = await ask(transport, "POST", f"{registry.url}/v2/team/app/blobs/uploads/")
        request = httpx2.Request(
            "PATCH",
            f"{registry.url}{started.headers['location']}",
            content=slow(),
            extensions={"timeout": {"read": None}},
        )
        response = await transport.handle_async_request(request)
        await response.aclose()

    assert response.status_code == 202


@pytest.mark.parametrize(
    ("action", "error"),
    [
        pytest.param(Drop(), httpx2.ReadError, id="closed-before-the-answer"),
        pytest.param(Drop(reset=True), httpx2.ReadError, id="reset-before-the-answer"),
        pytest.param(LoseAnswer(), httpx2.ReadError, id="answer-lost"),
        pytest.param(LoseAnswer(reset=True), httpx2.ReadError, id="answer-lost-with-reset"),
        pytest.param(CutBody(after=100), httpx2.RemoteProtocolError, id="D2:short-body"),
        pytest.param(CutBody(after=100, reset=True), httpx2.TransportError, id="D1:reset-in-the-body"),
        pytest.param(WrongLength(by=1), httpx2.RemoteProtocolError, id="body-shorter-than-announced"),
    ],
)
async def test_connection_that_breaks_is_told_by_its_cause(action: Action, error: type[Exception]) -> None:
    async with filled() as registry, opened() as transport:
        registry.fault(action, kind="blob GET")
        with pytest.raises(error):
            await ask(transport, "GET", f"{registry.url}{BLOB}")

        assert (await ask(transport, "GET", f"{registry.url}{BLOB}")).content == CONTENT


# --- the guard


@pytest.mark.covers("A20", "C31")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_guard_refuses_inside_addresses_when_they_are_dialled(host: str) -> None:
    async with FakeRegistry() as registry, opened(guarded=True) as transport:
        with pytest.raises(AddressBlockedError, match=r"refused to dial 127\.0\.0\.1"):
            await ask(transport, "GET", f"http://{host}:{registry.host.partition(':')[2]}/v2/")

        assert not registry.traffic.records


async def test_other_refusal_of_the_system_is_no_refusal_of_the_guard() -> None:
    def no_more(_info: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    transport = AiohttpTransport(ssl_context=ssl.create_default_context, socket_factory=no_more)
    with pytest.raises(httpx2.ConnectError, match="Too many open files") as caught:
        await ask(transport, "GET", "http://127.0.0.1:1/v2/")
    await transport.aclose()

    assert type(caught.value) is httpx2.ConnectError


# --- TLS


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("names", "trusted", "words"),
    [
        pytest.param(("127.0.0.1",), False, "certificate", id="D64:unknown-authority"),
        pytest.param(("other.test",), True, "certificate is not valid for|doesn't match|mismatch", id="D64:wrong-name"),
    ],
)
async def test_bad_certificate_is_told_apart(names: tuple[str, ...], trusted: bool, words: str) -> None:
    authority = trustme.CA()
    async with (
        FakeRegistry(ssl_context=server_context(authority, *names)) as registry,
        opened(trusted=authority if trusted else None) as transport,
    ):
        with pytest.raises(TlsFailedError, match=words):
            await ask(transport, "GET", f"{registry.url}/v2/")


async def test_good_certificate_is_accepted() -> None:
    authority = trustme.CA()
    async with (
        FakeRegistry(ssl_context=server_context(authority, "127.0.0.1")) as registry,
        opened(trusted=authority) as transport,
    ):
        assert (await ask(transport, "GET", f"{registry.url}/v2/")).status_code == 200


async def test_tls_against_plain_http_is_told_apart() -> None:
    async with FakeRegistry() as registry, opened() as transport:
        with pytest.raises(TlsFailedError, match=r"(?i)wrong.version|record.layer"):
            await ask(transport, "GET", f"https://{registry.host}/v2/")


# --- proxies


async def test_proxy_gets_plain_requests_whole() -> None:
    async with (
        FakeRegistry() as registry,
        open_proxy() as proxy,
        opened(proxy=f"http://user:word@{proxy.host}") as transport,
    ):
        response = await ask(transport, "GET", f"{registry.url}/v2/?x=%2F")

    assert response.status_code == 200
    assert proxy.lines == [f"GET {registry.url}/v2/?x=%2F HTTP/1.1"]
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in proxy.headers
    assert registry.traffic.records[0].header("Proxy-Authorization") is None


async def test_proxy_tunnels_tls_and_sees_nothing_of_it() -> None:
    authority = trustme.CA()
    async with (
        FakeRegistry(ssl_context=server_context(authority, "127.0.0.1")) as registry,
        open_proxy() as proxy,
        opened(trusted=authority, proxy=f"http://user:word@{proxy.host}") as transport,
    ):
        response = await ask(transport, "GET", f"{registry.url}/v2/", headers={"Authorization": "Basic c2VjcmV0"})

    assert response.status_code == 200
    assert proxy.lines == [f"CONNECT {registry.host} HTTP/1.1"]
    assert not [line for line in proxy.headers if line.lower().startswith("authorization")]
    assert registry.traffic.records[0].header("Proxy-Authorization") is None


@pytest.mark.covers("D67")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_that_refuses_is_named_without_its_password(scheme: str) -> None:
    async with open_proxy() as proxy, opened(proxy=f"http://user:word@{proxy.host}") as transport:
        proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        if scheme == "http":
            assert (await ask(transport, "GET", "http://registry.test/v2/")).status_code == 407
            return
        with pytest.raises(httpx2.ProxyError) as caught:
            await ask(transport, "GET", "https://registry.test/v2/")

    assert "407" in str(caught.value)
    assert proxy.host in str(caught.value)
    assert "word" not in str(caught.value)


async def test_proxy_that_is_away_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        async with opened(proxy=f"http://user:word@{host}") as transport:
            with pytest.raises(httpx2.ProxyError) as caught:
                await ask(transport, "GET", "http://registry.test/v2/")

    assert host in str(caught.value)
    assert "word" not in str(caught.value)
