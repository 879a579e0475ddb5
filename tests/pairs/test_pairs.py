"""Each ordered pair of registries mirrors all kinds of content completely, and writes nothing when asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from mirrord.planning.estimate import Estimate
from mirrord.planning.report import BlobTally, Outcome
from mirrord.planning.rule import Rule
from mirrord.ports.settings import EnvSecret, RegistrySettings, TlsSettings
from mirrord.sync.estimating import Forecast, forecast
from mirrord.sync.run import Run
from tests.fakes.internet import Internet
from tests.fakes.profiles import Names, Profile
from tests.fakes.registries.dockerhub import DOCKERHUB, NAMES_DOCKERHUB
from tests.fakes.registries.ecr import ECR, NAMES_ECR, control_plane
from tests.fakes.registries.ecr import HOST as ECR_HOST
from tests.fakes.registries.ghcr import GHCR, NAMES_GHCR
from tests.fakes.registries.google import GOOGLE, NAMES_GOOGLE, GoogleApi
from tests.fakes.runs import Pass, logged_in, mirror, process, rule
from tests.integration.conftest import StartFront, StartRegistry
from tests.integration.servers import Credentials
from tests.pairs.content import make_shelf
from tests.pairs.sides import Emulated, Real, Side

pytestmark = pytest.mark.anyio

EMULATED: dict[str, tuple[str, Profile, Names]] = {
    "dockerhub": ("docker.io", DOCKERHUB, NAMES_DOCKERHUB),
    "ecr": (ECR_HOST, ECR, NAMES_ECR),
    "ghcr": ("ghcr.io", GHCR, NAMES_GHCR),
    "google": (NAMES_GOOGLE.registry, GOOGLE, NAMES_GOOGLE),
}
NGINX = "nginx"
KINDS = (*EMULATED, NGINX)
# Two parts, as Docker Hub wants it; Google's have three. The source and the target may be one registry.
PATHS = {"google": ("acme-prod/images/app", "acme-prod/mirror/app")}
PASSWORD = Credentials("mirror", "correct horse: battery")


@dataclass(frozen=True, slots=True)
class Bench:
    """What sides are made of."""

    internet: Internet
    monkeypatch: pytest.MonkeyPatch
    request: pytest.FixtureRequest

    @asynccontextmanager
    async def sides(self, source: str, target: str) -> AsyncIterator[tuple[Side, Side]]:
        """Open both sides; one registry where they are of one kind."""
        async with AsyncExitStack() as stack:
            opened = {kind: await self._open(kind, stack) for kind in dict.fromkeys((source, target))}
            yield opened[source], opened[target]

    async def _open(self, kind: str, stack: AsyncExitStack) -> Side:
        if kind == NGINX:
            return self._nginx()
        host, profile, names = EMULATED[kind]
        registry = await self.internet.join(profile, names)
        if kind == "ecr":  # its credential comes from AWS, and so do its repositories
            await stack.enter_async_context(control_plane(registry, self.monkeypatch))
            return Emulated(registry, host, RegistrySettings(host=host))
        if isinstance(registry.api, GoogleApi):  # where somebody has to make repositories beforehand
            registry.api.made |= {"acme-prod/images", "acme-prod/mirror"}
        return Emulated(registry, host, logged_in(registry, host))

    def _nginx(self) -> Real:
        start: StartRegistry = self.request.getfixturevalue("start_registry")
        start_front: StartFront = self.request.getfixturevalue("start_tls_front")
        backend = start()
        front = start_front(backend, credentials=PASSWORD)
        settings = RegistrySettings(
            host=front.address,
            username=PASSWORD.username,
            password=EnvSecret(PASSWORD.password),
            tls=TlsSettings(ca_file=str(front.ca_file)),
        )
        return Real(front, backend, settings)


def pairs() -> Iterator[object]:
    """Yield all ordered pairs; those with a real registry start processes."""
    for source in KINDS:
        for target in KINDS:
            marks = [pytest.mark.integration] if NGINX in (source, target) else []
            yield pytest.param(source, target, id=f"{source}-to-{target}", marks=marks)


async def plan(internet: Internet, what: Rule, settings: Mapping[str, RegistrySettings]) -> Forecast:
    """Say what a run would do, as a process of its own would."""
    async with process(internet, settings=settings) as app:
        run = Run(app.context, [what])
        found = await forecast(app.context, run)
        assert said(Pass([run.rules[0].report()], app.cost())) == []
        return found


def foretold(planned: Forecast) -> set[tuple[str, str]]:
    """Return the tags that a plan would write, with what they would serve."""
    return {(str(tag.target_tag), str(change.wanted)) for change in planned.changes for tag in change.tags}


def carried_out(done: Pass) -> set[tuple[str, str]]:
    """Return the tags that a run wrote, with what they serve."""
    copied = [result for result in done.results if result.outcome is Outcome.COPIED]
    return {(str(target), str(result.served)) for result in copied for _, target in result.tags}


def tally(estimate: Estimate, source_kind: str, target_kind: str) -> BlobTally:
    """Return the blobs of an estimate as a run counts them."""
    if source_kind == target_kind == "ecr":  # mounts are an account's choice there, and off in this one
        return BlobTally(existed=estimate.existing, uploaded=estimate.mount)
    return BlobTally(existed=estimate.existing, mounted=estimate.mount, uploaded=estimate.upload)


def moved(done: Pass) -> BlobTally:
    """Return the blobs of all images of a run."""
    return sum((result.blobs for result in done.results), BlobTally())


def said(done: Pass) -> list[str]:
    """Return what went wrong, as it would be shown."""
    return done.problems + [warning for report in done.reports for warning in report.warnings]


@pytest.mark.parametrize(("source_kind", "target_kind"), list(pairs()))
async def test_pair_mirrors_everything_and_then_writes_nothing(
    source_kind: str, target_kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A multi-arch image, a single-arch one, a Helm chart, and a signed image with an SBOM.

    What a plan says before is what the run does, and the plan itself changes nothing.
    """
    shelf = make_shelf()
    async with Internet() as internet:
        bench = Bench(internet, monkeypatch, request)
        async with bench.sides(source_kind, target_kind) as (source, target):
            path = PATHS.get(source_kind, ("acme/app", ""))[0]
            target_path = PATHS.get(target_kind, ("", "acme/mirror"))[1]
            source.fill(path, shelf)
            settings = {side.host: side.settings for side in (source, target)}
            places = f"{source.host}/{path}", f"{target.host}/{target_path}"

            there = source.repositories(), target.repositories()
            source.forget()
            pulls = [source.pulls()]
            planned = await plan(internet, rule(*places), settings)
            written_by_plan = [*source.writes(), *target.writes()]
            assert (source.repositories(), target.repositories()) == there
            pulls.append(source.pulls())
            first = await mirror(internet, *places, settings=settings)
            pulls.append(source.pulls())
            lacking = target.lacks(target_path, shelf)
            target.forget()
            second = await mirror(internet, *places, settings=settings)
            written = target.writes()
            nothing = await plan(internet, rule(*places), settings)

    assert written_by_plan == []
    assert foretold(planned) == carried_out(first)
    assert tally(planned.total, source_kind, target_kind) == moved(first)
    assert pulls[2] - pulls[1] == pulls[1] - pulls[0], "a plan spends what it says that the run will need"
    assert (nothing.changes, nothing.warnings) == ((), ())
    assert said(first) == []
    assert first.count(Outcome.COPIED) == 4
    assert lacking == []
    assert said(second) == []
    assert second.count(Outcome.IN_SYNC) == 4
    assert written == []
