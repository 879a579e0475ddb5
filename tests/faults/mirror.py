"""A source and its targets on sockets, and whole runs of mirrord between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mirrord.oci.digest import Digest
from mirrord.planning.rule import Rule
from mirrord.ports.settings import RegistrySettings
from tests.fakes.images import Content
from tests.fakes.profiles import Profile
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import Pass, carry_out, process, rule
from tests.fakes.stores import is_whole, put


class OpenMirror(Protocol):
    """Opens a source and targets, each of its profile."""

    async def __call__(self, source: Profile, *targets: Profile) -> Mirror: ...


@dataclass(frozen=True)
class Mirror:
    """Emulated registries. Every source repository goes to the same path below ``mirror/`` on each target."""

    source: FakeRegistry
    targets: list[FakeRegistry]

    def add(self, path: str, content: Content, *tags: str) -> Content:
        """Put content into a repository of the source."""
        return put(self.source, path, content, *tags)

    def rule(self, path: str) -> Rule:
        """Return the rule that mirrors a repository to all targets."""
        return rule(f"{self.source.host}/{path}", *(f"{each.host}/mirror/{path}" for each in self.targets), name=path)

    async def sync(self, *paths: str, concurrency: int | None = None) -> Pass:
        """Mirror repositories, as a process of its own would; counts requests anew."""
        registries = [self.source, *self.targets]
        for registry in registries:
            registry.traffic.clear()
        settings: Mapping[str, RegistrySettings] = {
            registry.host: RegistrySettings(host=registry.host, plain_http=True, concurrency=concurrency)
            for registry in registries
        }
        async with process(None, settings=settings) as app:
            return await carry_out(app, *(self.rule(path) for path in paths))

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
