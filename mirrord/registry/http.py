"""One registry over HTTP: authorisation, places, retries, redirects by hand, and errors that say what happened.

The only module that sends requests. Bodies that go up as a stream are sent once (`send_stream`); everything else is
replayable and is retried here, nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import httpx2

from mirrord.errors import (
    ProtocolViolationError,
    RegistryError,
    UnavailableError,
)
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink
from mirrord.registry.authorizing import RequestAuthorizer
from mirrord.registry.body import STALL_S, UploadBody
from mirrord.registry.call import Answer, Call
from mirrord.registry.exchange import HOP_DEADLINE_S, MAX_REDIRECTS, Exchange, close, discard
from mirrord.registry.metering import Metering
from mirrord.registry.origin import Door, Verdict
from mirrord.registry.retry import RETRYABLE_STATUS, RetryBudget
from mirrord.registry.retrying import Retries
from mirrord.registry.throttle import Throttle
from mirrord.registry.tokenanswer import TokenAnswer

UNREACHABLE_FOR_S = 15.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TELLS_QUOTA = frozenset({200, 400, 401, 403, 404, 405})
_GREETED = frozenset(range(200, 500)) - RETRYABLE_STATUS


class RegistryHttp:
    """Sends requests to one registry with one credential."""

    def __init__(
        self,
        *,
        host: str,
        exchange: Exchange,
        throttle: Throttle,
        budget: RetryBudget,
        authorizer: RequestAuthorizer,
        clock: Clock,
        events: EventSink,
        jitter: random.Random,
        greets: bool = True,
        is_expired: Callable[[RegistryError], bool] = lambda _error: False,
        metering: Metering | None = None,
    ) -> None:
        """Put the parts together; no request is made.

        With ``greets`` the first one is a ping of ``/v2/``. ``is_expired`` tells refusals after which a fresh
        credential may work. ``metering`` is there where the registry counts pulls.
        """
        self.metering = metering
        self.host = host
        self.throttle = throttle
        self.authorizer = authorizer
        self._exchange = exchange
        self._budget = budget
        self.clock = clock
        self.events = events
        self._retries = Retries(host=host, budget=budget, clock=clock, events=events, jitter=jitter)
        self._is_expired = is_expired
        self._greeted = not greets
        self._greeting = anyio.Lock()
        self._lets_all_in = False
        self._unreachable: RegistryError | None = None
        self._ask_again_at = 0.0

    async def request(self, call: Call, *, held: bool = False) -> Answer:
        """Carry out a call with retries and return its whole answer.

        Args:
            call: what to ask; it may be sent several times.
            held: the caller holds a place at this registry already.

        Raises:
            RegistryError: the narrowest class that fits; no retry helped, or none could.
        """
        await self._greet()
        metering = self.metering
        if metering is not None and call.metered and call.method == "GET":
            assert not held  # a pull may have to wait for the quota, and nothing may be held meanwhile
            return await self._retries.run(lambda: self._pull(metering, call))
        return await self._retries.run(lambda: self._attempt(call, held=held))

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[httpx2.Response]:
        """Open an answer whose body the caller reads; runs under a place held by the caller, without retries.

        Raises:
            RegistryError: the answer's status is not one of ``call.ok``.
        """
        await self._greet()
        self._budget.request(self.clock.monotonic())
        response = await self._opened(call)
        try:
            yield response
        finally:
            await close(response)

    async def send(self, call: Call) -> Answer:
        """Carry out one step of an upload that has no body; sent once, to wherever the registry pointed."""
        return await self._send(call, b"", deadline_s=HOP_DEADLINE_S)

    async def send_stream(self, call: Call, body: UploadBody, length: int) -> Answer:
        """Send ``length`` bytes of a body that can be read once; runs under a place held by the caller.

        There is no deadline on the whole, since a layer may be large, but one on standing still.

        Raises:
            RegistryError: the answer's status is not one of ``call.ok``, or the registry stands still; nothing is
                sent twice.
        """
        stalled = False
        answer: Answer | None = None
        failure: Exception | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                nonlocal stalled
                while (wait_s := body.stalled_in_s) > 0:  # noqa: ASYNC110 - time itself is what is waited for
                    await anyio.sleep(min(wait_s, STALL_S))
                stalled = True
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                answer = await self._send(call, body.take(length), deadline_s=None)
            except Exception as exc:  # noqa: BLE001 - raised below, alone and not in a group
                failure = exc
            group.cancel_scope.cancel()
        if answer is not None:
            return answer
        if failure is not None:
            raise failure
        assert stalled
        raise UnavailableError(
            f"{call.what}: the registry took no data and gave no answer for {STALL_S:.0f} s",
            **self._exchange.about(call, None),
        )

    async def _send(self, call: Call, content: bytes | AsyncIterable[bytes], *, deadline_s: float | None) -> Answer:
        ruling = await self._exchange.judge(call, call.target, Door.UPLOAD_LOCATION)
        headers = await self._exchange.headers(call, ruling)
        self._budget.request(self.clock.monotonic())
        response = await self._exchange.hop(call.method, ruling, headers, content, deadline_s=deadline_s)
        try:
            if response.status_code in _REDIRECTS:
                raise ProtocolViolationError(
                    f"{call.what}: the registry redirects an upload, which cannot be followed",
                    **self._exchange.about(call, response.status_code),
                )
            if response.status_code == 401 and ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL:  # noqa: PLR2004
                await self.authorizer.forget(call.scopes, headers.get("Authorization", ""))
                self.authorizer.learn(response.headers.get_list("www-authenticate"))
            return await self._finish(call, response)
        except RegistryError as exc:
            await self._renewed(call, response, exc)  # for the next try: this body cannot be sent again
            raise
        finally:
            await close(response)

    async def _finish(self, call: Call, response: httpx2.Response) -> Answer:
        """Return the whole answer if its status is one that the caller handles; raise what it stands for if not."""
        if response.status_code not in call.ok:
            await self._exchange.fail(call, response)
        return await self._exchange.read(call, response)

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
            too_large_code="TOKEN_INVALID",
            credential=False,
        )
        return await self._retries.run(lambda: self._token_attempt(call))

    async def _token_attempt(self, call: Call) -> TokenAnswer:
        ruling = await self._exchange.judge(call, call.target, Door.REALM)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._exchange.hop(call.method, ruling, self._exchange.plain_headers(call), call.content)
            try:
                if response.status_code in _REDIRECTS and call.method == "GET":
                    location = self._exchange.location(call, response, ruling.url)
                    ruling = await self._exchange.judge(call, location, Door.REALM)
                    continue
                if response.status_code in RETRYABLE_STATUS:
                    await self._exchange.fail(call, response)
                return TokenAnswer(status=response.status_code, body=(await self._exchange.read(call, response)).body)
            finally:
                await close(response)
        raise self._exchange.too_many_redirects(call)

    async def ping(self) -> int:
        """Ask ``/v2/`` and learn how the registry wants to be asked; return the status of its answer.

        Takes no place: others may hold all of them while they wait for this answer.
        Source: distribution-spec v1.1.1, end-1.
        """
        what = f"greet the registry {self.host}"
        call = Call(method="GET", target="/v2/", what=what, scopes=(), ok=_GREETED, credential=False)
        answer = await self._attempt(call, held=True)
        # Where a redirect led nobody speaks for the registry: not on how its credential is to be sent.
        if answer.status == 401 and self._exchange.doors.is_at_home(answer.url):  # noqa: PLR2004 - Unauthorized
            self.authorizer.learn(answer.headers.get_list("www-authenticate"))
        self._lets_all_in = answer.status != 401  # noqa: PLR2004 - Unauthorized
        return answer.status

    async def knock(self, authorization: str) -> bool:
        """Ask ``/v2/`` with a password; say whether it is accepted, False where everybody is let in there.

        Takes no place, as `ping`. Source: docker's ``login``, which asks the same.

        Raises:
            UnauthorizedError: it is not accepted.
            RegistryError: the registry gave no answer.
        """
        if self._lets_all_in:
            return False
        call = Call(
            method="GET",
            target="/v2/",
            what=f"log in to {self.host}",
            scopes=(),
            headers={"Authorization": authorization},
            ok=_GREETED - {401},
            credential=False,
            follow=False,
        )
        await self._attempt(call, held=True)
        return True

    async def token_service(self) -> str:
        """Return the URL of the token service that the registry names; empty where it names none.

        Raises:
            AddressRefusedError: it is none that may see the registry's credential.
        """
        await self._greet()
        realm = self.authorizer.realm
        if realm:
            call = Call(method="GET", target=realm, what=f"find the token service of {self.host}", scopes=())
            await self._exchange.judge(call, realm, Door.REALM)
        return realm

    async def _greet(self) -> None:
        """Ping once; a registry that did not answer is not asked again for a moment, whoever comes."""
        if self._greeted:
            return
        async with self._greeting:
            if not self._greeted:
                await self._first_contact()

    def forget_failure(self) -> None:
        """Ask the registry again at once, though it did not answer a moment ago."""
        self._unreachable = None

    async def _first_contact(self) -> None:
        if (known := self._unreachable) is not None and self.clock.monotonic() < self._ask_again_at:
            raise type(known)(
                known.message, host=self.host, code=known.code, remedy=known.remedy, retryable=False
            ) from known
        try:
            await self._retries.run(self.ping)
        except RegistryError as exc:
            self._unreachable = exc
            self._ask_again_at = self.clock.monotonic() + UNREACHABLE_FOR_S
            raise
        self._greeted = True

    async def aclose(self) -> None:
        """Close all connections."""
        await self._exchange.doors.aclose()

    async def _pull(self, metering: Metering, call: Call) -> Answer:
        """Make one attempt at a call that counts, when the quota allows it."""
        look = replace(call, method="HEAD", ok=_TELLS_QUOTA)
        return await metering.fetch(
            lambda: self._attempt(call, held=False),
            lambda: self._retries.run(lambda: self._attempt(look, held=False)),
        )

    async def _attempt(self, call: Call, *, held: bool) -> Answer:
        await self.throttle.resumed()
        if held:
            return await self._once(call)
        async with self.throttle.place():
            return await self._once(call)

    async def _once(self, call: Call) -> Answer:
        response = await self._opened(call)
        try:
            return await self._exchange.read(call, response)
        finally:
            await close(response)

    async def _opened(self, call: Call) -> httpx2.Response:
        """Return an open answer with one of the statuses that the caller handles; once more after an ended credential.

        The caller closes the answer.
        """
        renewed = False
        while True:
            response = await self._follow(call)
            if response.status_code in call.ok:
                return response
            try:
                await self._exchange.fail(call, response)
            except RegistryError as exc:
                if renewed or not await self._renewed(call, response, exc):
                    raise
                renewed = True
            finally:
                await close(response)

    async def _renewed(self, call: Call, response: httpx2.Response, error: RegistryError) -> bool:
        """After a refusal of a credential that has ended, get a fresh one; say whether there is one to try."""
        sent = response.request.headers.get("authorization", "")
        return bool(sent) and self._is_expired(error) and await self.authorizer.renew(call.scopes, sent)

    async def _follow(self, call: Call) -> httpx2.Response:
        """Send, authorise once more after a 401, and follow redirects of reads; each hop has headers of its own.

        The caller closes the answer that is returned.
        """
        ruling = await self._exchange.judge(call, call.target, call.door)
        metering = self.metering if call.metered else None
        asked_tick = metering.tick() if metering is not None else 0
        reauthorised = False
        hops = 0
        while True:
            headers = await self._exchange.headers(call, ruling)
            response = await self._exchange.hop(call.method, ruling, headers, call.content)
            status = response.status_code
            may_authorise = call.credential and ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL
            if status == 401 and may_authorise and not reauthorised:  # noqa: PLR2004 - Unauthorized
                reauthorised = True
                if not await self._reauthorise(call, response):
                    return response
            elif status in _REDIRECTS and call.method in ("GET", "HEAD") and call.follow:
                hops += 1
                await discard(response)
                if hops > MAX_REDIRECTS:
                    raise self._exchange.too_many_redirects(call)
                location = self._exchange.location(call, response, ruling.url)
                ruling = await self._exchange.judge(call, location, Door.REDIRECT)
            else:
                if metering is not None:
                    await metering.hear(call.method, status, response.headers, asked_tick)
                return response

    async def _reauthorise(self, call: Call, response: httpx2.Response) -> bool:
        """Learn from a 401; say whether there is something else to answer it with. If so, the answer is closed.

        Raises:
            UnauthorizedError: there is nothing to answer its challenge with.
        """
        values = response.headers.get_list("www-authenticate")
        sent = response.request.headers.get("authorization", "")
        again = True
        try:
            await self.authorizer.forget(call.scopes, sent)
            self.authorizer.learn(values)
            value = await self.authorizer.header(call.scopes)
            if value is None:
                raise self._exchange.no_way_to_authorise(
                    call, values, asked=self.authorizer.scheme != "none", refused=await self.authorizer.refused()
                )
            again = value != sent or self.authorizer.may_insist()
            return again
        finally:
            if again:
                await discard(response)
