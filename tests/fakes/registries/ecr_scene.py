"""Whole runs of mirrord between a plain registry and ECR, under their public names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from mirrord.planning.rule import Rule
from mirrord.ports.settings import RegistrySettings
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.ecr import ECR, HOST, NAMES_ECR, EcrControl, control_plane
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import Pass, carry_out, look, process, rule

PLAIN_HOST = "registry.plain.test"


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
    ) -> Pass:
        """Run mirrord once, as a process of its own would; with ``dry`` plan only."""
        by_host = {settings.host: settings} if settings is not None else {}
        async with process(self.internet, settings=by_host, environment=environment) as app:
            return await (look if dry else carry_out)(app, *rules)


@asynccontextmanager
async def open_scene(monkeypatch: pytest.MonkeyPatch, profile: Profile = ECR) -> AsyncIterator[Scene]:
    """Open both registries."""
    async with Internet() as internet:
        plain = await internet.join(DISTRIBUTION_V3, Names(registry=PLAIN_HOST))
        ecr = await internet.join(profile, NAMES_ECR)
        async with control_plane(ecr, monkeypatch) as control:
            yield Scene(internet=internet, plain=plain, ecr=ecr, control=control)


def to_ecr(path: str, *, target: str = "") -> Rule:
    """Return the rule that mirrors a repository of the plain registry to ECR."""
    return rule(f"{PLAIN_HOST}/{path}", f"{HOST}/{target or path}", name=f"{path} to {target or path}")
