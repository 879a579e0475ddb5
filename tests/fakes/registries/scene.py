"""Things that every registry's tests need: images in a store, and whole runs over an emulated net."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mirrord.app import App, Network, open_app
from mirrord.oci.reference import Repository
from mirrord.planning.report import Outcome, RuleReport
from mirrord.planning.rule import Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import NullSink
from mirrord.ports.settings import EnvSecret, RegistrySettings, Secret
from mirrord.sync.run import Run
from tests.fakes.images import Content
from tests.fakes.internet import Internet
from tests.fakes.registry import FakeRegistry


def put(registry: FakeRegistry, path: str, content: Content, *tags: str) -> Content:
    """Put content into a repository of an emulated registry."""
    for raw in content.blobs.values():
        registry.store.add_blob(path, raw)
    for manifest in content.graph().manifests:
        names = tags if manifest is content.root else ()
        registry.store.add_manifest(path, manifest.raw, manifest.descriptor.media_type, tags=names)
    return content


@dataclass(frozen=True)
class Pass:
    """What one run said of one rule."""

    report: RuleReport

    def count(self, outcome: Outcome) -> int:
        """Return how many tags came to this end."""
        return self.report.count(outcome)

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, as it would be shown; each once."""
        found = [str(problem) for problem in self.report.problems]
        found += [str(result.problem) for result in self.report.results if result.problem]
        return list(dict.fromkeys(found))


async def mirror(
    internet: Internet, source: str, target: str, *, settings: Mapping[str, RegistrySettings] | None = None
) -> Pass:
    """Mirror a repository as a process of its own would, with passwords as `logged_in` sets them."""
    async with process(internet, settings=settings) as app:
        [report] = await carry_out(app, rule(source, target))
        return Pass(report)


@asynccontextmanager
async def process(
    internet: Internet,
    *,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, RegistrySettings] | None = None,
) -> AsyncIterator[App]:
    """Open what a process of mirrord works with; a password is the name of its variable."""
    network = Network(transport=internet.transport, resolver=internet.resolve)
    async with open_app(
        settings=settings or {},
        read_secret=_read_secret,
        environment=environment or {},
        events=NullSink(),
        network=network,
    ) as app:
        yield app


def rule(source: str, target: str) -> Rule:
    """Return the rule that mirrors one repository, ``host/path``, to another."""
    host, _, path = source.partition("/")
    return Rule(name=source, source=Source(location=Repository(host, path)), targets=(TargetTemplate.parse(target),))


async def carry_out(app: App, *rules: Rule) -> list[RuleReport]:
    """Carry out rules in one run."""
    run = Run(app.context, list(rules))
    await run.carry_out(app.executor())
    return [done.report() for done in run.rules]


def count(reports: Sequence[RuleReport], outcome: Outcome) -> int:
    """Return how many tags came to this end."""
    return sum(report.count(outcome) for report in reports)


def problems(reports: Sequence[RuleReport]) -> list[str]:
    """Return everything that went wrong, as it would be shown; each once."""
    return list(dict.fromkeys(problem for report in reports for problem in Pass(report).problems))


async def _read_secret(secret: Secret) -> str:
    assert isinstance(secret, EnvSecret)
    return secret.name


def logged_in(registry: FakeRegistry, host: str, **more: object) -> RegistrySettings:
    """Return the settings of a registry with the user that it accepts; its password stands where its name would."""
    auth = registry.profile.auth
    return RegistrySettings(host=host, username=auth.user, password=EnvSecret(auth.password), **more)  # type: ignore[arg-type] # named there
