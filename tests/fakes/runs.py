"""Whole runs of mirrord between emulated registries, each as a process of its own would carry it out.

async with process(internet, settings={"docker.io": logged_in(hub, "docker.io")}) as app:
    done = await carry_out(app, rule("docker.io/library/app", "registry.example/mirror/app"))
assert (done.problems, done.count(Outcome.COPIED)) == ([], 1)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mirrord.app import App, Network, open_app
from mirrord.oci.reference import Repository
from mirrord.planning.pattern import PathPattern
from mirrord.planning.report import Outcome, RuleReport, TrafficReport, UnitResult
from mirrord.planning.rule import Referrers, RepositorySelector, Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, NullSink
from mirrord.ports.memory import Memory
from mirrord.ports.settings import EnvSecret, RegistrySettings, Secret
from mirrord.sync.run import Run
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names
from tests.fakes.registry import FakeRegistry

PLAIN = "registry.example"
"""The other registry of a run: distribution, without passwords."""


@dataclass(frozen=True)
class Pass:
    """What one run said, and what it cost by its own count."""

    reports: Sequence[RuleReport]
    traffic: TrafficReport

    @property
    def results(self) -> list[UnitResult]:
        """How each image ended."""
        return [result for report in self.reports for result in report.results]

    def count(self, outcome: Outcome) -> int:
        """Return how many tags came to this end."""
        return sum(report.count(outcome) for report in self.reports)

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, as it would be shown; each once."""
        found = [str(problem) for report in self.reports for problem in report.problems]
        found += [str(result.problem) for result in self.results if result.problem]
        return list(dict.fromkeys(found))

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """What became of each source tag."""
        return {str(source): result.outcome for result in self.results for source, _ in result.tags}


async def join_plain(internet: Internet) -> FakeRegistry:
    """Put a registry that follows the specification on the net."""
    return await internet.join(DISTRIBUTION_V3, Names(registry=PLAIN))


@asynccontextmanager
async def process(
    internet: Internet | None,
    *logged: FakeRegistry,
    settings: Mapping[str, RegistrySettings] | None = None,
    environment: Mapping[str, str] | None = None,
    events: EventSink | None = None,
    passwords: Mapping[str, str] | None = None,
    memory: Memory | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[App]:
    """Open what a process of mirrord works with.

    ``settings`` replace what is set otherwise for the registries that it is ``logged`` in to. Without a net registries
    are reached by their addresses. ``passwords`` are those behind variables; of others the name is the password.
    With a ``memory`` it remembers. The ``clock`` is the machine's unless another is given.
    """

    async def read_secret(secret: Secret) -> str:
        assert isinstance(secret, EnvSecret)
        return (passwords or {}).get(secret.name, secret.name)

    known = {registry.host: logged_in(registry, registry.host) for registry in logged}
    async with open_app(
        settings={**known, **(settings or {})},
        read_secret=read_secret,
        environment=environment or {},
        events=events or NullSink(),
        network=Network() if internet is None else Network(transport=internet.transport, resolver=internet.resolve),
        memory=memory,
        clock=clock,
    ) as app:
        yield app


def logged_in(registry: FakeRegistry, host: str, **more: object) -> RegistrySettings:
    """Return the settings of a registry with the user that it accepts; its password stands where its name would."""
    auth = registry.profile.auth
    return RegistrySettings(host=host, username=auth.user, password=EnvSecret(auth.password), **more)  # type: ignore[arg-type] # named there


def rule(source: str, *targets: str, name: str = "", referrers: bool = True) -> Rule:
    """Return the rule that mirrors ``HOST/PATH``, or every repository that ``HOST/PATTERN`` takes, to targets."""
    host, _, path = source.partition("/")
    many = "*" in path
    return Rule(
        name=name or source,
        source=Source(
            location=None if many else Repository(host, path),
            repositories=RepositorySelector(host=host, pattern=PathPattern.parse(path)) if many else None,
        ),
        targets=tuple(TargetTemplate.parse(target) for target in targets),
        referrers=Referrers(enabled=referrers),
    )


async def carry_out(app: App, *rules: Rule) -> Pass:
    """Carry out rules in one run."""
    run = Run(app.context, list(rules))
    await run.carry_out(app.executor())
    return Pass([done.report() for done in run.rules], app.cost())


async def look(app: App, *rules: Rule) -> Pass:
    """Find out what rules would do, and change nothing."""
    run = Run(app.context, list(rules))
    await run.look()
    return Pass([done.report() for done in run.rules], app.cost())


async def mirror(
    internet: Internet, source: str, target: str, *, settings: Mapping[str, RegistrySettings] | None = None
) -> Pass:
    """Mirror ``HOST/PATH`` to a target, in a process of its own."""
    async with process(internet, settings=settings) as app:
        return await carry_out(app, rule(source, target))
