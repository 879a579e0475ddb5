"""A plan for registries that make repositories by themselves or on request: it makes none, and foretells the run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mirrord.planning.report import BlobTally, Outcome
from mirrord.ports.settings import EnvSecret, RegistrySettings
from mirrord.sync.estimating import forecast
from mirrord.sync.run import Run
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.acr import ACR, NAMES_ACR
from tests.fakes.registries.gitlab import GITLAB, NAMES_GITLAB
from tests.fakes.registries.harbor import HARBOR, NAMES_HARBOR
from tests.fakes.registries.quay import NAMES_QUAY, QUAY
from tests.fakes.registries.zot import NAMES_ZOT, ZOT
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import process, rule
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

SOURCE = "source.test"
READS = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of registry, and the name by which the configuration calls it where its host does not tell."""

    profile: Profile
    names: Names
    provider: str | None = None
    creates: dict[str, object] | None = None

    def settings(self) -> RegistrySettings:
        auth = self.profile.auth
        return RegistrySettings(
            host=self.names.registry,
            provider=self.provider,
            username=auth.user,
            password=EnvSecret(auth.password),
            create_repositories=self.creates,
        )


TARGETS = {
    "acr": Target(ACR, NAMES_ACR),
    "gitlab": Target(GITLAB, NAMES_GITLAB),
    "harbor": Target(HARBOR, NAMES_HARBOR, "harbor", {}),
    "quay": Target(QUAY, NAMES_QUAY),
    "zot": Target(ZOT, NAMES_ZOT, "zot"),
}


def made(registry: FakeRegistry) -> set[str]:
    """Return all repositories and projects, empty ones too."""
    return {*registry.store.repositories(), *registry.switches.created, *registry.switches.projects()}


@pytest.mark.parametrize("kind", list(TARGETS))
async def test_plan_makes_nothing_and_says_what_the_run_does(kind: str) -> None:
    target = TARGETS[kind]
    host = target.names.registry
    image = make_image("app", layers=2)
    mirrored = rule(f"{SOURCE}/app", f"{host}/acme/app")
    async with Internet() as internet:
        source = await internet.join(DISTRIBUTION_V3, Names(registry=SOURCE))
        registry = await internet.join(target.profile, target.names)
        put(source, "app", image, "1.0", "latest")
        put(source, "app", make_index("multi"), "2.0")
        put(source, "app", make_artifact("sbom", subject=image.descriptor))
        async with process(internet, settings={host: target.settings()}) as app:
            planned = await forecast(app.context, Run(app.context, [mirrored]))
        asked = {record.method for record in registry.traffic.records if record.kind != "token"}
        after_plan = made(registry)
        async with process(internet, settings={host: target.settings()}) as app:
            run = Run(app.context, [mirrored])
            await run.carry_out(app.executor())
        reports = [run.rules[0].report()]
        registry.traffic.clear()
        async with process(internet, settings={host: target.settings()}) as app:
            again = await forecast(app.context, Run(app.context, [mirrored]))

    moved = sum((result.blobs for result in reports[0].results), BlobTally())
    assert (asked <= READS, after_plan) == (True, set())
    assert [*reports[0].problems, *(result.problem for result in reports[0].results if result.problem)] == []
    assert reports[0].count(Outcome.COPIED) == sum(len(change.tags) for change in planned.changes) == 3
    assert (moved.uploaded, moved.mounted, moved.existed) == (
        planned.total.upload,
        planned.total.mount,
        planned.total.existing,
    )
    assert (again.changes, again.warnings) == ((), ())
    assert set(registry.store.tags("acme/app")) >= {"1.0", "latest", "2.0"}
