"""Whole runs against the emulated Docker Hub: on one clock with it, and with what they cost counted on both sides."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from mirrord.app import Gateway
from mirrord.cli.planreport import PlanReport
from mirrord.oci.digest import Digest
from mirrord.planning.report import Problem, TrafficReport
from mirrord.planning.rule import Rule
from mirrord.ports.events import NullSink
from mirrord.ports.memory import Memory, NoMemory, ReadOnlyMemory
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.throttle import RegistrySlots
from mirrord.sync.context import Context
from mirrord.sync.estimating import forecast
from mirrord.sync.run import Run
from mirrord.sync.traffic import Traffic
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.window import Windows
from tests.fakes.clients import Client, credential_of
from tests.fakes.clock import FakeClock
from tests.fakes.images import Content
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.dockerhub import DOCKERHUB, HOST, NAMES_DOCKERHUB, HubApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import Pass, rule
from tests.fakes.stores import put

TARGET = "registry.example"


class SharedClock(FakeClock):
    """A clock that takes those of emulated registries along."""

    def __init__(self, *registries: FakeRegistry) -> None:
        super().__init__()
        self.registries = registries

    def advance(self, seconds: float) -> None:
        """Let time pass everywhere."""
        for registry in self.registries:
            registry.clock.advance(seconds)
        super().advance(seconds)


@dataclass(frozen=True)
class HubPass(Pass):
    """What one run said, what it cost by its own count, and the pulls that the registry counted."""

    counted: int

    @property
    def faults(self) -> list[Problem]:
        """Everything that went wrong, as often as it did."""
        found = [problem for report in self.reports for problem in report.problems]
        return found + [result.problem for result in self.results if result.problem is not None]


@dataclass(frozen=True)
class Scene:
    """Docker Hub, another registry without any quota, and one clock for all; ``memory`` is what processes remember."""

    internet: Internet
    hub: FakeRegistry
    other: FakeRegistry
    clock: SharedClock
    memory: Memory = field(default_factory=NoMemory)

    @property
    def api(self) -> HubApi:
        """The Hub API."""
        assert isinstance(self.hub.api, HubApi)
        return self.hub.api

    def add(self, path: str, content: Content, *tags: str, registry: FakeRegistry | None = None) -> Content:
        """Put content into Docker Hub, or into another registry."""
        return put(registry or self.hub, path, content, *tags)

    def rule(self, path: str, host: str = HOST, *, referrers: bool = True) -> Rule:
        """Return the rule that mirrors a repository to the other registry."""
        return rule(f"{host}/{path}", f"{TARGET}/mirror/{path}", name=path, referrers=referrers)

    def served(self, path: str) -> Mapping[str, Digest]:
        """Return what the target serves of a repository."""
        return self.other.store.tags(f"mirror/{path}")

    @asynccontextmanager
    async def client(self, *, reserve: int = 0, anonymous: bool = False) -> AsyncIterator[Client]:
        """Open a process's view of the net."""
        async with self.internet.client(
            HOST,
            credential=None if anonymous else credential_of(self.hub),
            settings=RegistrySettings(host=HOST, quota_reserve=reserve),
            clock=self.clock,
        ) as client:
            yield client

    async def sync(self, *rules: Rule, reserve: int = 0) -> HubPass:
        """Carry out rules, as a process of its own would."""
        before = pulls_of(self.hub)
        async with self.client(reserve=reserve) as client:
            run = Run(self.context(client), rules)
            await run.carry_out(executor(client, self.memory))
            reports = [rule.report() for rule in run.rules]
        return HubPass(reports, cost_of(client), pulls_of(self.hub) - before)

    async def plan(self, *rules: Rule, reserve: int = 0) -> PlanReport:
        """Say what carrying out rules would do, as a process of its own would."""
        async with self.client(reserve=reserve) as client:
            known = ReadOnlyMemory(self.memory) if self.memory.remembers else self.memory
            context = replace(self.context(client), memory=known)
            run = Run(context, rules)
            found = await forecast(context, run)
            rules_told = tuple(rule.report() for rule in run.rules)
            return PlanReport(rules=rules_told, forecast=found, traffic=cost_of(client))

    def context(self, client: Client) -> Context:
        """Return the outside world of one run."""
        gateway = client.gateway
        return Context(
            gateway=Gateway(gateway),
            slots=RegistrySlots(gateway.throttles),
            clock=client.clock,
            events=client.events,
            memory=self.memory,
        )


def pulls_of(hub: FakeRegistry) -> int:
    """Return how many pulls the registry let through in all, by its own count."""
    return hub.switches.pulled


def executor(client: Client, memory: Memory | None = None) -> Executor:
    """Return an executor for one run."""
    mover = BlobMover(
        slots=RegistrySlots(client.gateway.throttles),
        windows=Windows(),
        clock=client.clock,
        events=client.events,
        jitter=random.Random(3),
        memory=memory or NoMemory(),
    )
    return Executor(mover=mover, clock=client.clock)


def cost_of(client: Client) -> TrafficReport:
    """Return what a process cost, by its own events."""
    traffic = Traffic(NullSink())
    for event in client.events.events:
        traffic.emit(event)
    return traffic.report()


@asynccontextmanager
async def scene(
    profile: Profile = DOCKERHUB, *, pulls: int | None = 100, window_s: int = 21_600, memory: Memory | None = None
) -> AsyncIterator[Scene]:
    """Open a net with Docker Hub on it; ``pulls`` None: without any quota."""
    rate = replace(profile.rate, pulls=pulls, window_s=window_s)
    async with Internet() as internet:
        hub = await internet.join(replace(profile, rate=rate), NAMES_DOCKERHUB)
        other = await internet.join(DISTRIBUTION_V3, Names(registry=TARGET))
        yield Scene(internet=internet, hub=hub, other=other, clock=SharedClock(hub, other), memory=memory or NoMemory())


def codes(problems: Sequence[Problem]) -> list[str]:
    """Return the codes of problems."""
    return [problem.code for problem in problems]
