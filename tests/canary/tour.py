"""All that mirrord does at a registry, in one go; what it says on the way is kept."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from mirrord.app import App
from mirrord.cli.accesstext import access_json, access_lines
from mirrord.cli.failures import traceback_text
from mirrord.cli.runjson import run_json
from mirrord.cli.runreport import run_lines
from mirrord.errors import MirrordError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome, RunReport
from mirrord.planning.rule import Rule
from mirrord.registry.access import HttpAccess
from mirrord.sync.access import check_access
from mirrord.sync.estimating import forecast
from mirrord.sync.run import Run
from tests.canary.places import OTHER, Place
from tests.fakes.clients import Recorder
from tests.fakes.clock import HastyClock
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.runs import Pass, carry_out, process, rule
from tests.fakes.stores import put

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Tour:
    """What was done and said. ``failures`` are the errors, each with the name of its step."""

    texts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    copied: int = 0
    listed: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def hear(self, error: BaseException, step: str) -> None:
        """Keep all that an error and its causes say."""
        self.failures.append(f"{step}: {error}")
        known: list[BaseException] = []
        found: BaseException | None = error
        while found is not None:
            assert found not in known, "an error is its own cause"
            known.append(found)
            if isinstance(found, MirrordError):
                self.texts += [str(found), repr(found), found.remedy, repr(vars(found))]
            found = found.__cause__
        self.texts.append(traceback_text(error))

    def report(self, done: Pass) -> None:
        """Keep the report of a run, in every form."""
        whole = RunReport(rules=tuple(done.reports), started=START, finished=START, dry_run=False, traffic=done.traffic)
        self.texts += [json.dumps(run_json(whole, 0)), *(str(line) for line in run_lines(whole)), repr(done)]
        self.failures += [f"run: {problem}" for problem in done.problems]
        self.copied += done.count(Outcome.COPIED)


async def take(place: Place, *, runs: int = 2) -> Tour:
    """Do everything: mirror to and from the registry, so many times, list, look, check, and delete."""
    tour, events = Tour(), Recorder()
    fill(place)
    async with process(
        place.internet,
        settings=place.settings,
        environment=place.environment,
        events=events,
        passwords=place.passwords,
        clock=HastyClock(),
    ) as app:
        tour.texts += [repr(app.registries.settings(host)) for host in place.settings]
        await _run(tour, app, place, runs)
        await _look(tour, app, place)
        await _delete(tour, app, place)
    tour.texts += [f"{event!r} {asdict(event)}" for event in events.events]
    return tour


def fill(place: Place) -> None:
    """Put images of all kinds into the registry and into the other one; the mirror has the same as that."""
    image = put(place.registry, place.path, make_image("app"), "1.0")
    put(place.registry, place.path, make_artifact("sbom", subject=image.descriptor))
    put(place.registry, place.path, make_index("tools", attestations=True), "2.0")
    for registry in (place.other, place.mirror):
        put(registry, "team/lib", make_image("lib", layer_size=70_000), "1.1")
        put(registry, "team/lib", make_image("more"), "2.1")


def rules(place: Place) -> list[Rule]:
    """Return rules from the registry, to it, and within it."""
    here = f"{place.host}/{place.path}"
    return [
        rule(here, f"{OTHER}/back/app"),
        rule(f"{OTHER}/team/lib", f"{place.host}/{place.target}"),
        rule(here, f"{place.host}/{place.target}", name="within"),
    ]


async def _run(tour: Tour, app: App, place: Place, runs: int) -> None:
    """Mirror: the second time tags are looked at in bulk. Then say what another run would cost."""
    for _ in range(runs):

        async def mirror() -> None:
            tour.report(await carry_out(app, *rules(place)))

        await _try(tour, "run", mirror)

    async def estimate() -> None:
        run = Run(app.context, rules(place))
        tour.texts.append(repr(await forecast(app.context, run)))

    await _try(tour, "estimate", estimate)


async def _look(tour: Tour, app: App, place: Place) -> None:
    reader = app.registries.reader(Repository(place.host, place.path))
    owner = place.path.partition("/")[0]

    async def repositories() -> None:
        async for found in app.registries.repositories(place.host, f"{owner}/"):
            tour.listed.append(found.path)

    async def catalog() -> None:
        async for found in app.registries.repositories(place.host, ""):
            tour.texts.append(found.path)

    async def bulk() -> None:
        tour.texts += [repr(page) async for page in reader.bulk_tags()]

    async def plain() -> None:
        tour.tags += [entry.tag.name async for page in reader.list_tags() for entry in page.entries]

    async def check() -> None:
        used = {host: place.settings[host] for host in (place.host, OTHER)}
        found = await check_access(
            app.context, HttpAccess(app.registries), app.credentials, used, rules(place), try_push=True
        )
        tour.texts += [repr(await app.credentials.credential(host)) for host in place.settings]
        tour.failures += [f"check: {problem}" for each in found for problem in each.problems]
        tour.texts += [json.dumps(access_json(found, 0)), repr(found), *(str(line) for line in access_lines(found))]

    for name, step in {
        "repositories": repositories,
        "catalog": catalog,
        "bulk": bulk,
        "tags": plain,
        "check": check,
    }.items():
        await _try(tour, name, step)


async def _delete(tour: Tour, app: App, place: Place) -> None:
    writer = app.registries.writer(Repository(place.host, place.path))
    digest = place.registry.store.tags(place.path)["2.0"]

    async def untag() -> None:
        await writer.delete(Tag("1.0"))

    async def delete() -> None:
        await writer.delete(digest)

    await _try(tour, "delete tag", untag)
    await _try(tour, "delete digest", delete)


async def _try(tour: Tour, name: str, step: Callable[[], Awaitable[None]]) -> None:
    try:
        await step()
    except MirrordError as exc:
        tour.hear(exc, name)
