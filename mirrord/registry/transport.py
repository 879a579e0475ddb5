"""The seam to the network: httpx2's transport protocol, carried out by aiohttp.

httpx2 gives requests, responses and the transport protocol, which mocks and fakes fit; aiohttp moves the bytes,
because it is about twice as fast for bodies and three times for small requests (docs/decisions/0004). No client
object stands between: cookies, redirects, environment proxies and re-sending are things that mirrord decides.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

import httpx2
from yarl import URL

from mirrord.errors import quote
from mirrord.registry.aiohttp_import import aiohttp
from mirrord.registry.redact import redact_text, redact_url

PIECE = 1024 * 1024
"""Bodies travel in pieces of at most this many bytes: each piece costs a turn of the event loop."""

_READ_BUFFER = 1024 * 1024
_LONGEST_HEADER = 64 * 1024
_KEEPALIVE_S = 30.0
_DNS_CACHE_S = 30
_CHUNKED = b"transfer-encoding"

SocketFactory = Callable[[aiohttp.AddrInfoType], "object"]


class TlsFailedError(httpx2.ConnectError):
    """The TLS handshake failed; the text says why."""


class NameFailedError(httpx2.ConnectError):
    """The host name could not be resolved."""


class AddressBlockedError(httpx2.ConnectError):
    """The connect-time guard refused the address that would have been dialled."""


class Transport(Protocol):
    """What is used of httpx2's transports: one exchange, and an end."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out one exchange; the body of the answer is still to be read."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds: to connect (one address), and between two reads of an answer."""

    connect_s: float = 10.0
    read_s: float = 30.0


class _LostConnectionError(aiohttp.ClientError):
    """Stands in for the errors after which aiohttp would silently send a request a second time."""


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from re-sending: retries are counted, paced and judged in one place, `registry/http.py`."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _LostConnectionError(str(exc) or type(exc).__name__) from exc


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport over one aiohttp session: own connections, no cookies, no redirects, no re-sending."""

    def __init__(
        self,
        *,
        ssl_context: Callable[[], ssl.SSLContext],
        timeouts: Timeouts = Timeouts(),
        socket_factory: SocketFactory | None = None,
        proxy: Callable[[str], str | None] = lambda _: None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """Prepare a transport; connections are made on first use.

        Args:
            ssl_context: called for every request that needs TLS; connections are used again while it returns the same.
            timeouts: see there.
            socket_factory: called with each address before it is dialled; may refuse it with an OSError.
            proxy: returns the proxy URL for a request URL, or None for a direct connection.
            resolver: looks names up; None: as the system does.
        """
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._timeouts = timeouts
        self._socket_factory = socket_factory
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # how many requests are in flight is decided by slots, above
                ttl_dns_cache=_DNS_CACHE_S,
                keepalive_timeout=_KEEPALIVE_S,
                resolver=self._resolver,
                socket_factory=self._socket_factory,  # type: ignore[arg-type]  # aiohttp's alias is narrower
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["Content-Type", "Accept-Encoding", "User-Agent", "Accept"],
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
                requote_redirect_url=False,
                trust_env=False,
                middlewares=(_send_once,),
            )
        return self._session

    def _ssl(self, url: str, proxy: str | None) -> ssl.SSLContext | bool:
        if url.startswith("https:") or (proxy is not None and proxy.startswith("https:")):
            return self._ssl_context()
        return True

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out one exchange.

        The request's extension ``timeout`` may set ``read``, in seconds between two reads; None switches it off, as
        bodies that go up need it: a registry may take long to store one.

        Raises:
            httpx2.ConnectError, httpx2.ConnectTimeout: nothing was sent.
            httpx2.TransportError: any other; the server may have seen the request.
        """
        session = self._open()
        url = str(request.url)
        proxy = self._proxy(url)
        read_s = request.extensions.get("timeout", {}).get("read", self._timeouts.read_s)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_s, sock_read=read_s)
        try:
            response = await session.request(
                request.method,
                URL(url, encoded=True),  # as it came: re-quoting breaks signatures and upload states
                headers=_headers(request),
                data=_body(request),
                allow_redirects=False,
                timeout=timeout,
                ssl=self._ssl(url, proxy),
                proxy=proxy,
            )
        except Exception as exc:
            raise _mapped(exc, request, proxy) from exc
        return httpx2.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Stream(response, request),
            request=request,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class SplitTransport:
    """Two ways out of one registry's client: through the proxy that is chosen for a URL, or directly."""

    def __init__(self, *, direct: Transport, proxied: Transport, proxy: Callable[[str], str | None]) -> None:
        """Send what ``proxy`` names a proxy for to ``proxied``, all else to ``direct``."""
        self._direct = direct
        self._proxied = proxied
        self._proxy = proxy

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out one exchange on the way that its URL takes."""
        way = self._direct if self._proxy(str(request.url)) is None else self._proxied
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        await self._proxied.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        while True:
            try:
                piece = await content.read(PIECE)
            except Exception as exc:
                raise _mapped(exc, self._request) from exc
            if not piece:
                return
            yield piece

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _headers(request: httpx2.Request) -> list[tuple[str, str]]:
    """Return the headers but Transfer-Encoding, which aiohttp sets by itself for a body without a length."""
    raw = request.headers.raw
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw if name.lower() != _CHUNKED]


def _body(request: httpx2.Request) -> bytes | AsyncIterable[bytes] | None:
    stream = request.stream
    if isinstance(stream, httpx2.ByteStream):
        return request.content or None
    assert isinstance(stream, AsyncIterable)
    return stream


def _mapped(  # noqa: C901, PLR0911, PLR0912 - a table of causes
    exc: Exception, request: httpx2.Request, proxy: str | None = None
) -> Exception:
    """Map aiohttp's errors to httpx2's by their true cause; what decides is whether anything was sent."""
    text = _describe(exc)
    match exc:
        case httpx2.HTTPError():
            return exc
        case aiohttp.ClientConnectorDNSError():
            return NameFailedError(f"the name cannot be resolved: {text}", request=request)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return TlsFailedError(f"TLS failed: {text}", request=request)
        case aiohttp.ClientProxyConnectionError():
            return httpx2.ProxyError(f"the proxy {redact_url(proxy or '')} cannot be reached: {text}", request=request)
        case aiohttp.ClientHttpProxyError():
            said = f"{exc.status} {text}"
            return httpx2.ProxyError(f"the proxy {redact_url(proxy or '')} refused: {said}", request=request)
        case aiohttp.ClientConnectorError() if isinstance(exc.os_error, PermissionError):
            return AddressBlockedError(exc.os_error.strerror or text, request=request)
        case aiohttp.ClientConnectorError():
            return httpx2.ConnectError(text, request=request)
        case aiohttp.ConnectionTimeoutError():
            return httpx2.ConnectTimeout("no connection in time", request=request)
        case TimeoutError():  # aiohttp's SocketTimeoutError among them
            return httpx2.ReadTimeout("no answer in time", request=request)
        case aiohttp.ClientPayloadError():
            return httpx2.RemoteProtocolError(f"the body broke off: {text}", request=request)
        case _LostConnectionError() | aiohttp.ClientConnectionError() | ConnectionError():
            return httpx2.ReadError(f"the connection was lost: {text}", request=request)
        case aiohttp.ClientError():
            return httpx2.RemoteProtocolError(f"the answer is not HTTP as it should be: {text}", request=request)
        case OSError():
            return httpx2.ReadError(text, request=request)
        case _:
            return exc


def _describe(exc: Exception) -> str:
    """Say what went wrong, fit for a message: aiohttp puts whole URLs and header lines, secrets included, into some."""
    if isinstance(exc, aiohttp.ClientConnectorError):
        cause = exc.os_error
        text = cause.strerror or str(cause)
        # asyncio puts "Connect call failed (address)" in the place of the system's words.
        return f"{os.strerror(cause.errno)}: {text}" if isinstance(cause, ConnectionError) and cause.errno else text
    if isinstance(exc, aiohttp.ClientResponseError):
        return quote(redact_text(unquote(exc.message)))
    return quote(redact_text(str(exc))) or type(exc).__name__
