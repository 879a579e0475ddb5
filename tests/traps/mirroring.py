"""What the tests of single registries have in common: content in a store, whole runs over the net, deletions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mirrord.app import App, Network, open_app
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.reference import Repository
from mirrord.planning.pattern import PathPattern
from mirrord.planning.report import Outcome, RuleReport
from mirrord.planning.rule import RepositorySelector, Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import NullSink
from mirrord.ports.settings import EnvSecret, RegistrySettings, Secret
from mirrord.sync.run import Run
from tests.fakes.images import Content
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names
from tests.fakes.registry import FakeRegistry

PLAIN = "registry.example"
"""The other registry of a run: distribution, without passwords."""


@dataclass(frozen=True)
class Pass:
    """What one run said."""

    reports: list[RuleReport]

    def count(self, outcome: Outcome) -> int:
        return sum(report.count(outcome) for report in self.reports)

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, as it would be shown."""
        found = [str(problem) for report in self.reports for problem in report.problems]
        return found + [result.reason for report in self.reports for result in report.results if result.problem]


@dataclass(frozen=True)
class Secrets:
    """Passwords by the name under which settings know them."""

    by_name: dict[str, str] = field(default_factory=dict, repr=False)

    async def __call__(self, secret: Secret) -> str:
        assert isinstance(secret, EnvSecret)
        return self.by_name[secret.name]


async def join_plain(internet: Internet) -> FakeRegistry:
    """Put a registry that follows the specification on the net."""
    return await internet.join(DISTRIBUTION_V3, Names(registry=PLAIN))


def add(registry: FakeRegistry, path: str, content: Content, *tags: str) -> Content:
    """Put content into a registry's store."""
    for raw in content.blobs.values():
        registry.store.add_blob(path, raw)
    for manifest in content.graph().manifests:
        names = tags if manifest is content.root else ()
        registry.store.add_manifest(path, manifest.raw, manifest.descriptor.media_type, tags=names)
    return content


def is_whole(registry: FakeRegistry, path: str, digest: Digest) -> bool:
    """Say whether a manifest and everything below it is there, byte for byte."""
    stored = registry.store.manifest(path, digest)
    if stored is None or Digest.of(stored.raw) != digest:
        return False
    parsed = parse_manifest(stored.raw, media_type=stored.media_type)
    blobs = [(blob.digest, registry.store.blob(path, blob.digest)) for blob in parsed.blobs()]
    return all(raw is not None and Digest.of(raw) == name for name, raw in blobs) and all(
        is_whole(registry, path, child.digest) for child in parsed.children()
    )


def tag_of(registry: FakeRegistry, path: str, tag: str) -> Digest | None:
    """Return what a tag names in a store, if all of it is there."""
    digest = registry.store.tags(path).get(tag)
    return digest if digest is not None and is_whole(registry, path, digest) else None


@asynccontextmanager
async def process(
    internet: Internet, *registries: FakeRegistry, settings: Mapping[str, RegistrySettings] | None = None
) -> AsyncIterator[App]:
    """Open a process of mirrord on the net, with the credentials that ``registries`` accept.

    ``settings`` replace what is set for a registry otherwise.
    """
    known, secrets = dict(settings or {}), Secrets()
    for registry in registries:
        auth = registry.profile.auth
        secrets.by_name[registry.host] = auth.password
        known.setdefault(
            registry.host,
            RegistrySettings(host=registry.host, username=auth.user, password=EnvSecret(registry.host)),
        )
    async with open_app(
        settings=known,
        read_secret=secrets,
        environment={},
        events=NullSink(),
        network=Network(transport=internet.transport, resolver=internet.resolve),
    ) as app:
        yield app


async def mirror(app: App, source: str, target: str) -> Pass:
    """Mirror ``HOST/PATH``, or every repository that ``HOST/PATTERN`` takes, to a target."""
    host, _, path = source.partition("/")
    many = "*" in path
    rule = Rule(
        name=source,
        source=Source(
            location=None if many else Repository(host, path),
            repositories=RepositorySelector(host=host, pattern=PathPattern.parse(path)) if many else None,
        ),
        targets=(TargetTemplate.parse(target),),
    )
    run = Run(app.context, [rule])
    await run.carry_out(app.executor())
    return Pass([rule.report() for rule in run.rules])
