"""A source and its targets on sockets, and whole runs of mirrord between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mirrord.app import open_app
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.reference import Repository
from mirrord.planning.report import Outcome, RuleReport, TrafficReport
from mirrord.planning.rule import Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import NullSink
from mirrord.ports.settings import RegistrySettings, Secret
from mirrord.sync.run import Run
from tests.fakes.images import Content
from tests.fakes.profiles import Profile
from tests.fakes.registry import FakeRegistry


class OpenMirror(Protocol):
    """Opens a source and targets, each of its profile."""

    async def __call__(self, source: Profile, *targets: Profile) -> Mirror: ...


async def no_secret(secret: Secret) -> str:
    """There are none here."""
    raise AssertionError(secret)


@dataclass(frozen=True)
class Pass:
    """What one run said."""

    reports: list[RuleReport]
    traffic: TrafficReport

    def count(self, outcome: Outcome) -> int:
        return sum(report.count(outcome) for report in self.reports)

    @property
    def problems(self) -> list[str]:
        """Everything that went wrong, as it would be shown."""
        found = [str(problem) for report in self.reports for problem in report.problems]
        return found + [result.reason for report in self.reports for result in report.results if result.problem]


@dataclass(frozen=True)
class Mirror:
    """Emulated registries. Every source repository goes to the same path below ``mirror/`` on each target."""

    source: FakeRegistry
    targets: list[FakeRegistry]

    def add(self, path: str, content: Content, *tags: str) -> Content:
        """Put content into a repository of the source."""
        for raw in content.blobs.values():
            self.source.store.add_blob(path, raw)
        for manifest in content.graph().manifests:
            names = tags if manifest is content.root else ()
            self.source.store.add_manifest(path, manifest.raw, manifest.descriptor.media_type, tags=names)
        return content

    def rule(self, path: str) -> Rule:
        """Return the rule that mirrors a repository to all targets."""
        return Rule(
            name=path,
            source=Source(location=Repository(self.source.host, path)),
            targets=tuple(TargetTemplate.parse(f"{target.host}/mirror/{path}") for target in self.targets),
        )

    async def sync(self, *paths: str, concurrency: int | None = None) -> Pass:
        """Mirror repositories, as a process of its own would; counts requests anew."""
        registries = [self.source, *self.targets]
        for registry in registries:
            registry.traffic.clear()
        settings: Mapping[str, RegistrySettings] = {
            registry.host: RegistrySettings(host=registry.host, plain_http=True, concurrency=concurrency)
            for registry in registries
        }
        async with open_app(settings=settings, read_secret=no_secret, environment={}, events=NullSink()) as app:
            run = Run(app.context, [self.rule(path) for path in paths])
            await run.carry_out(app.executor())
            return Pass([rule.report() for rule in run.rules], app.cost())

    def asked(self, kind: str) -> int:
        """Return how many requests of a class the source answered."""
        return self.source.traffic.counts[kind]

    def broken_tags(self) -> list[str]:
        """Return the tags of all targets that point to incomplete content."""
        return [
            f"{target.host}/{path}:{tag}"
            for target in self.targets
            for path in target.store.repositories()
            for tag, digest in target.store.tags(path).items()
            if not is_whole(target, path, digest)
        ]

    def serves(self, path: str, tag: str) -> list[Digest | None]:
        """Return what each target serves."""
        return [target.store.tags(f"mirror/{path}").get(tag) for target in self.targets]


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
