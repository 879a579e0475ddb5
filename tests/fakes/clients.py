"""Clients under test: a gateway over an emulated registry, or over routes in memory, with everything noted.

async with FakeRegistry(BEARER) as registry, open_client(registry) as client:
    await client.reader("team/app").head(Tag("1.0"))
    assert client.slept == []
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mirrord.oci.reference import Repository
from mirrord.planning.listing import TagPage
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.events import Event, EventSink, Noted, RequestDone, RequestRetried
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.gateway import HttpGateway, Surroundings
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.catalog import known_providers
from mirrord.registry.transport import Transport
from tests.fakes.clock import FakeClock
from tests.fakes.registry import FakeRegistry

REPOSITORY = "team/app"
PUBLIC = ("93.184.215.14",)


@dataclass(slots=True)
class Recorder(EventSink):
    """Keeps all events."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        """Keep the event."""
        self.events.append(event)

    def notes(self) -> list[str]:
        """Return the keys of what was noted."""
        return [event.what for event in self.events if isinstance(event, Noted)]

    def retries(self) -> list[str]:
        """Return the reasons of the retries."""
        return [event.reason for event in self.events if isinstance(event, RequestRetried)]

    def done(self) -> list[RequestDone]:
        """Return the exchanges that ended."""
        return [event for event in self.events if isinstance(event, RequestDone)]


@dataclass(slots=True)
class FixedCredentials(CredentialProvider):
    """Credentials by host, as the test sets them; ``asked`` counts."""

    by_host: dict[str, Credential] = field(default_factory=dict)
    asked: int = 0

    async def credential(self, host: str) -> Credential | None:
        """Return what was set for ``host``."""
        self.asked += 1
        return self.by_host.get(host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A gateway with its surroundings. ``host`` is the registry of the short forms below."""

    host: str
    gateway: HttpGateway
    clock: FakeClock
    events: Recorder
    credentials: FixedCredentials

    @property
    def http(self) -> RegistryHttp:
        """The client of the registry itself."""
        return self.gateway.handle(self.host).http

    @property
    def slept(self) -> list[float]:
        """The seconds of all waits."""
        return self.clock.slept

    def reader(self, path: str = REPOSITORY) -> RepositoryReader:
        """Return a reader of a repository."""
        return self.gateway.reader(Repository(self.host, path))

    def writer(self, path: str = REPOSITORY) -> RepositoryWriter:
        """Return a writer of a repository."""
        return self.gateway.writer(Repository(self.host, path))

    async def tags(self, path: str = REPOSITORY) -> list[str]:
        """Return the tags of a repository in the order in which they came."""
        return [entry.tag.name for page in await self.pages(path) for entry in page.entries]

    async def pages(self, path: str = REPOSITORY) -> list[TagPage]:
        """Return the pages of a tag listing."""
        return [page async for page in self.reader(path).list_tags()]

    async def repositories(self, prefix: str = "") -> list[str]:
        """Return the paths of the catalog."""
        return [found.path async for found in self.gateway.repositories(self.host, prefix)]


@asynccontextmanager
async def open_client(
    registry: FakeRegistry | str,
    *,
    credential: Credential | None = None,
    anonymous: bool = False,
    settings: RegistrySettings | None = None,
    others: Mapping[str, RegistrySettings] | None = None,
    transport: Callable[[RegistrySettings, bool], Transport] | None = None,
    providers: tuple[Provider, ...] | None = None,
    environment: Mapping[str, str] | None = None,
    addresses: Sequence[str] = PUBLIC,
    clock: FakeClock | None = None,
    source: CredentialProvider | None = None,
) -> AsyncIterator[Client]:
    """Open a client of an emulated registry, or of a host's name where a transport answers.

    For an emulated registry settings and credential default to what it wants: plain HTTP, its token service among
    the hosts that may see the credential, its user. ``addresses`` are those of any host's name.
    ``source`` stands in for all of that: credentials come from there.
    """
    host = registry if isinstance(registry, str) else registry.host
    if isinstance(registry, FakeRegistry):
        settings = settings or settings_of(registry)
        if credential is None and not anonymous and registry.profile.auth.scheme != "none":
            credential = credential_of(registry)

    async def resolve(host: str) -> list[str]:
        return list(addresses)

    clock = clock or FakeClock()
    events = Recorder()
    credentials = FixedCredentials({host: credential} if credential is not None else {})
    gateway = HttpGateway(
        Surroundings(
            settings={**({host: settings} if settings is not None else {}), **(others or {})},
            credentials=source or credentials,
            providers=providers if providers is not None else known_providers(),
            environment=environment or {},
            clock=clock,
            events=events,
            jitter=random.Random(7),
            transport=transport,
            resolver=resolve,
        )
    )
    try:
        yield Client(host=host, gateway=gateway, clock=clock, events=events, credentials=credentials)
    finally:
        await gateway.aclose()


def settings_of(
    registry: FakeRegistry,
    *,
    concurrency: int | None = None,
    requests_per_second: float | None = None,
    bandwidth: int | None = None,
    mirrors: tuple[str, ...] = (),
    proxy: str | None = None,
    auth_hosts: tuple[str, ...] | None = None,
) -> RegistrySettings:
    """Return settings that fit an emulated registry."""
    tokens = (registry.token_host,) if registry.token_host else ()
    return RegistrySettings(
        host=registry.host,
        plain_http=registry.scheme == "http",
        auth_hosts=tokens if auth_hosts is None else auth_hosts,
        concurrency=concurrency,
        requests_per_second=requests_per_second,
        bandwidth=bandwidth,
        mirrors=mirrors,
        proxy=proxy,
    )


def credential_of(registry: FakeRegistry) -> Credential:
    """Return the credential that an emulated registry accepts."""
    return Credential(username=registry.profile.auth.user, secret=registry.profile.auth.password)
