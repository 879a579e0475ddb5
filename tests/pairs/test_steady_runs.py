"""What an unchanged run costs at each kind of registry when runs remember, counted where the requests arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from mirrord.oci.platform import Platform
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import Outcome, TrafficReport
from mirrord.planning.rotation import TURN_S, is_due, is_listing_due
from mirrord.planning.rule import PlatformSelector, Rule
from mirrord.ports.memory import ReadOnlyMemory
from mirrord.ports.settings import RegistrySettings
from mirrord.sync.engine import Engine
from mirrord.sync.estimating import Forecast, forecast
from mirrord.sync.run import Run
from tests.fakes.clock import FakeClock
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V2, DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.ecr import control_plane
from tests.fakes.registries.google import GoogleApi
from tests.fakes.remembering import RememberingMemory
from tests.fakes.runs import PLAIN, Pass, join_plain, logged_in, process, rule
from tests.pairs.content import make_shelf
from tests.pairs.sides import Emulated
from tests.pairs.test_pairs import EMULATED
from tests.traps.test_plans import TARGETS

pytestmark = pytest.mark.anyio

HOUR = 3600.0
SHELF = make_shelf()
OTHERS: dict[str, tuple[str, Profile, Names]] = {
    "distribution 2": ("registry2.test", DISTRIBUTION_V2, Names(registry="registry2.test")),
    "distribution 3": ("registry3.test", DISTRIBUTION_V3, Names(registry="registry3.test")),
}
KINDS = (*EMULATED, *TARGETS, *OTHERS)

# Where digests are told at once, that is all; the plain listing stands beside an API that may lack tags for good.
# Else each tag is asked for: four images and a signature, and the fallback tag where there is no referrers API.
TOLD, BESIDE = {"tags/list": 1}, {"api": 1, "tags/list": 1}
ASKED, LISTED = {"tags/list": 1, "manifest HEAD": 5}, {"tags/list": 1, "manifest HEAD": 6}
AT_SOURCE: dict[str, Mapping[str, int]] = {
    "google": TOLD,
    **dict.fromkeys(("dockerhub", "ecr", "ghcr", "acr", "harbor"), BESIDE),
    **dict.fromkeys(("quay", "zot", "distribution 3"), ASKED),
    **dict.fromkeys(("gitlab", "distribution 2"), LISTED),
}
RULES: dict[str, Callable[[Rule], Rule]] = {
    "plain": lambda given: given,
    "platforms": lambda given: replace(given, platforms=PlatformSelector(platforms=(Platform.parse("linux/amd64"),))),
    "immutable": lambda given: replace(given, policy=replace(given.policy, immutable_tags=(TagPattern.parse("*"),))),
}


@dataclass
class World:
    """Two registries and what is remembered of them; ``engine`` is that of a service which goes on."""

    source: Emulated
    target: Emulated
    rule: Rule
    engine: Engine
    clock: FakeClock
    kept: RememberingMemory = field(default_factory=RememberingMemory)

    async def run(self) -> Pass:
        """Carry the rule out, and forget what was asked before."""
        self._begin()
        run = Run(self.engine.context(), [self.rule])
        await run.carry_out(self.engine.executor(alone=True))
        return Pass([run.rules[0].report()], TrafficReport())  # requests are counted where they arrive

    async def plan(self) -> Forecast:
        """Plan as beside the service, and forget what was asked before."""
        self._begin()
        context = replace(self.engine.context(), memory=ReadOnlyMemory(self.kept))
        return await forecast(context, Run(context, [self.rule]))

    def _begin(self) -> None:
        self.source.forget()
        self.target.forget()

    @property
    def asked(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """How many requests of each kind arrived at the source and at the target."""
        return self.source.registry.traffic.counts, self.target.registry.traffic.counts


async def open_side(internet: Internet, kind: str, stack: AsyncExitStack, patch: pytest.MonkeyPatch) -> Emulated:
    if kind in TARGETS:
        known = TARGETS[kind]
        registry = await internet.join(known.profile, known.names)
        return Emulated(registry, known.names.registry, known.settings())
    host, profile, names = (EMULATED | OTHERS)[kind]
    registry = await internet.join(profile, names)
    if kind == "ecr":
        await stack.enter_async_context(control_plane(registry, patch))
        return Emulated(registry, host, RegistrySettings(host=host))
    if isinstance(registry.api, GoogleApi):
        registry.api.made |= {"acme-prod/images"}
    return Emulated(registry, host, logged_in(registry, host) if kind in EMULATED else RegistrySettings(host=host))


def calm_clock(*places: Repository) -> FakeClock:
    """Return a clock at a moment that is no tag's turn, nor any listing's."""
    clock = FakeClock()
    tags = [Tag(tag) for tag in (*SHELF.tagged, *SHELF.listed)]

    def busy() -> Iterator[bool]:
        for place in places:
            yield is_listing_due(place, clock.now())
            yield from (is_due(place, tag, clock.now()) for tag in tags)

    while any(busy()):
        clock.advance(TURN_S)
    return clock


@asynccontextmanager
async def world(kind: str, monkeypatch: pytest.MonkeyPatch, *, is_source: bool, what: str) -> AsyncIterator[World]:
    """Open a registry of a kind on one side and a plain one on the other, and mirror everything once."""
    path = "acme-prod/images/app" if kind == "google" else "acme/app"
    async with Internet() as internet, AsyncExitStack() as stack:
        side = await open_side(internet, kind, stack, monkeypatch)
        plain = Emulated(await join_plain(internet), PLAIN, RegistrySettings(host=PLAIN))
        here, there = Repository(side.host, path), Repository(PLAIN, "team/app")
        source, target = (side, plain) if is_source else (plain, side)
        first, second = (here, there) if is_source else (there, here)
        source.fill(first.path, SHELF)
        kept, clock = RememberingMemory(), calm_clock(here, there)
        settings = {side.host: side.settings}
        app = await stack.enter_async_context(process(internet, settings=settings, memory=kept))
        found = World(
            source, target, RULES[what](rule(str(first), str(second))), replace(app.engine(), clock=clock), clock, kept
        )
        done = await found.run()
        assert (done.problems, done.count(Outcome.COPIED)) == ([], 4)
        yield found


@pytest.mark.parametrize("what", list(RULES))
@pytest.mark.parametrize("kind", KINDS)
async def test_unchanged_run_asks_a_source_for_what_may_have_moved_and_the_target_nothing(
    kind: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No greeting, no token, no manifest, no referrers: and the plan before it asks the same."""
    async with world(kind, monkeypatch, is_source=True, what=what) as there:
        there.clock.advance(60)
        planned = await there.plan()
        by_plan = tuple(map(dict, there.asked))
        done = await there.run()
        by_run = tuple(map(dict, there.asked))

    expected = dict(AT_SOURCE[kind])
    if what == "immutable" and "manifest HEAD" in expected:
        expected["manifest HEAD"] -= len(SHELF.tagged) - 1  # what is attached may grow all the same
    assert (done.problems, done.count(Outcome.IN_SYNC), planned.changes) == ([], 4, ())
    assert by_run == (expected, {})
    assert by_plan == by_run


@pytest.mark.parametrize("what", list(RULES))
@pytest.mark.parametrize("kind", KINDS)
async def test_unchanged_run_asks_a_target_of_any_kind_nothing(
    kind: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(kind, monkeypatch, is_source=False, what=what) as there:
        there.clock.advance(60)
        done = await there.run()
        at_source, at_target = map(dict, there.asked)

    assert (done.problems, done.count(Outcome.IN_SYNC)) == ([], 4)
    assert at_source == {"tags/list": 1, "manifest HEAD": 1 if what == "immutable" else 5}
    assert at_target == {}


@pytest.mark.parametrize("kind", ["distribution 2", "gitlab", "ghcr", "dockerhub"])
async def test_after_the_recheck_a_fallback_tag_is_compared_without_a_walk(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is asked for each tag and the signature; no manifest is read for what lies behind its API."""
    async with world(kind, monkeypatch, is_source=True, what="plain") as there:
        there.clock.advance(HOUR)
        await there.run()
        at_source, at_target = map(dict, there.asked)

    assert at_target == {"manifest HEAD": 5}
    assert "manifest GET" not in at_source
