"""The emulated registry: the registry of the demo on a real loopback socket, with switches, faults and counters.

    async with FakeRegistry(BEARER) as registry:
        fault = registry.fault(CutBody(after=100), kind="blob GET", nth=2)
        ...  # talk to registry.host
        assert registry.traffic.counts["blob GET"] == 2

The token service, the storage behind redirects and a registry's own API listen on ports of their own, where a profile
needs them: other origins. With `Names` they are known by public names, some of which may be one; `tests.fakes.internet`
leads clients there. Several registries can run in one event loop. Leaving the context fails if a fault never fired.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from mirrord.demo.registry import RegistryApp, Store, Traffic
from mirrord.demo.registry.asgi import Answer, AsgiApp, Receive, Request, Scope, Send, send_answer
from mirrord.demo.registry.routes import Route, RouteKind, parse_route
from mirrord.demo.registry.traffic import RequestRecord
from mirrord.demo.serving import serve
from mirrord.oci.mediatype import essence
from tests.fakes.challenges import refuse_access
from tests.fakes.faults import Action, Fault
from tests.fakes.profiles import BASIC, BEARER, DISTRIBUTION_V2, DISTRIBUTION_V3, Names, Profile, Refusal
from tests.fakes.storage import Storage
from tests.fakes.switches import Switches
from tests.fakes.tokens import EmulatorClock, TokenService, refusal_answer
from tests.fakes.wire import Exchange, OpenProtocol, Witness, capture, http_text, replayed

__all__ = ["BASIC", "BEARER", "DISTRIBUTION_V2", "DISTRIBUTION_V3", "FakeRegistry", "Profile", "Refusal"]


class FakeRegistry:
    """A registry to test against. ``host`` (``127.0.0.1:PORT``, or its public name) and ``url`` are known inside its
    context; ``addresses`` tells where each public name listens.

    ``store`` is what it holds, ``traffic`` what was asked of it (token requests count as ``token``),
    ``storage_traffic`` what was asked of the storage behind redirects, ``clock`` the clock of tokens, signatures and
    quotas. ``switches.created`` are repositories that exist although nothing was pushed to them. A ``witness`` sees
    every request at each of its origins.
    """

    def __init__(
        self,
        profile: Profile = DISTRIBUTION_V3,
        *,
        store: Store | None = None,
        ssl_context: ssl.SSLContext | None = None,
        names: Names | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.profile = profile
        self.names = names
        self.addresses: dict[str, str] = {}
        self.store = store if store is not None else Store()
        self.traffic = Traffic()
        self.storage_traffic = Traffic()
        self.clock = EmulatorClock()
        self._witness = witness
        known_as = names.registry if names is not None else ""
        self.tokens = TokenService(profile.auth, self.clock, of=known_as)
        self.storage = Storage(self.store, self.clock, life_s=profile.blobs.signature_life_s, of=known_as)
        self.switches = Switches(profile=profile, store=self.store, storage=self.storage, clock=self.clock)
        self.tokens.created = self.switches.created
        self.tokens.exists = lambda name: name in self.switches.created or name in self.store.repositories()
        self.host = ""
        self.token_host = ""
        self.api_host = ""
        self.faults: list[Fault] = []
        self._app = RegistryApp(self.store)
        self._ssl_context = ssl_context
        self._stack = AsyncExitStack()
        self.api = profile.api(self) if profile.api is not None else None

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{self.scheme}://{self.host}"

    @property
    def scheme(self) -> str:
        """``https`` if the registry was given a TLS context, else ``http``."""
        return "http" if self._ssl_context is None else "https"

    def fault(
        self,
        action: Action,
        *,
        kind: str | None = None,
        method: str | None = None,
        repository: str | None = None,
        where: Callable[[RequestRecord], bool] = lambda _record: True,
        nth: int = 1,
        times: int | None = 1,
    ) -> Fault:
        """Let something go wrong with the ``nth`` matching request from now on, ``times`` times; None means always.

        One request meets one fault: the first that was set and is due.
        """
        fault = Fault(action, kind=kind, method=method, repository=repository, where=where, nth=nth, times=times)
        self.faults.append(fault)
        return fault

    def assert_all_fired(self) -> None:
        """Fail if a fault was set and never met."""
        unmet = [f"{fault.action} on {fault.kind or fault.method}" for fault in self.faults if not fault.fired]
        assert not unmet, f"faults that never fired: {unmet}"

    async def __aenter__(self) -> Self:
        needs_storage = self.profile.blobs.redirect is not None or self.profile.uploads.location == "other-host"
        names = self.names
        known = names is not None
        host, tokens, storage_name, api = (
            (names.registry, names.tokens, names.storage, names.api) if names is not None else (None, None, None, None)
        )
        async with AsyncExitStack() as stack:

            async def listen(app: AsgiApp, name: str | None) -> str:
                watched = app if name is None else self.watched(app, f"{self.scheme}://{name}")
                address = await stack.enter_async_context(self._serve(watched))
                if name is not None:
                    self.addresses[name.partition(":")[0]] = address
                return name or address

            self.host = await listen(self._front, host)
            self.token_host = self.api_host = self.host
            if needs_storage:
                storage = self._guarded(self.storage, self.storage_traffic, kind="storage")
                self.switches.storage_url = f"{self.scheme}://{await listen(storage, storage_name)}"
            shared = tokens is not None and tokens == api
            if self.profile.auth.scheme == "bearer" and (not known or tokens is not None):
                self.token_host = await listen(self._beside if shared else self._counted_tokens, tokens)
            elif self.profile.auth.scheme != "bearer":
                self.token_host = ""
            if self.api is not None and api is not None:
                self.api_host = self.token_host if shared else await listen(self._counted_api, api)
            self._stack = stack.pop_all()
        self.switches.host = self.host
        self.switches.scheme = self.scheme
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if error is None:
            self.assert_all_fired()

    def watched(self, app: AsgiApp, origin: str) -> AsgiApp:
        """Return ``app`` with the witness before it, where there is one."""
        return app if self._witness is None else self._witness.around(app, origin)

    def _serve(self, app: AsgiApp) -> AbstractAsyncContextManager[str]:
        async def served(scope: Scope, receive: Receive, send: Send) -> None:  # uvicorn takes methods for ASGI 2
            await app(scope, receive, send)

        return serve(served, grace_s=0.1, ssl_context=self._ssl_context, protocol=OpenProtocol)

    def _guarded(self, app: AsgiApp, traffic: Traffic, *, kind: str = "") -> AsgiApp:
        """Return ``app`` counted, and with the faults in front of it."""

        async def with_faults(scope: Scope, receive: Receive, send: Send) -> None:
            record = traffic.records[-1]
            due = [fault for fault in self.faults if fault.meets(record)]
            if due:
                due[0].fired += 1
                await due[0].action.run(Exchange(scope, receive, send), app)
            else:
                await app(scope, receive, send)

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            await traffic.watch(with_faults, scope, receive, send, kind=kind)

        return counted

    async def _front(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at the registry's own name: the distribution API, and what else shares that name."""
        path = scope["path"]
        if self.api is not None and self.api_host == self.host and path.startswith(self.api.prefixes):
            await self._counted_api(scope, receive, send)
        elif self.token_host == self.host and path == self.profile.auth.token_path:
            await self._counted_tokens(scope, receive, send)
        else:
            await self._guarded(self._behave, self.traffic)(scope, receive, send)

    async def _beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer at a name that token service and API share."""
        is_token = scope["path"] == self.profile.auth.token_path
        await (self._counted_tokens if is_token else self._counted_api)(scope, receive, send)

    async def _counted_tokens(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(self.tokens, self.traffic, kind="token")(scope, receive, send)

    async def _counted_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.api is not None
        await self._guarded(self.api, self.traffic, kind="api")(scope, receive, send)

    async def _behave(self, outer: Scope, receive: Receive, send: Send) -> None:
        """Answer as the profile says."""
        scope = dict(outer)
        request = Request(scope, receive)
        route = parse_route(request.path)
        realm = f"{self.scheme}://{self.token_host}{self.profile.auth.token_path}"
        answer = refuse_access(self.profile.auth, self.tokens, realm, request, route)
        answer = answer or (self.api.before(request, route) if self.api is not None else None)
        answer = answer or self.switches.before(scope, request, route)
        if answer is None and route.kind is RouteKind.MANIFEST and request.method == "PUT":
            answer = await self._put_manifest(scope, receive, route)
        elif answer is None:
            answer = await capture(self._app.handle, scope, receive)
        if answer is None:
            return
        answer = self.switches.after(request, route, answer)
        if answer.status == 416 and route.kind is RouteKind.BLOB and self.profile.blobs.lying_range_at_end:
            size = int((answer.header("Content-Range") or "").rpartition("/")[2])
            exchange = Exchange(outer, receive, send)
            await exchange.write(http_text(answer, length=size))
            await exchange.close()
            return
        await send_answer(answer, send, head=request.method == "HEAD")

    async def _put_manifest(self, scope: Scope, receive: Receive, route: Route) -> Answer | None:
        """Put a manifest where the profile has a word on its bytes; else let the registry do it."""
        switch = self.profile.manifests
        if switch.check_content and switch.media_type_needed is None:
            return await capture(self._app.handle, scope, receive)
        request = Request(scope, receive)
        raw = b"".join([piece async for piece in request.pieces()])
        if switch.media_type_needed is not None and b'"mediaType"' not in raw.partition(b'"config"')[0]:
            return refusal_answer(switch.media_type_needed)
        if switch.check_content:
            return await capture(self._app.handle, scope, replayed(raw))
        media_type = essence(request.header("Content-Type") or "")
        tags = () if ":" in route.reference else (route.reference,)
        digest = str(self.store.add_manifest(route.repository, raw, media_type, tags=tags))
        location = f"/v2/{route.repository}/manifests/{digest}"
        return Answer(status=201, headers=(("Location", location), ("Docker-Content-Digest", digest)))
