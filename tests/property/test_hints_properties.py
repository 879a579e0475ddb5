"""Random listings: whatever they tell, be it old, missing or made up, a run copies nothing but what the source has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import Outcome
from mirrord.planning.rotation import TURN_S, TURNS
from mirrord.planning.rule import TagSelector
from mirrord.sync.run import Run
from tests.fakes.images import Content, make_image
from tests.unit.sync.scene import SOURCE, A, B, Scene, adds_up, make_rule, only, results, stands

IMAGES = [make_image(f"image {number}", layers=1) for number in range(5)]
TAGS = [Tag(name) for name in ("1.0", "1.1", "2.0", "latest")]
SELECTORS = [TagSelector(), only("1*"), only("1.0", "2*"), only("1.0", "1.1", "2.0", "latest")]
PLACES: list[Location] = [SOURCE, A, B]
Held = Mapping[Tag, Content]
Told = Mapping[Tag, Digest | None]

held = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(IMAGES))
told = st.dictionaries(st.sampled_from(TAGS), st.one_of(st.none(), st.sampled_from([i.digest for i in IMAGES])))


@dataclass(frozen=True)
class Story:
    """What registries hold and what they tell; hosts that are not in ``bulk`` tell no digests at all."""

    holds: Mapping[Location, Held]
    tells: Mapping[Location, Told]
    bulk: frozenset[str]
    page_size: int
    turn: int
    selector: TagSelector
    backend: str

    def scene(self, *, lies: bool) -> Scene:
        """Return the registries; without ``lies`` nobody tells digests."""
        scene = Scene()
        scene.clock.advance(self.turn * TURN_S)
        for image in IMAGES:
            scene.memory.add(SOURCE, image)
        for location, tags in self.holds.items():
            scene.memory.at(location)
            for tag, image in tags.items():
                scene.memory.add(location, image, str(tag))
        if lies:
            for host in self.bulk:
                scene.memory.tell_in_bulk(host, page_size=self.page_size)
            scene.memory.bulk |= {location: dict(tags) for location, tags in self.tells.items()}
        return scene


stories = st.builds(
    Story,
    holds=st.fixed_dictionaries({SOURCE: held.filter(bool), A: held, B: held}),
    tells=st.fixed_dictionaries({}, optional=dict.fromkeys(PLACES, told)),
    bulk=st.sets(st.sampled_from([place.host for place in PLACES]), min_size=1).map(frozenset),
    page_size=st.sampled_from([1, 2, 100]),
    turn=st.integers(0, TURNS - 1),
    selector=st.sampled_from(SELECTORS),
    backend=st.sampled_from(["asyncio", "trio"]),
)


async def live(story: Story) -> None:
    """Run a rule over registries that lie, and over the same without; then once more with the truth."""
    rule = make_rule("rule", A, B, tags=story.selector)
    lying, honest = story.scene(lies=True), story.scene(lies=False)
    source = lying.memory.at(SOURCE).tags
    before: dict[Location, dict[Tag, Digest]] = {place: lying.memory.at(place).tags.copy() for place in (A, B)}

    run = await lying.sync(rule)
    truth = await honest.sync(rule)

    assert adds_up(run)
    assert failed(run) <= failed(truth), "a lie makes nothing fail"
    assert lying.memory.violations == []
    for place in (A, B):
        after, wanted = lying.memory.at(place).tags, honest.memory.at(place).tags
        for tag in TAGS:
            old, new, right = before[place].get(tag), after.get(tag), wanted.get(tag)
            assert new in {old, right}, "a lie may delay a change, and do nothing else"
            if not deceived(story, tag, place, source, before):
                assert new == right, "who is told the truth does what is to be done"

    lying.memory.bulk.clear()
    run = await lying.sync(rule)

    assert {result.outcome for result in results(run)} <= outcomes_of(honest, story)
    for place in (A, B):
        assert lying.memory.at(place).tags == honest.memory.at(place).tags


def failed(run: Run) -> set[tuple[str, Location]]:
    """Return what a run could not do."""
    return {key for key, outcome in stands(run).items() if outcome is Outcome.FAILED}


def deceived(
    story: Story,
    tag: Tag,
    place: Location,
    source: Mapping[Tag, Digest],
    before: Mapping[Location, Mapping[Tag, Digest]],
) -> bool:
    """Say whether the listings told something wrong of a tag: of the source, or of this target."""

    def wrong(location: Location, truth: Mapping[Tag, Digest]) -> bool:
        tells = story.tells.get(location)
        return location.host in story.bulk and tells is not None and tells.get(tag) != truth.get(tag)

    return wrong(SOURCE, source) or wrong(place, before[place])


def outcomes_of(honest: Scene, story: Story) -> set[Outcome]:
    """Return how images may stand at the end: a literal tag that the source lacks stays a failure."""
    literal = story.selector.literal_tags or ()
    include = [pattern.literal for pattern in story.selector.include if pattern.literal is not None]
    missing = {*literal, *include} - honest.memory.at(SOURCE).tags.keys()
    return {Outcome.IN_SYNC, Outcome.COPIED, *([Outcome.FAILED] if missing else [])}


@pytest.mark.parametrize("bulk", [pytest.param("", id="bulk-01-core-bulk-08-core")])
@given(story=stories)
@settings(max_examples=150)
def test_lies_of_listings_delay_and_never_copy_what_the_source_does_not_have(story: Story, bulk: str) -> None:
    anyio.run(live, story, backend=story.backend)
