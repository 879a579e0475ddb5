"""Registries under their public names: TLS of one authority, and a resolver that leads to this machine's sockets.

    async with Internet() as internet:
        hub = await internet.join(DOCKERHUB, Names(registry="registry-1.docker.io", tokens="auth.docker.io"))
        async with internet.client("docker.io", credential=credential_of(hub)) as client:
            await client.reader("library/nginx").head(Tag("1.0"))

No name outside resolves, and nothing but loopback is ever dialled.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import cache
from types import TracebackType
from typing import Self

import aiohttp.abc
import trustme

from mirrord.demo.registry import Store
from mirrord.demo.registry.asgi import AsgiApp
from mirrord.demo.serving import serve
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.settings import RegistrySettings, TlsSettings
from mirrord.registry.origin import DEFAULT_PORTS
from mirrord.registry.providers.base import Provider
from mirrord.registry.tls import make_ssl_context
from mirrord.registry.transport import AiohttpTransport, Transport
from tests.fakes.clients import PUBLIC, Client, open_client
from tests.fakes.clock import FakeClock
from tests.fakes.profiles import Names, Profile
from tests.fakes.registry import FakeRegistry
from tests.fakes.wire import Witness


class Internet:
    """Emulated registries by name. ``registries`` are all that joined, in their order.

    A ``witness`` sees every request that arrives under any name.
    """

    def __init__(self, witness: Witness | None = None) -> None:
        self.registries: list[FakeRegistry] = []
        self._hosts: dict[str, str] = {}
        self._witness = witness
        self._authority = trustme.CA()
        self._stack = AsyncExitStack()

    async def join(self, profile: Profile, names: Names, *, store: Store | None = None) -> FakeRegistry:
        """Put a registry on the net; it leaves with the context."""
        hosts = [name.partition(":")[0] for name in (names.registry, names.tokens, names.storage, names.api) if name]
        context = self._certified(*hosts)
        registry = FakeRegistry(profile, store=store, ssl_context=context, names=names, witness=self._witness)
        await self._stack.enter_async_context(registry)
        self.registries.append(registry)
        return registry

    async def host(self, origin: str, app: AsgiApp) -> None:
        """Serve an application at an origin, ``https://cdn.test`` or ``http://cdn.test``; it leaves with the context.

        The plain origin of a registry's name can be hosted too: another port leads there.
        """
        scheme, _, name = origin.partition("://")
        context = self._certified(name) if scheme == "https" else None
        watched = app if self._witness is None else self._witness.around(app, origin)
        address = await self._stack.enter_async_context(serve(watched, grace_s=0.1, ssl_context=context))
        self._hosts[f"{name}:{DEFAULT_PORTS[scheme]}"] = address

    def _certified(self, *hosts: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*hosts).configure_cert(context)
        return context

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each name listens; those with a port first of all."""
        joined = {name: address for registry in self.registries for name, address in registry.addresses.items()}
        return {**joined, **self._hosts}

    def transport(self, settings: RegistrySettings, foreign: bool) -> Transport:
        """Return the way to the net, for one registry's client."""

        @cache
        def context() -> ssl.SSLContext:
            if settings.tls == TlsSettings():  # the system's authorities take a while to read, at each connection
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            else:
                context = make_ssl_context(settings.tls, foreign=foreign)
            self._authority.configure_trust(context)
            return context

        return AiohttpTransport(ssl_context=context, resolver=_Names(self))

    async def resolve(self, host: str) -> list[str]:
        """Return the addresses of a name, for rules on what is inside: all names are public."""
        return list(PUBLIC)

    def client(
        self,
        host: str,
        *,
        credential: Credential | None = None,
        settings: RegistrySettings | None = None,
        others: Mapping[str, RegistrySettings] | None = None,
        providers: tuple[Provider, ...] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: FakeClock | None = None,
        source: CredentialProvider | None = None,
    ) -> AbstractAsyncContextManager[Client]:
        """Open a client of the registry that users call ``host``; anonymous without a credential."""
        return open_client(
            host,
            credential=credential,
            settings=settings,
            others=others,
            transport=self.transport,
            providers=providers,
            environment=environment,
            clock=clock,
            source=source,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if error is None:
            for registry in self.registries:
                registry.assert_all_fired()


class _Names(aiohttp.abc.AbstractResolver):
    """Resolves the names of an emulated net to loopback ports, and no other name."""

    def __init__(self, internet: Internet) -> None:
        self._internet = internet

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        addresses = self._internet.addresses
        address = addresses.get(f"{host}:{port}") or addresses.get(host)
        if address is None:
            raise OSError(None, f"no such name on this net: {host}")
        ip, _, real_port = address.partition(":")
        found = aiohttp.abc.ResolveResult(
            hostname=host, host=ip, port=int(real_port), family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
        )
        return [found]

    async def close(self) -> None:
        """Nothing is held."""
