"""Random memories: whatever they claim, a run ends well, and after the recheck every target serves what it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState, SeenDigest, scope_of
from mirrord.planning.report import Outcome
from mirrord.planning.rule import Rule
from tests.fakes.clock import START
from tests.fakes.images import Content, digest_of, make_image, make_index
from tests.unit.sync.kept import DAY, HOUR, KeptScene
from tests.unit.sync.scene import SOURCE, A, B, adds_up, make_rule, results

IMAGES: list[Content] = [*(make_image(f"image {n}", layers=1) for n in range(3)), make_index("index")]
TAGS = [Tag(name) for name in ("1.0", "1.1", "latest")]
TARGETS: list[Location] = [A, B]
NOWHERE = digest_of("held by nobody")
DIGESTS = [image.digest for image in IMAGES]
MOMENTS = st.sampled_from([START - timedelta(days=2), START - timedelta(minutes=50), START, START + timedelta(days=2)])
HOLDERS = [Repository(A.host, "gone/app"), Repository(A.host, "mirror/app"), Repository(B.host, "x")]

held = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(IMAGES))


def claims(*digests: Digest) -> st.SearchStrategy[list[ImageMemory]]:
    """Return a memory of each image on each target, most of them wrong; ``digests`` are what they say is served."""
    names = [(tag, target, other) for tag in TAGS for target in TARGETS for other in sorted({tag, TAGS[0]})]
    keys = [ImageKey(str(tag), target, str(other)) for tag, target, other in names]
    return st.tuples(*(claim(key, *digests) for key in keys)).map(list)


def claim(key: ImageKey, *digests: Digest) -> st.SearchStrategy[ImageMemory]:
    """Return what may be claimed of one image."""
    maybe = MOMENTS | st.none()
    return st.builds(
        ImageMemory,
        key=st.just(key),
        state=st.sampled_from(ImageState),
        digest=st.none() | st.sampled_from(DIGESTS),
        first_seen=maybe,
        behind_since=maybe,
        served=st.sampled_from([*digests, None]),
        proven_at=maybe,
        scope=st.sampled_from(["right", "right", "wrong"]),
        referrers_at=maybe,
        referrers_mark=st.sampled_from(["", "made up"]),
        subjects=st.lists(st.sampled_from([*DIGESTS, NOWHERE]), max_size=2, unique=True).map(tuple),
    )


@dataclass(frozen=True)
class Story:
    """What registries hold, and what a memory claims of them."""

    holds: Mapping[Location, Mapping[Tag, Content]]
    claims: tuple[ImageMemory, ...]
    seen: tuple[tuple[Tag, Digest, datetime], ...]
    holders: tuple[tuple[Repository, Digest], ...]
    platforms: tuple[str, ...]
    backend: str

    def rule(self) -> Rule:
        return make_rule("rule", *TARGETS, platforms=self.platforms)

    def scene(self, *, remembers: bool) -> KeptScene:
        """Return the registries, with the memory of the story or with one that is new."""
        scene = KeptScene()
        for location, tags in self.holds.items():
            for tag, image in tags.items():
                scene.memory.add(location, image, str(tag))
        if not remembers:
            return scene
        scope = scope_of(self.rule())
        for claim in self.claims:
            known = scene.kept.kept["rule", SOURCE]
            known[claim.key] = claim if claim.scope == "wrong" else _with_scope(claim, scope)
        for tag, digest, at in self.seen:
            scene.kept.keep_seen(SOURCE, [SeenDigest(tag=str(tag), digest=digest, first_seen=at)])
        for repository, digest in self.holders:
            scene.kept.keep_holder(repository, digest, START)
        return scene


def _with_scope(claim: ImageMemory, scope: str) -> ImageMemory:
    return replace(claim, scope=scope)


BLOBS = sorted({digest for image in IMAGES for digest in image.blobs})


def stories(platforms: tuple[str, ...], *served: Digest) -> st.SearchStrategy[Story]:
    """Return stories of rules with a filter of platforms, or none."""
    return st.builds(
        Story,
        holds=st.fixed_dictionaries({SOURCE: held.filter(bool), A: held, B: held}),
        claims=claims(*served).map(tuple),
        seen=st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(DIGESTS), MOMENTS), max_size=4).map(tuple),
        holders=st.lists(st.tuples(st.sampled_from(HOLDERS), st.sampled_from(BLOBS)), max_size=6).map(tuple),
        platforms=st.just(platforms),
        backend=st.sampled_from(["asyncio", "trio"]),
    )


async def live(story: Story) -> None:
    """Run a rule that remembers things which are not so, now and after its recheck, and once with no memory."""
    rule = story.rule()
    lied_to, honest = story.scene(remembers=True), story.scene(remembers=False)
    before = {place: dict(lied_to.memory.at(place).tags) for place in TARGETS}
    await honest.sync(rule)

    run = await lied_to.sync(rule)

    assert adds_up(run)
    assert {result.outcome for result in results(run)} <= {Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED}
    assert run.rules[0].report().problems == ()
    assert lied_to.memory.violations == []
    for place in TARGETS:
        for tag in TAGS:
            served, right = lied_to.memory.at(place).tags.get(tag), honest.memory.at(place).tags.get(tag)
            assert served in {before[place].get(tag), right}, "a lie may delay a change, and do nothing else"

    lied_to.clock.advance(2 * DAY + HOUR)
    run = await lied_to.sync(rule)

    assert {result.outcome for result in results(run)} <= {Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED}
    for place in TARGETS:
        assert lied_to.memory.at(place).tags == honest.memory.at(place).tags
        assert lied_to.memory.broken_tags(place) == []


@given(story=stories((), *DIGESTS, NOWHERE))
@settings(max_examples=150)
def test_lies_of_a_memory_delay_for_a_recheck_and_do_no_harm(story: Story) -> None:
    anyio.run(live, story, backend=story.backend)


@given(story=stories(("linux/amd64",), NOWHERE))
@settings(max_examples=75)
def test_lies_of_a_memory_about_filtered_images_delay_for_a_recheck_and_do_no_harm(story: Story) -> None:
    """What a filter makes of a digest is a function of that digest; its result is remembered for as long as that is."""
    anyio.run(live, story, backend=story.backend)
