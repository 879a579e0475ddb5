"""Opens repositories of any registry; owns one client a registry, with its connections, limits and tokens."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from mirrord.errors import RegistryError, UnsupportedError
from mirrord.oci.reference import Repository
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.events import EventSink
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.authorizing import ApiAuthorizer, RequestAuthorizer
from mirrord.registry.breaker import Breaker
from mirrord.registry.bulk import BulkHabits
from mirrord.registry.doors import Doors, Resolver, system_resolver
from mirrord.registry.exchange import Exchange
from mirrord.registry.guard import guarded_socket_factory
from mirrord.registry.http import RegistryHttp
from mirrord.registry.metering import Metering
from mirrord.registry.mirrors import MirroredReader
from mirrord.registry.origin import Origin, RegistryTrust
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.catalog import choose_provider
from mirrord.registry.providers.service import Api
from mirrord.registry.proxy import choose_proxy
from mirrord.registry.referrers import ReferrersHabits
from mirrord.registry.repository import RegistryHandle, RegistryRepository
from mirrord.registry.retry import RetryBudget
from mirrord.registry.throttle import Throttle, ThrottleBook
from mirrord.registry.tls import shared_ssl_context
from mirrord.registry.tokens import Authorizer
from mirrord.registry.transport import AiohttpTransport, SplitTransport, Transport
from mirrord.registry.uploads import UploadHabits

_API_CONCURRENCY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a gateway needs of the outside: settings by host, credentials, time, chance, and who listens.

    ``transport`` replaces the network in tests: called with a registry's settings and whether it is for other
    origins; None means the real one. ``resolver`` looks up whether a registry's own name leads inside.
    """

    settings: Mapping[str, RegistrySettings]
    credentials: CredentialProvider
    providers: tuple[Provider, ...]
    environment: Mapping[str, str]
    clock: Clock
    events: EventSink
    jitter: random.Random
    transport: Callable[[RegistrySettings, bool], Transport] | None = None
    resolver: Resolver = system_resolver


class HttpGateway:
    """Opens repositories over HTTP."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Make a gateway; no registry is asked yet."""
        self.throttles = ThrottleBook()
        self._around = surroundings
        self._handles: dict[str, RegistryHandle] = {}
        self._apis: list[RegistryHttp] = []

    def reader(self, repository: Repository) -> RepositoryReader:
        """Return a reader of ``repository``, through the mirrors that are set for its registry."""
        origin = RegistryRepository(self.handle(repository.host), repository)
        mirrors = self.settings(repository.host).mirrors
        if not mirrors:
            return origin
        readers = [RegistryRepository(self.handle(host), Repository(host, repository.path)) for host in mirrors]
        return MirroredReader(origin, readers, self._around.events)

    def writer(self, repository: Repository) -> RepositoryWriter:
        """Return a writer of ``repository``."""
        return RegistryRepository(self.handle(repository.host), repository)

    async def repositories(self, host: str, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of a registry whose path begins with ``prefix``.

        Raises:
            UnsupportedError: the registry does not list them; the remedy says what to do instead.
        """
        handle = self.handle(host)
        if not handle.provider.abilities.repositories:
            raise UnsupportedError(
                f"the repositories of {host} cannot be listed", host=host, remedy=handle.provider.explain_catalog(host)
            )
        async for repository in handle.service.repositories(prefix):
            yield repository

    def settings(self, host: str) -> RegistrySettings:
        """Return the settings of a registry; one without an entry has the defaults."""
        return self._around.settings.get(host) or RegistrySettings(host=host)

    def handle(self, host: str) -> RegistryHandle:
        """Return the client of a registry, made on first use.

        Raises:
            UsageError: its provider or its proxy is not usable.
        """
        if host not in self._handles:
            self._handles[host] = self._connect(host)
        return self._handles[host]

    async def aclose(self) -> None:
        """Close all connections."""
        for http in (*(handle.http for handle in self._handles.values()), *self._apis):
            await http.aclose()
        self._handles.clear()
        self._apis.clear()

    def _connect(self, host: str) -> RegistryHandle:
        around, settings = self._around, self.settings(host)
        provider = choose_provider(host, settings.provider, around.providers)
        throttle = Throttle(
            clock=around.clock,
            concurrency=settings.concurrency or provider.limits.concurrency,
            requests_per_second=settings.requests_per_second or provider.limits.requests_per_second,
            bandwidth=settings.bandwidth,
        )
        self.throttles.add(host, throttle)

        async def credential() -> Credential | None:
            found = await around.credentials.credential(host)
            if settings.requests_per_second is None:
                throttle.set_pace(provider.limits.pace(anonymous=found is None))
            return found

        def missing() -> str:
            return around.credentials.missing(host)

        # The authorizer asks token services over the client that it authorises: each is built with the other's method.
        http: RegistryHttp
        authorizer = Authorizer(
            host=host,
            credential=credential,
            fetch=lambda **request: http.token(**request),  # noqa: PLW0108 - http is made below
            clock=around.clock,
            token_scopes=provider.token_scopes,
            drop_credential=lambda: around.credentials.forget(host),
            missing=missing,
            knock=lambda value: http.knock(value),  # noqa: PLW0108 - http is made below
        )
        doors = self._doors(host, settings, provider)
        metering = None
        if provider.abilities.metered or settings.quota_reserve:
            metering = self._meter(host, settings, credential)
        http = self._client(
            host,
            doors,
            throttle,
            authorizer,
            is_expired=provider.is_expired,
            metering=metering,
            missing=missing,
        )
        api = Api(
            host=host,
            http=http,
            settings=settings,
            listing=provider.listing,
            credential=credential,
            open=lambda base, authorization, *, direct=False, wants="", drop=None: self._open_api(
                replace(settings, proxy=None) if direct else settings,
                base,
                ApiAuthorizer(
                    authorization,
                    clock=around.clock,
                    credential=credential,
                    drop=drop or (lambda _refused: around.credentials.forget(host)),
                ),
                missing=lambda: missing() or wants,
            ),
            clock=around.clock,
            events=around.events,
            environment=around.environment,
        )
        return RegistryHandle(
            http=http,
            provider=provider,
            service=provider.service(api),
            bulk=BulkHabits(),
            uploads=UploadHabits.of(provider),
            referrers=ReferrersHabits(provider.abilities.referrers_api),
            events=around.events,
        )

    def _meter(
        self, host: str, settings: RegistrySettings, credential: Callable[[], Awaitable[Credential | None]]
    ) -> Metering:
        async def identity() -> str:
            found = await credential()
            return found.username or found.key if found is not None else ""

        return Metering(
            host=host,
            reserve=settings.quota_reserve,
            identity=identity,
            clock=self._around.clock,
            events=self._around.events,
        )

    def _open_api(
        self, settings: RegistrySettings, base: str, authorizer: ApiAuthorizer, *, missing: Callable[[], str]
    ) -> RegistryHttp:
        """Return a client of an API beside a registry: its own limits, the registry's certificates and proxy."""
        origin = Origin.parse(base)
        throttle = Throttle(clock=self._around.clock, concurrency=_API_CONCURRENCY)
        doors = self._guarded_doors(settings, RegistryTrust(origin=origin, plain_http=origin.scheme == "http"))
        http = self._client(
            origin.host, doors, throttle, authorizer, greets=False, missing=missing, registry=settings.host
        )
        self._apis.append(http)
        return http

    def _client(
        self,
        host: str,
        doors: Doors,
        throttle: Throttle,
        authorizer: RequestAuthorizer,
        *,
        greets: bool = True,
        is_expired: Callable[[RegistryError], bool] = lambda _error: False,
        metering: Metering | None = None,
        missing: Callable[[], str] = lambda: "",
        registry: str = "",
    ) -> RegistryHttp:
        around = self._around
        exchange = Exchange(
            host=host,
            doors=doors,
            throttle=throttle,
            breaker=Breaker(around.clock, around.jitter),
            authorizer=authorizer,
            clock=around.clock,
            events=around.events,
            missing=missing,
            registry=registry,
        )
        return RegistryHttp(
            host=host,
            exchange=exchange,
            throttle=throttle,
            budget=RetryBudget(),
            authorizer=authorizer,
            clock=around.clock,
            events=around.events,
            jitter=around.jitter,
            greets=greets,
            is_expired=is_expired,
            metering=metering,
        )

    def _doors(self, host: str, settings: RegistrySettings, provider: Provider) -> Doors:
        scheme = "http" if settings.plain_http else "https"
        origin = Origin.parse(f"{scheme}://{provider.endpoint(host)}")
        trust = RegistryTrust(
            origin=origin,
            plain_http=settings.plain_http,
            auth_hosts=frozenset((*settings.auth_hosts, *provider.auth_hosts(host))),
        )
        return self._guarded_doors(settings, trust)

    def _guarded_doors(self, settings: RegistrySettings, trust: RegistryTrust) -> Doors:
        return Doors(
            base=str(trust.origin),
            trust=trust,
            own=self._transport(settings, foreign=False, guarded=False),
            foreign=lambda guarded: self._transport(settings, foreign=True, guarded=guarded),
            resolver=self._around.resolver,
        )

    def _transport(self, settings: RegistrySettings, *, foreign: bool, guarded: bool) -> Transport:
        if self._around.transport is not None:
            return self._around.transport(settings, foreign)
        proxy = choose_proxy(settings.proxy, self._around.environment)
        context = shared_ssl_context(settings.tls, foreign=foreign)
        plain = AiohttpTransport(ssl_context=context, proxy=proxy)
        if not guarded:
            return plain
        direct = AiohttpTransport(
            ssl_context=context,
            socket_factory=guarded_socket_factory(allow_inside=False),
        )
        # Through a proxy it is the proxy that dials, and the proxy itself is inside more often than not.
        return SplitTransport(direct=direct, proxied=plain, proxy=proxy)
