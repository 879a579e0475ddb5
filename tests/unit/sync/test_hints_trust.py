"""How far digests that listings tell are trusted: turns, differences, what a run writes, and attachments."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import (
    ListingIncompleteError,
)
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.listing import ListingTraits
from mirrord.planning.report import Outcome
from mirrord.planning.rotation import TURN_S, TURNS, is_due
from mirrord.planning.rule import Newest, NewestBy, Referrers, TagSelector
from mirrord.ports.events import Noted
from mirrord.sync.prepare import prepare
from mirrord.sync.run import Run
from mirrord.sync.traffic import Traffic
from tests.fakes.images import make_artifact, make_image
from tests.fakes.memory import Recorder
from tests.unit.sync.scene import (
    SOURCE,
    A,
    B,
    Scene,
    make_rule,
    only,
    reports,
    stands,
    warnings,
)
from tests.unit.sync.told import TAGS, asked, calm, keeps, mirrored, move, told_scene

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, SKIPPED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED, Outcome.FAILED


@pytest.fixture
def scene() -> Scene:
    return told_scene()


# --- turns


@keeps("08")
async def test_tag_that_lies_for_good_is_found_within_a_day(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)
    moved = move(scene, "2.0")

    found = []
    for _ in range(TURNS):
        scene.clock.advance(TURN_S)
        run = await scene.sync(make_rule("rule", A))
        found += [line for line in warnings(run) if "2.0" in line]

    assert scene.served(A)["2.0"] == moved.digest
    assert len(found) >= 1
    assert SOURCE.host in found[0]


@keeps("08")
async def test_target_that_lies_for_good_is_found_within_a_day(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(A)
    right = scene.served(A)["2.0"]
    move(scene, "2.0", A)

    for _ in range(TURNS):
        scene.clock.advance(TURN_S)
        await scene.sync(make_rule("rule", A))

    assert scene.served(A)["2.0"] == right


@keeps("08")
async def test_a_day_of_runs_asks_for_each_tag_once_a_side(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    looks: dict[Location, list[str]] = {SOURCE: [], A: []}

    for _ in range(TURNS):
        scene.clock.advance(TURN_S)
        run = await scene.sync(make_rule("rule", A))
        assert set(stands(run).values()) == {IN_SYNC}
        for location in looks:
            looks[location] += asked(scene, location)

    assert sorted(looks[SOURCE]) == sorted(looks[A]) == sorted(TAGS)


async def test_turn_is_that_of_the_beginning_of_a_run(scene: Scene) -> None:
    await mirrored(scene, A)

    def advance() -> None:
        while not is_due(SOURCE, Tag("1.0"), scene.clock.now()):
            scene.clock.advance(TURN_S)

    scene.memory.when("bulk_tags", advance, at=SOURCE)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert is_due(SOURCE, Tag("1.0"), scene.clock.now())
    assert scene.memory.count("head") == 0


# --- what differs


@keeps("08")
async def test_difference_is_told_once_with_the_name_of_the_registry(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A, B)
    wrong = make_image("wrong").digest
    told = scene.memory.freeze(SOURCE)
    for tag in ("1.0", "2.0"):
        told[Tag(tag)] = wrong

    run = await scene.sync(make_rule("one", A), make_rule("two", B))

    (line,) = warnings(run)
    assert line.startswith(
        f"{SOURCE}: the listing of {SOURCE.host} told something else than the registry itself about "
    )
    assert "2 tags (1.0, 2.0)" in line
    events = scene.events.events if isinstance(scene.events, Recorder) else []
    notes = [event for event in events if isinstance(event, Noted)]
    assert [(note.what, note.host) for note in notes] == [("bulk_differs", SOURCE.host)] * 2
    assert f"and its listing told {wrong}" in notes[0].text


async def test_differences_are_counted_by_registry(scene: Scene) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)[Tag("1.0")] = make_image("wrong").digest
    traffic = Traffic(Recorder())
    scene.events = traffic

    await scene.sync(make_rule("rule", A))

    assert traffic.report().bulk_differs == {SOURCE.host: 1}


async def test_many_differences_are_one_line(scene: Scene) -> None:
    tags = [f"3.{number}" for number in range(9)]
    for tag in tags:
        scene.memory.add(SOURCE, make_image(tag), tag)
    told = scene.memory.freeze(SOURCE)
    for tag in tags:
        told[Tag(tag)] = make_image("wrong").digest

    run = await scene.sync(make_rule("rule", A, tags=only("3.*")))

    (line,) = warnings(run)
    assert "9 tags (3.0, 3.1, 3.2, ...)" in line
    assert set(stands(run).values()) == {COPIED}
    assert scene.served(A) == {tag: scene.served(SOURCE)[tag] for tag in tags}


async def test_hint_that_was_wrong_is_not_believed_again_in_the_run(scene: Scene) -> None:
    context = scene.context()
    hints, tag = context.hints, Tag("1.0")
    hints.learn(SOURCE, (await context.listings.told(scene.memory.reader(SOURCE))).entries.values())
    before = hints.believed(SOURCE, tag, scene.clock)

    hints.check(SOURCE, tag, None, scene.events)
    hints.check(SOURCE, tag, None, scene.events)

    assert before is not None
    assert hints.believed(SOURCE, tag, scene.clock) is None
    assert len(hints.warnings([SOURCE, SOURCE])) == 1
    assert hints.warnings([SOURCE]) == []


# --- what this run writes


async def test_rule_sees_what_another_wrote_to_the_same_target_whatever_a_listing_says(scene: Scene) -> None:
    await mirrored(scene, A)
    moved = move(scene, "2.0")
    scene.memory.freeze(A)
    context = scene.context()
    first, second = Run(context, [make_rule("one", A)]), Run(context, [make_rule("two", A)])

    await first.carry_out(scene.executor())
    await second.carry_out(scene.executor())

    assert stands(first)["2.0", A] is COPIED
    assert set(stands(second).values()) == {IN_SYNC}
    assert scene.served(A)["2.0"] == moved.digest
    assert warnings(second) == [], "a listing from before is not wrong"


async def test_rule_reads_what_another_wrote_before_although_the_listing_lacks_it(scene: Scene) -> None:
    scene.memory.freeze(A)
    context = scene.context()
    first = Run(context, [make_rule("one", A)])
    second = Run(context, [make_rule("two", B, source=A, tags=only("*", exclude=["latest"]))])

    await first.carry_out(scene.executor())
    await second.carry_out(scene.executor())

    assert stands(second) == {("1.0", B): COPIED, ("2.0", B): COPIED}
    assert scene.served(B) == {tag: scene.served(SOURCE)[tag] for tag in ("1.0", "2.0")}


async def test_attachments_that_a_run_writes_are_not_hidden_by_a_listing(scene: Scene) -> None:
    image = scene.memory.add(SOURCE, make_image("signed"), "3.0")
    signature = str(cosign_tags(image.digest)[0])
    scene.memory.add(SOURCE, make_artifact("signature", subject=image.descriptor), signature)
    context = scene.context()
    run = Run(context, [make_rule("rule", A, tags=only("3*"))])

    await run.carry_out(scene.executor())

    assert {str(tag) for tag in context.hints.written(A)} == {"3.0", signature, str(fallback_tag(image.digest))}


# --- attachments


def sign(scene: Scene, tag: str, name: str = "signature") -> str:
    """Sign an image at the source; return the tag of the signature."""
    digest = scene.memory.at(SOURCE).tags[Tag(tag)]
    name_of_signature = str(cosign_tags(digest)[0])
    scene.memory.add(SOURCE, make_artifact(name), name_of_signature)
    calm(scene, (*TAGS, name_of_signature))
    return name_of_signature


async def test_signatures_that_both_sides_have_cost_no_look(scene: Scene) -> None:
    sign(scene, "1.0")
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert {o.verb for o in scene.memory.log} == {"bulk_tags"}


async def test_signature_that_came_late_is_found_by_listings(scene: Scene) -> None:
    await mirrored(scene, A)
    signature = sign(scene, "1.0")

    run = await scene.sync(make_rule("rule", A))

    assert stands(run)["1.0", A] is COPIED
    assert scene.served(A)[signature] == scene.served(SOURCE)[signature]


async def test_signature_that_came_late_is_found_for_literal_tags_that_were_looked_up(scene: Scene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)
    rule = make_rule("rule", A, tags=only("1.0", "2.0"))
    await scene.sync(rule)
    signature = sign(scene, "1.0")

    await scene.sync(rule)

    assert scene.served(A)[signature] == scene.served(SOURCE)[signature]


async def test_signatures_cost_one_look_where_one_side_tells_of_them(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    await mirrored(scene, A)
    for silent, telling in ((SOURCE, A), (A, SOURCE)):
        for host in (SOURCE.host, A.host):
            scene.memory.tell_in_bulk(host)
        scene.memory.hosts[silent.host].listing = ListingTraits()

        await scene.sync(make_rule("rule", A))

        assert asked(scene, silent) == sorted([*TAGS, signature])
        assert asked(scene, telling) == []


async def test_job_of_late_signatures_knows_the_image_whole(scene: Scene) -> None:
    await mirrored(scene, A)
    sign(scene, "1.0")
    context = scene.context()
    run = Run(context, [make_rule("rule", A)])
    await run.look()

    (group,) = run.groups()
    job = await prepare(context, group)

    assert group[0].plan.root.media_type == "", "listings alone told of it"
    assert job is not None
    assert job.root == job.graph.root.descriptor


async def test_signature_that_only_seems_to_differ_is_not_fetched(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)[Tag(signature)] = make_image("wrong").digest

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.memory.count("manifest", "blob") == 0
    assert len(warnings(run)) == 1


async def test_signature_that_a_targets_listing_lacks_is_asked_for(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    await mirrored(scene, A)
    del scene.memory.freeze(A)[Tag(signature)]

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, A) == [signature]


async def test_new_image_brings_a_signature_that_the_listing_lacks(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    del scene.memory.freeze(SOURCE)[Tag(signature)]

    await scene.sync(make_rule("rule", A))

    assert scene.served(A)[signature] == scene.served(SOURCE)[signature]
    assert scene.memory.count("list_tags", at=SOURCE) == 1, "once for all images"


async def test_new_image_brings_its_signature_where_the_complete_listing_fails(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"), times=None)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {COPIED}
    assert scene.served(A)[signature] == scene.served(SOURCE)[signature]
    assert scene.memory.count("list_tags", at=SOURCE) == 1


async def test_attachments_that_are_always_rechecked_are_as_without_hints(scene: Scene) -> None:
    signature = sign(scene, "1.0")
    await mirrored(scene, A)
    scene.memory.freeze(A)[Tag(signature)] = make_image("wrong").digest
    rule = replace(make_rule("rule", A), referrers=Referrers(recheck=timedelta(0)))

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert [report.warnings for report in reports(run)] != [()]


# --- selection


async def test_newest_of_literal_and_listed_tags_is_chosen_from_what_was_told(scene: Scene) -> None:
    newest = TagSelector(newest=Newest(count=1, by=NewestBy.SEMVER))

    run = await scene.sync(make_rule("rule", A, tags=newest))

    assert [key for key, outcome in stands(run).items() if outcome is COPIED] == [("2.0", A)]


async def test_forecast_tells_what_a_run_does(scene: Scene) -> None:
    await mirrored(scene, A)
    moved = move(scene, "2.0")
    scene.memory.freeze(SOURCE)[Tag("1.0")] = make_image("wrong").digest

    run, found = await scene.forecast(make_rule("rule", A))

    assert [(change.root, [str(tag.target_tag) for tag in change.tags]) for change in found.changes] == [
        (moved.digest, ["2.0"])
    ]
    assert len(warnings(run)) == 1
