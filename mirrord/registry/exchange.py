"""One exchange with one registry: a judged URL, headers of its own, an answer read under a cap, errors that say what.

Knows no retries and no places; `registry/http.py` puts those around it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Sequence
from typing import NoReturn

import anyio
import httpx2

from mirrord import __version__
from mirrord.errors import (
    AddressRefusedError,
    DeniedError,
    ProtocolViolationError,
    QuotaExhaustedError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
    quote,
)
from mirrord.ports.clock import Clock
from mirrord.ports.events import BreakerChanged, EventSink, RegistryPaused, RequestDone
from mirrord.registry.authorizing import RequestAuthorizer
from mirrord.registry.breaker import Breaker
from mirrord.registry.call import ERROR_BODY_CAP, About, Answer, Call, count_of, path_of
from mirrord.registry.challenge import parse_challenges
from mirrord.registry.doors import Doors
from mirrord.registry.errorbody import error_from_response
from mirrord.registry.origin import Door, Ruling, Verdict, resolve
from mirrord.registry.redact import hide, redact_url, sent_secrets
from mirrord.registry.throttle import Throttle
from mirrord.registry.unanswered import unanswered

USER_AGENT = f"mirrord/{__version__}"
MAX_REDIRECTS = 5
READ_TIMEOUT_S = 30.0
HOP_DEADLINE_S = 70.0
READ_BASE_S = 30.0
SLOWEST_BYTES_PER_S = 64 * 1024
LONGEST_INLINE_WAIT_S = 15 * 60.0
SHORTEST_PAUSE_S = 1.0
DISCARD_S = 5.0


class Exchange:
    """Sends single requests to one registry, and to where it points."""

    def __init__(
        self,
        *,
        host: str,
        doors: Doors,
        throttle: Throttle,
        breaker: Breaker,
        authorizer: RequestAuthorizer,
        clock: Clock,
        events: EventSink,
        missing: Callable[[], str] = lambda: "",
        registry: str = "",
    ) -> None:
        """Put the parts together; nothing is sent.

        ``registry`` is the name under which the credential is configured, where ``host`` is an API beside it.
        ``missing`` says what would give an anonymous client a credential, as a remedy; "" where nothing is known.
        """
        self.host = host
        self.doors = doors
        self._throttle = throttle
        self._breaker = breaker
        self._authorizer = authorizer
        self._clock = clock
        self._events = events
        self._missing = missing
        self._registry = registry or host
        self._last_failure = ""

    async def hop(
        self,
        method: str,
        ruling: Ruling,
        headers: dict[str, str],
        content: bytes | AsyncIterable[bytes],
        *,
        deadline_s: float | None = HOP_DEADLINE_S,
    ) -> httpx2.Response:
        """Send one request and return the open answer; the caller closes it.

        The breaker counts what the registry itself did; other origins and cancelled requests say nothing about it.
        """
        own = self.doors.is_own(ruling)
        if own:
            if not self._breaker.allows():
                raise UnavailableError(
                    f"{self.host} keeps failing and is left alone for a moment; the last failure: {self._last_failure}",
                    host=self.host,
                    code="BREAKER_OPEN",
                    remedy="check that the registry is up and reachable",
                    retryable=False,
                )
            await self._throttle.turn()
        url = ruling.url
        started = self._clock.monotonic()
        status = 0
        try:
            extensions = {"timeout": {"read": deadline_s and READ_TIMEOUT_S}}
            request = httpx2.Request(method, url, headers=headers, content=content or None, extensions=extensions)
            with anyio.fail_after(deadline_s):
                response = await self.doors.transport(ruling).handle_async_request(request)
            status = response.status_code
            if own and (sent := headers.get("Authorization")) is not None:
                self._authorizer.heard(sent, status)
        except (httpx2.TransportError, TimeoutError) as exc:
            error = unanswered(self.host, method, url, exc)
            if own:
                self._note_failure(error.message)
            raise error from exc
        except (httpx2.InvalidURL, ValueError) as exc:
            raise ProtocolViolationError(f"{redact_url(url)} is no URL that can be asked", host=self.host) from exc
        finally:
            seconds = self._clock.monotonic() - started
            self._events.emit(RequestDone(host=self.host, method=method, status=status, seconds=seconds))
        if own and status >= 500:  # noqa: PLR2004 - server errors
            self._note_failure(f"status {status}")
        elif own:
            self._note_answer()
        return response

    def _note_failure(self, what: str) -> None:
        """Count a failure of the registry itself; too many of them open the breaker."""
        was_open = self._breaker.is_open
        self._breaker.failed()
        self._last_failure = what
        if self._breaker.is_open and not was_open:
            self._events.emit(BreakerChanged(host=self.host, is_open=True))

    def _note_answer(self) -> None:
        """Count an answer of the registry itself, which closes the breaker."""
        was_open = self._breaker.is_open
        self._breaker.succeeded()
        if was_open:
            self._events.emit(BreakerChanged(host=self.host, is_open=False))

    async def read(self, call: Call, response: httpx2.Response) -> Answer:
        """Read a whole body under the call's cap; an encoded one was not asked for and is refused."""
        body = bytearray()
        if call.method != "HEAD" and response.headers.get("content-length") != "0":
            if response.headers.get("content-encoding", "identity") not in ("identity", ""):
                raise ProtocolViolationError(
                    f"{call.what}: the answer is compressed, which was not asked for",
                    code="CONTENT_ENCODING_UNEXPECTED",
                    remedy="switch off compression in the proxy before the registry",
                    **self.about(call, response.status_code),
                )
            try:
                with anyio.fail_after(READ_BASE_S + call.limit / SLOWEST_BYTES_PER_S):
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > call.limit:
                            raise ProtocolViolationError(
                                f"{call.what}: the answer is longer than {call.limit} bytes",
                                code=call.too_large_code,
                                **self.about(call, response.status_code),
                            )
            except (httpx2.TransportError, TimeoutError) as exc:
                raise unanswered(self.host, call.method, str(response.request.url), exc) from exc
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=bytes(body),
            url=str(response.request.url),
        )

    async def fail(self, call: Call, response: httpx2.Response) -> NoReturn:
        """Raise the error that an answer stands for; one that asks to slow down pauses the whole registry."""
        body = b""
        if call.method != "HEAD":
            try:
                with anyio.move_on_after(READ_BASE_S):
                    async for piece in response.aiter_raw():
                        body += piece
                        if len(body) > ERROR_BODY_CAP:
                            break
            except httpx2.TransportError:
                pass  # the status decides; a broken error body says nothing more
        error = error_from_response(
            host=self.host,
            method=call.method,
            path=path_of(call.target),
            status=response.status_code,
            headers=response.headers,
            body=hide(body[:ERROR_BODY_CAP], [*call.secrets, *sent_secrets(response.request.headers)]),
            what=call.what,
            now=self._clock.now(),
        )
        if isinstance(error, RateLimitedError) and not isinstance(error, QuotaExhaustedError):
            self._note_pause(error)  # a quota of pulls leaves everything else free
        elif isinstance(error, UnauthorizedError | DeniedError):
            error.remedy = self._missing() or error.remedy
            if "authorization" in response.request.headers and (whose := await self._authorizer.whose()):
                error.message += f"; asked as {whose}"
        raise error

    def _note_pause(self, error: RateLimitedError) -> None:
        """Let the whole registry rest, and never for less than a moment: hints of microseconds are sent too."""
        wait_s = min(max(error.retry_after_s or 0.0, SHORTEST_PAUSE_S), LONGEST_INLINE_WAIT_S)
        if (longer_s := self._throttle.pause(wait_s)) > 0:
            self._events.emit(RegistryPaused(host=self.host, seconds=longer_s, reason="rate_limited"))

    async def judge(self, call: Call, target: str, door: Door) -> Ruling:
        """Return the ruling on a path of our own making or a URL that the registry named; a refused one is an error."""
        if target.startswith("/") and door is Door.LINK:
            return self.doors.own(target)
        url = target
        ruling = await self.doors.judge(url, door)
        if ruling.verdict is Verdict.REFUSE:
            raise AddressRefusedError(
                f"{call.what}: the registry names {redact_url(url)}, which is not followed: {ruling.reason}",
                code=ruling.code,
                remedy=f'if that host belongs to the registry, list it under registries."{self.host}".auth_hosts'
                if door is Door.REALM
                else "",
                **self.about(call, None),
            )
        return ruling

    async def headers(self, call: Call, ruling: Ruling) -> dict[str, str]:
        """Return the headers of one hop, the credential among them only where the ruling allows it."""
        headers = self.plain_headers(call)
        if call.credential and ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL:
            authorization = await self._authorizer.header(call.scopes)
            if authorization is not None:
                headers["Authorization"] = authorization
        return headers

    @staticmethod
    def plain_headers(call: Call) -> dict[str, str]:
        """Return the headers of a hop that carries no credential of the registry."""
        return {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **call.headers}

    def location(self, call: Call, response: httpx2.Response, url: str) -> str:
        """Return the URL that a redirect points to; still to be judged."""
        location = response.headers.get("location", "")
        if not location:
            raise ProtocolViolationError(
                f"{call.what}: a redirect without Location", **self.about(call, response.status_code)
            )
        try:
            return resolve(url, location)
        except AddressRefusedError as exc:
            raise AddressRefusedError(
                f"{call.what}: a redirect that is not followed: {exc.message}",
                code=Door.REDIRECT.value,
                **self.about(call, response.status_code),
            ) from exc

    def no_way_to_authorise(
        self, call: Call, challenges: Sequence[str], *, asked: bool, refused: str = ""
    ) -> UnauthorizedError:
        """Return the error for a 401 that cannot be answered.

        Args:
            call: what was asked.
            challenges: what the 401 said.
            asked: whether the registry said how it could be answered.
            refused: what an API did not accept, as `RequestAuthorizer.refused` says it.
        """
        about = self.about(call, 401)
        if refused:
            return UnauthorizedError(
                f"{call.what}: the API at {self.host} {refused}", remedy=self._missing() or None, **about
            )
        if asked:
            who = "registry" if self._registry == self.host else f"API at {self.host}"
            return UnauthorizedError(
                f"{call.what}: the {who} wants a credential, and none is configured for {self._registry}",
                remedy=self._missing()
                or f'add username and password for "{self._registry}" under registries, or log in with docker',
                **about,
            )
        schemes = ", ".join(challenge.scheme for challenge in parse_challenges(challenges))
        if schemes:
            return UnauthorizedError(
                f"{call.what}: the registry wants a log-in of a kind that mirrord does not speak: {quote(schemes, 60)}",
                code="AUTH_SCHEME_UNSUPPORTED",
                remedy="let the registry, or the proxy before it, offer Basic or Bearer",
                **about,
            )
        return UnauthorizedError(
            f"{call.what}: the registry refuses, and does not say how to log in: no access, or nothing of that name",
            **about,
        )

    def too_many_redirects(self, call: Call) -> ProtocolViolationError:
        """Return the error for a chain of redirects without an end."""
        return ProtocolViolationError(
            f"{call.what}: more than {MAX_REDIRECTS} redirects", code="REDIRECT_LOOP", **self.about(call, None)
        )

    def about(self, call: Call, status: int | None) -> About:
        """Return the fields that tell which request an error is about."""
        return About(host=self.host, method=call.method, path=path_of(call.target), status=status)


async def close(response: httpx2.Response) -> None:
    """Close an answer even when the task is being cancelled, so that its connection is not leaked."""
    if response.is_closed:
        return
    with anyio.CancelScope(shield=True), anyio.move_on_after(5):
        await response.aclose()


async def discard(response: httpx2.Response) -> None:
    """Read a short answer that is of no use to its end, so that its connection can be used again; then close it."""
    try:
        length = count_of(response.headers.get("content-length", ""))
        if length is not None and length <= ERROR_BODY_CAP:
            with anyio.move_on_after(DISCARD_S):
                async for _ in response.aiter_raw():
                    pass
    except httpx2.TransportError:
        pass  # it was of no use
    finally:
        await close(response)
