"""One registry over HTTP: authorisation, places, retries, redirects by hand, and errors that say what happened.

The only module that sends requests. Bodies that go up as a stream are sent once (`send_stream`); everything else is
replayable and is retried here, nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn, TypeVar

import anyio
import httpx2

from mirrord import __version__
from mirrord.errors import (
    AddressRefusedError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    UnauthorizedError,
    UnavailableError,
)
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, RequestDone, RequestRetried
from mirrord.registry.breaker import Breaker
from mirrord.registry.call import ERROR_BODY_CAP, About, Answer, Call, path_of
from mirrord.registry.doors import Doors
from mirrord.registry.errorbody import error_from_response
from mirrord.registry.origin import Door, Ruling, Verdict, resolve
from mirrord.registry.redact import redact_url
from mirrord.registry.retry import RETRYABLE_STATUS, Backoff, RetryBudget
from mirrord.registry.throttle import Throttle
from mirrord.registry.tokens import Authorizer, TokenAnswer
from mirrord.registry.unanswered import unanswered

USER_AGENT = f"mirrord/{__version__}"
TRIES = 4
RATE_LIMIT_TRIES = 8
MAX_REDIRECTS = 5
ATTEMPT_DEADLINE_S = 150.0
LONGEST_INLINE_WAIT_S = 15 * 60.0

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RegistryHttp:
    """Sends requests to one registry with one credential."""

    def __init__(
        self,
        *,
        host: str,
        doors: Doors,
        throttle: Throttle,
        breaker: Breaker,
        budget: RetryBudget,
        authorizer: Authorizer,
        clock: Clock,
        events: EventSink,
        jitter: random.Random,
    ) -> None:
        """Put the parts together; no request is made."""
        self.host = host
        self.throttle = throttle
        self.authorizer = authorizer
        self.doors = doors
        self._breaker = breaker
        self._budget = budget
        self._clock = clock
        self._events = events
        self._jitter = jitter
        self._greeted = False
        self._greeting = anyio.Lock()

    async def request(self, call: Call, *, held: bool = False) -> Answer:
        """Carry out a call with retries and return its whole answer.

        Args:
            call: what to ask; it may be sent several times.
            held: the caller holds a place at this registry already.

        Raises:
            RegistryError: the narrowest class that fits; no retry helped, or none could.
        """
        await self._greet(held=held)
        return await self._retrying(lambda: self._attempt(call, held=held))

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[httpx2.Response]:
        """Open an answer whose body the caller reads; runs under a place held by the caller, without retries.

        Raises:
            RegistryError: the answer's status is not one of ``call.ok``.
        """
        await self._greet(held=True)
        self._budget.request(self._clock.monotonic())
        async with AsyncExitStack() as stack:
            try:
                response = await self._follow(call, stack)
            except RateLimitedError as exc:
                self._note_pause(exc)
                raise
            if response.status_code not in call.ok:
                await self._fail(call, response)
            yield response

    async def send_stream(
        self, call: Call, body: bytes | AsyncIterable[bytes], *, door: Door = Door.UPLOAD_LOCATION
    ) -> Answer:
        """Send a body that can be read once, and return the answer; runs under a place held by the caller.

        Raises:
            RegistryError: the answer's status is not one of ``call.ok``; nothing is sent twice.
        """
        ruling = await self._judge(call, call.target, door)
        headers = await self._headers(call, ruling)
        self._budget.request(self._clock.monotonic())
        async with AsyncExitStack() as stack:
            response = await self._hop(call.method, ruling, headers, body, stack)
            if response.status_code in _REDIRECTS:
                raise ProtocolViolationError(
                    f"{call.what}: the registry redirects an upload, which cannot be followed",
                    **self._about(call, response.status_code),
                )
            if response.status_code == 401:  # noqa: PLR2004 - Unauthorized
                await self.authorizer.forget(call.scopes)
                self.authorizer.learn(response.headers.get_list("www-authenticate"))
            if response.status_code not in call.ok:
                await self._fail(call, response)
            return await self._read(call, response)

    async def token(self, *, method: str, url: str, headers: dict[str, str], content: bytes) -> TokenAnswer:
        """Ask a token service, as `tokens.TokenFetcher` says; the realm's door is checked at every hop."""
        call = Call(
            method=method,
            target=url,
            what=f"ask the token service of {self.host}",
            scopes=(),
            headers=headers,
            content=content,
            ok=range(200, 500),
            credential=False,
        )
        return await self._retrying(lambda: self._token_attempt(call))

    async def _token_attempt(self, call: Call) -> TokenAnswer:
        ruling = await self._judge(call, call.target, Door.REALM)
        async with AsyncExitStack() as stack:
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._hop(call.method, ruling, self._plain_headers(call), call.content, stack)
                if response.status_code in _REDIRECTS and call.method == "GET":
                    ruling = await self._judge(call, self._location(call, response, ruling.url), Door.REALM)
                    continue
                if response.status_code in RETRYABLE_STATUS:
                    await self._fail(call, response)
                return TokenAnswer(status=response.status_code, body=(await self._read(call, response)).body)
            raise self._too_many_redirects(call)

    async def ping(self, *, held: bool = False) -> int:
        """Ask ``/v2/`` and learn how the registry wants to be asked; return the status of its answer.

        Source: distribution-spec v1.1.1, end-1.
        """
        call = Call(
            method="GET",
            target="/v2/",
            what=f"greet the registry {self.host}",
            scopes=(),
            ok=range(200, 500),
            credential=False,
        )
        answer = await self._attempt(call, held=held)
        if answer.status == 401:  # noqa: PLR2004 - Unauthorized
            self.authorizer.learn(answer.headers.get_list("www-authenticate"))
        return answer.status

    async def _greet(self, *, held: bool) -> None:
        if self._greeted:
            return
        async with self._greeting:
            if not self._greeted:
                await self._retrying(lambda: self.ping(held=held))
                self._greeted = True

    async def _attempt(self, call: Call, *, held: bool) -> Answer:
        async with AsyncExitStack() as stack:
            if not held:
                await stack.enter_async_context(self.throttle.place())
            try:
                with anyio.fail_after(ATTEMPT_DEADLINE_S):
                    response = await self._follow(call, stack)
                    if response.status_code not in call.ok:
                        await self._fail(call, response)
                    return await self._read(call, response)
            except TimeoutError:
                raise UnavailableError(
                    f"{call.what}: not finished within {ATTEMPT_DEADLINE_S:.0f} s", **self._about(call, None)
                ) from None

    async def _follow(self, call: Call, stack: AsyncExitStack) -> httpx2.Response:
        """Send, authorise once more after a 401, and follow redirects of reads; each hop has headers of its own."""
        ruling = await self._judge(call, call.target, call.door)
        reauthorised = False
        hops = 0
        while True:
            headers = await self._headers(call, ruling)
            response = await self._hop(call.method, ruling, headers, call.content, stack)
            status = response.status_code
            may_authorise = call.credential and ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL
            if status == 401 and may_authorise and not reauthorised:  # noqa: PLR2004 - Unauthorized
                reauthorised = True
                challenges = response.headers.get_list("www-authenticate")
                await response.aclose()
                await self.authorizer.forget(call.scopes)
                self.authorizer.learn(challenges)
                if await self.authorizer.header(call.scopes) is None:
                    raise UnauthorizedError(
                        f"{call.what}: the registry wants a credential, and none is configured for {self.host}",
                        remedy=f'add username and password for "{self.host}" under registries, or log in with docker',
                        **self._about(call, status),
                    )
                continue
            if status in _REDIRECTS and call.method in ("GET", "HEAD") and call.follow:
                hops += 1
                if hops > MAX_REDIRECTS:
                    raise self._too_many_redirects(call)
                ruling = await self._judge(call, self._location(call, response, ruling.url), Door.REDIRECT)
                await response.aclose()
                continue
            return response

    async def _hop(
        self,
        method: str,
        ruling: Ruling,
        headers: dict[str, str],
        content: bytes | AsyncIterable[bytes],
        stack: AsyncExitStack,
    ) -> httpx2.Response:
        """Send one request and return the open answer; its end is the end of ``stack``."""
        if not self._breaker.allows():
            raise UnavailableError(
                f"{self.host} keeps failing and is left alone for a moment", host=self.host, retryable=False
            )
        await self.throttle.turn()
        url = ruling.url
        request = httpx2.Request(method, url, headers=headers, content=content or None)
        started = self._clock.monotonic()
        status = 0
        try:
            response = await self.doors.transport(ruling).handle_async_request(request)
            status = response.status_code
        except httpx2.TransportError as exc:
            raise unanswered(self.host, method, url, exc) from exc
        except (httpx2.InvalidURL, ValueError) as exc:
            raise ProtocolViolationError(f"{redact_url(url)} is no URL that can be asked", host=self.host) from exc
        finally:
            if status and status < 500:  # noqa: PLR2004 - server errors
                self._breaker.succeeded()
            else:
                self._breaker.failed()
            seconds = self._clock.monotonic() - started
            self._events.emit(RequestDone(host=self.host, method=method, status=status, seconds=seconds))
        stack.push_async_callback(_close, response)
        return response

    async def _read(self, call: Call, response: httpx2.Response) -> Answer:
        """Read a whole body under the call's cap; an encoded one was not asked for and is refused."""
        if response.headers.get("content-encoding", "identity") not in ("identity", ""):
            raise ProtocolViolationError(
                f"{call.what}: the answer is compressed, which was not asked for",
                code="CONTENT_ENCODING_UNEXPECTED",
                remedy="switch off compression in the proxy before the registry",
                **self._about(call, response.status_code),
            )
        body = bytearray()
        if call.method != "HEAD":
            try:
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > call.limit:
                        raise ProtocolViolationError(
                            f"{call.what}: the answer is longer than {call.limit} bytes",
                            code=call.too_large_code,
                            **self._about(call, response.status_code),
                        )
            except httpx2.TransportError as exc:
                raise unanswered(self.host, call.method, str(response.request.url), exc) from exc
        return Answer(
            status=response.status_code,
            headers=response.headers,
            body=bytes(body),
            url=str(response.request.url),
        )

    async def _fail(self, call: Call, response: httpx2.Response) -> NoReturn:
        body = b""
        if call.method != "HEAD":
            try:
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
            body=body[:ERROR_BODY_CAP],
            what=call.what,
            now=self._clock.now(),
        )
        if isinstance(error, RateLimitedError):
            self._note_pause(error)
        raise error

    def _note_pause(self, error: RateLimitedError) -> None:
        if error.retry_after_s:
            self.throttle.pause(min(error.retry_after_s, LONGEST_INLINE_WAIT_S))

    async def _retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make an attempt, and others after failures that may pass. No place is held while waiting.

        Where the retry budget is used up, the retry waits for it: a registry in trouble sees few retries, and a
        request still gets its tries. A registry that asks to slow down is not in trouble; its pause paces the tries.
        """
        backoff = Backoff(self._jitter.random)
        tries = 0
        while True:
            tries += 1
            self._budget.request(self._clock.monotonic())
            try:
                return await attempt()
            except RegistryError as exc:
                limited = isinstance(exc, RateLimitedError)
                if not exc.retryable or tries >= (RATE_LIMIT_TRIES if limited else TRIES):
                    raise
                wait_s = backoff.next_s(min(exc.retry_after_s or 0.0, LONGEST_INLINE_WAIT_S))
                self._events.emit(RequestRetried(host=self.host, reason=exc.code.lower(), wait_s=wait_s))
            await self._clock.sleep(wait_s)
            while not limited and not self._budget.allows_retry(self._clock.monotonic()):
                await self._clock.sleep(self._jitter.uniform(0.5, 1.5))

    async def _judge(self, call: Call, target: str, door: Door) -> Ruling:
        """Return the ruling on a path of the registry or a URL that it named; a refused one is an error."""
        url = f"{self.doors.base}{target}" if target.startswith("/") else target
        ruling = await self.doors.judge(url, door)
        if ruling.verdict is Verdict.REFUSE:
            raise AddressRefusedError(
                f"{call.what}: the registry names {redact_url(url)}, which is not followed: {ruling.reason}",
                code=ruling.code,
                remedy=f'if that host belongs to the registry, list it under registries."{self.host}".auth_hosts'
                if door is Door.REALM
                else "",
                **self._about(call, None),
            )
        return ruling

    async def _headers(self, call: Call, ruling: Ruling) -> dict[str, str]:
        headers = self._plain_headers(call)
        if call.credential and ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL:
            authorization = await self.authorizer.header(call.scopes)
            if authorization is not None:
                headers["Authorization"] = authorization
        return headers

    @staticmethod
    def _plain_headers(call: Call) -> dict[str, str]:
        return {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **call.headers}

    def _location(self, call: Call, response: httpx2.Response, url: str) -> str:
        location = response.headers.get("location", "")
        if not location:
            raise ProtocolViolationError(
                f"{call.what}: a redirect without Location", **self._about(call, response.status_code)
            )
        return resolve(url, location)

    def _too_many_redirects(self, call: Call) -> ProtocolViolationError:
        return ProtocolViolationError(
            f"{call.what}: more than {MAX_REDIRECTS} redirects", code="REDIRECT_LOOP", **self._about(call, None)
        )

    def _about(self, call: Call, status: int | None) -> About:
        return About(host=self.host, method=call.method, path=path_of(call.target), status=status)


async def _close(response: httpx2.Response) -> None:
    """Close an answer even when the task is being cancelled, so that its connection is not leaked."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(5):
        await response.aclose()
