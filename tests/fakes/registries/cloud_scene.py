"""Whole runs of mirrord to and from the registry of a cloud, with the process's environment as its identity."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

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


def hold(registry: FakeRegistry, path: str, content: Content, *tags: str) -> Content:
    """Put content into a repository, past all switches."""
    for raw in content.blobs.values():
        registry.store.add_blob(path, raw)
    for manifest in content.graph().manifests:
        names = tags if manifest is content.root else ()
        registry.store.add_manifest(path, manifest.raw, manifest.descriptor.media_type, tags=names)
    return content


async def _secret(secret: Secret) -> str:
    assert isinstance(secret, EnvSecret)
    return secret.name


@asynccontextmanager
async def process(
    internet: Internet,
    *,
    environment: Mapping[str, str],
    settings: Mapping[str, RegistrySettings] | None = None,
) -> AsyncIterator[App]:
    """Open what a process of mirrord works with; a password is the name of its variable."""
    network = Network(transport=internet.transport, resolver=internet.resolve)
    async with open_app(
        settings=settings or {}, read_secret=_secret, environment=environment, events=NullSink(), network=network
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


def count(reports: list[RuleReport], outcome: Outcome) -> int:
    """Return how many tags came to this end."""
    return sum(report.count(outcome) for report in reports)


def problems(reports: list[RuleReport]) -> list[str]:
    """Return everything that went wrong, as it would be shown; each once."""
    found = [str(problem) for report in reports for problem in report.problems]
    found += [str(result.problem) for report in reports for result in report.results if result.problem]
    return list(dict.fromkeys(found))
