"""What commands and the service work with, built for one configuration."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mirrord.layout import LayoutReader, LayoutWriter
from mirrord.oci.reference import LayoutDirectory, Location, Repository
from mirrord.planning.report import TrafficReport
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import CredentialProvider
from mirrord.ports.events import EventSink
from mirrord.ports.memory import Memory, NoMemory
from mirrord.ports.registry import RegistryGateway, RepositoryReader, RepositoryWriter, Slots
from mirrord.ports.settings import RegistrySettings, SecretReader
from mirrord.registry.credentials import (
    CredentialChain,
    DockerConfigCredentials,
    ExplicitCredentials,
    NativeCredentials,
)
from mirrord.registry.doors import Resolver, system_resolver
from mirrord.registry.gateway import HttpGateway, Surroundings
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.throttle import RegistrySlots
from mirrord.registry.transport import Transport
from mirrord.sync.context import Context
from mirrord.sync.engine import Engine
from mirrord.sync.traffic import Traffic
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.window import Windows

if TYPE_CHECKING:  # runs without a state need none of what it tells
    from mirrord.ports.history import History


class SystemClock(Clock):
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the moment, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


class Gateway(RegistryGateway):
    """Opens registries over HTTP and image layout directories on disk."""

    def __init__(self, registries: HttpGateway) -> None:
        """Send what is a repository to ``registries``; directories are opened here."""
        self._registries = registries

    def reader(self, location: Location) -> RepositoryReader:
        """Return a reader of ``location``."""
        if isinstance(location, LayoutDirectory):
            return LayoutReader(location)
        return self._registries.reader(location)

    def writer(self, location: Location) -> RepositoryWriter:
        """Return a writer of ``location``."""
        if isinstance(location, LayoutDirectory):
            return LayoutWriter(location)
        return self._registries.writer(location)

    def repositories(self, host: str, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of a registry."""
        return self._registries.repositories(host, prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What commands work with. ``context`` is for one run; ``executor()`` makes the other half of a run.

    ``history`` is where runs are written down; None: nowhere.
    """

    context: Context
    registries: HttpGateway
    traffic: Traffic
    slots: Slots
    credentials: CredentialProvider
    history: History | None = None
    windows: Windows = field(default_factory=Windows)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def executor(self) -> Executor:
        """Return an executor for one run."""
        context = self.context
        mover = BlobMover(
            slots=self.slots,
            windows=self.windows,
            clock=context.clock,
            events=context.events,
            jitter=random.Random(),  # noqa: S311 - spreads retries, guards no secret
            numbers=self.numbers,
            memory=context.memory,
        )
        return Executor(mover=mover, clock=context.clock)

    def engine(self) -> Engine:
        """Return what the service carries out run after run with."""
        context = self.context
        return Engine(
            gateway=context.gateway,
            slots=self.slots,
            clock=context.clock,
            events=context.events,
            memory=context.memory,
            make_executor=self.executor,
            ask_anew=self._ask_anew,
        )

    def _ask_anew(self, hosts: Collection[str]) -> None:
        for host in hosts:
            self.credentials.forget(host)
            self.registries.handle(host).http.forget_failure()

    def cost(self) -> TrafficReport:
        """Return what the run cost so far."""
        return self.traffic.report()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How registries are reached. ``transport`` None: over the real network; see `Surroundings`."""

    transport: Callable[[RegistrySettings, bool], Transport] | None = None
    resolver: Resolver = system_resolver


@asynccontextmanager
async def open_app(
    *,
    settings: Mapping[str, RegistrySettings],
    read_secret: SecretReader,
    environment: Mapping[str, str],
    events: EventSink,
    network: Network = Network(),
    memory: Memory | None = None,
    history: History | None = None,
    numbers: Iterator[int] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[App]:
    """Build the objects of a process, and close all connections at the end.

    Args:
        settings: what is set for each registry, by host.
        read_secret: fetches the secrets that the settings name.
        environment: the process's environment: proxies, and the places of docker's files.
        events: who listens.
        network: how registries are reached.
        memory: what runs remember; None: nothing, from one run to the next.
        history: where runs are written down; None: nowhere.
        numbers: tell transfers apart; given where several applications follow each other in one process.
        clock: tells the time and waits; None: the machine's.
    """
    clock = clock or SystemClock()
    traffic = Traffic(events)
    explicit = [ExplicitCredentials(registry, read_secret) for registry in settings.values()]
    home = Path(environment.get("HOME") or Path("/nonexistent"))
    providers = known_providers()

    def native(host: str) -> CredentialProvider | None:
        registry = settings.get(host) or RegistrySettings(host=host)
        provider = choose_provider(host, registry.provider, providers)
        source = provider.credentials(host, registry, environment, clock)
        return source or registries.handle(host).service.credentials()

    credentials = CredentialChain(
        [*explicit, NativeCredentials(native), DockerConfigCredentials(environment, home)], clock
    )
    registries = HttpGateway(
        Surroundings(
            settings=settings,
            credentials=credentials,
            providers=providers,
            environment=environment,
            clock=clock,
            events=traffic,
            jitter=random.Random(),  # noqa: S311 - spreads retries, guards no secret
            transport=network.transport,
            resolver=network.resolver,
        )
    )
    slots = RegistrySlots(registries.throttles)
    try:
        yield App(
            context=Context(
                gateway=Gateway(registries),
                slots=slots,
                clock=clock,
                events=traffic,
                memory=memory if memory is not None else NoMemory(),
            ),
            registries=registries,
            traffic=traffic,
            slots=slots,
            credentials=credentials,
            history=history,
            numbers=numbers if numbers is not None else itertools.count(1),
        )
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            await registries.aclose()
