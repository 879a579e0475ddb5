"""What runs that remember cost, counted where the requests arrive: at emulated registries over TLS."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.app import App
from mirrord.oci.platform import Platform
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import Outcome
from mirrord.planning.rule import PlatformSelector, Policy, Rule, TagSelector
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names
from tests.fakes.registry import FakeRegistry
from tests.fakes.remembering import RememberingMemory
from tests.fakes.runs import Pass, carry_out, process, rule
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

COUNT = 500
SOURCE, TARGET = "source.test", "target.test"
RULE = rule(f"{SOURCE}/team/app", f"{TARGET}/mirror/app")


class Stage:
    """Two registries, and processes that share a memory."""

    def __init__(self, internet: Internet, source: FakeRegistry, target: FakeRegistry) -> None:
        self.memory = RememberingMemory()
        self.source = source
        self.target = target
        self._internet = internet

    async def sync(self, what: Rule) -> Pass:
        """Carry out a rule in a process of its own, which remembers; count anew."""
        self.source.traffic.clear()
        self.target.traffic.clear()
        async with process(self._internet) as app:
            return await carry_out(remembering(app, self.memory), what)

    def put(self, content: Content, tag: str) -> Content:
        """Put an image at the source."""
        return put(self.source, "team/app", content, tag)

    def cost(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the requests that the source and the target got, by kind, but for greetings."""
        return counted(self.source), counted(self.target)


def remembering(app: App, memory: RememberingMemory) -> App:
    """Return what a process works with, with that memory."""
    return replace(app, context=replace(app.context, memory=memory))


def counted(registry: FakeRegistry) -> dict[str, int]:
    """Return the requests of a registry by kind, but for greetings and tokens."""
    return {kind: count for kind, count in registry.traffic.counts.items() if count and kind not in {"ping", "token"}}


async def stage(internet: Internet) -> Stage:
    """Put two registries on the net."""
    source = await internet.join(DISTRIBUTION_V3, Names(registry=SOURCE))
    target = await internet.join(DISTRIBUTION_V3, Names(registry=TARGET))
    return Stage(internet, source, target)


@pytest.mark.covers("C22")
async def test_500_unchanged_tags_cost_pages_and_one_head_a_tag_and_nothing_at_the_target() -> None:
    async with Internet() as internet:
        here = await stage(internet)
        for number in range(COUNT):
            here.put(make_image(f"app {number}", layers=1), f"1.{number}")
        first = await here.sync(RULE)

        second = await here.sync(RULE)
        costs = here.cost()
        immutable = replace(RULE, policy=Policy(immutable_tags=(TagPattern.parse("1.*"),)))
        third = await here.sync(immutable)

        assert (first.problems, first.count(Outcome.COPIED)) == ([], COUNT)
        assert second.count(Outcome.IN_SYNC) == third.count(Outcome.IN_SYNC) == COUNT
        source, target = costs
        assert source.pop("tags/list") >= 1
        assert source == {"manifest HEAD": COUNT}
        assert target == {}
        source, target = here.cost()
        assert source.pop("tags/list") >= 1
        assert (source, target) == ({}, {})


async def test_literal_immutable_tags_open_no_connection() -> None:
    async with Internet() as internet:
        here = await stage(internet)
        here.put(make_image("app"), "1.0")
        pattern = TagPattern.parse("1.0")
        what = replace(RULE, tags=TagSelector(include=(pattern,)), policy=Policy(immutable_tags=(pattern,)))
        await here.sync(what)

        again = await here.sync(what)

        assert again.count(Outcome.IN_SYNC) == 1
        assert here.source.traffic.counts.total() == here.target.traffic.counts.total() == 0


async def test_filtered_indexes_are_not_read_by_another_process_either() -> None:
    async with Internet() as internet:
        here = await stage(internet)
        platforms = ("linux/amd64",)
        for number in range(5):
            here.put(make_index(f"app {number}"), f"1.{number}")
        what = replace(RULE, platforms=PlatformSelector(platforms=tuple(map(Platform.parse, platforms))))
        first = await here.sync(what)

        again = await here.sync(what)

        assert first.count(Outcome.COPIED) == again.count(Outcome.IN_SYNC) == 5
        source, target = here.cost()
        assert (source["manifest HEAD"], source.get("manifest GET", 0), target) == (5, 0, {})


async def test_blob_of_an_earlier_process_is_mounted() -> None:
    async with Internet() as internet:
        here = await stage(internet)
        image = here.put(make_image("app"), "1.0")
        await here.sync(RULE)

        again = await here.sync(rule(f"{SOURCE}/team/app", f"{TARGET}/other/app", name="other"))

        assert again.count(Outcome.COPIED) == 1
        source, target = here.cost()
        assert source.get("blob GET", 0) == 0
        assert target["mount"] == len(image.blobs)
        assert not any(kind.startswith("upload") for kind in target)


async def test_referrers_that_came_later_are_found_with_one_question_an_image() -> None:
    async with Internet() as internet:
        here = await stage(internet)
        image = here.put(make_image("app"), "1.0")
        here.put(make_image("other"), "2.0")
        await here.sync(RULE)
        sbom = put(here.source, "team/app", make_artifact("sbom", subject=image.descriptor))
        here.memory.change(referrers_at=datetime.now(UTC) - timedelta(days=2))

        again = await here.sync(RULE)

        assert (again.count(Outcome.COPIED), again.count(Outcome.IN_SYNC)) == (1, 1)
        assert here.target.store.manifest("mirror/app", sbom.digest) is not None
        source, _ = here.cost()
        assert source["manifest GET"] == 2, "the image and its SBOM; the other is not read"
