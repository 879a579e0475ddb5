"""Whole runs of mirrord between a plain registry and ECR, under their public names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from mirrord.app import Network, open_app
from mirrord.oci.reference import Repository
from mirrord.planning.report import Outcome, RuleReport
from mirrord.planning.rule import Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import NullSink
from mirrord.ports.settings import RegistrySettings, Secret
from mirrord.sync.run import Run
from tests.fakes.images import Content
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.ecr import ECR, HOST, NAMES_ECR, EcrControl, control_plane
from tests.fakes.registry import FakeRegistry

PLAIN_HOST = "registry.plain.test"


async def _no_secret(secret: Secret) -> str:
    raise AssertionError(secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A plain registry, an ECR with its API, and the net between them."""

    internet: Internet
    plain: FakeRegistry
    ecr: FakeRegistry
    control: EcrControl

    async def sync(
        self,
        rules: Sequence[Rule],
        *,
        settings: RegistrySettings | None = None,
        dry: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> list[RuleReport]:
        """Run mirrord once, as a process of its own would; with ``dry`` plan only."""
        by_host = {settings.host: settings} if settings is not None else {}
        network = Network(transport=self.internet.transport, resolver=self.internet.resolve)
        async with open_app(
            settings=by_host,
            read_secret=_no_secret,
            environment=environment or {},
            events=NullSink(),
            network=network,
        ) as app:
            run = Run(app.context, list(rules))
            await (run.look() if dry else run.carry_out(app.executor()))
            return [rule.report() for rule in run.rules]


@asynccontextmanager
async def open_scene(monkeypatch: pytest.MonkeyPatch, profile: Profile = ECR) -> AsyncIterator[Scene]:
    """Open both registries."""
    async with Internet() as internet:
        plain = await internet.join(DISTRIBUTION_V3, Names(registry=PLAIN_HOST))
        ecr = await internet.join(profile, NAMES_ECR)
        async with control_plane(ecr, monkeypatch) as control:
            yield Scene(internet=internet, plain=plain, ecr=ecr, control=control)


def add(registry: FakeRegistry, path: str, content: Content, *tags: str) -> Content:
    """Put content into a repository, past all switches."""
    for raw in content.blobs.values():
        registry.store.add_blob(path, raw)
    for manifest in content.graph().manifests:
        names = tags if manifest is content.root else ()
        registry.store.add_manifest(path, manifest.raw, manifest.descriptor.media_type, tags=names)
    return content


def rule(source: str, *targets: str, name: str = "") -> Rule:
    """Return the rule that mirrors one repository, ``host/path`` each, to others."""
    host, _, path = source.partition("/")
    return Rule(
        name=name or source,
        source=Source(location=Repository(host, path)),
        targets=tuple(TargetTemplate.parse(target) for target in targets),
    )


def to_ecr(path: str, *, target: str = "") -> Rule:
    """Return the rule that mirrors a repository of the plain registry to ECR."""
    return rule(f"{PLAIN_HOST}/{path}", f"{HOST}/{target or path}", name=f"{path} to {target or path}")


def outcomes(reports: Sequence[RuleReport]) -> dict[str, Outcome]:
    """Return what became of each source tag."""
    return {str(source): result.outcome for report in reports for result in report.results for source, _ in result.tags}


def problems(reports: Sequence[RuleReport]) -> list[str]:
    """Return everything that went wrong, as it would be shown."""
    found = [str(problem) for report in reports for problem in report.problems]
    return found + [result.reason for report in reports for result in report.results if result.problem]
