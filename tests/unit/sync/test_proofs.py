"""What an unchanged rule costs when runs remember: a proof spares a look, and hides no difference for long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.errors import UnavailableError
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.planning.listing import ListingTraits
from mirrord.planning.memory import SOONEST, ImageState
from mirrord.planning.report import EXIT_REFUSED, Outcome
from mirrord.planning.rotation import TURN_S, is_due
from mirrord.planning.rule import IndexMode, Newest, NewestBy, Referrers, TagSelector
from tests.fakes.images import make_image, make_index
from tests.unit.sync.kept import HOUR, KeptScene, immutable, rechecking
from tests.unit.sync.scene import (
    SOURCE,
    A,
    B,
    Scene,
    exits,
    image_with_config,
    make_rule,
    one_image,
    only,
    results,
    stands,
    warnings,
)
from tests.unit.sync.told import calm

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, BLOCKED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.BLOCKED, Outcome.FAILED
COUNT = 500
PAGE = 100


@pytest.fixture
def scene() -> KeptScene:
    return KeptScene()


def many(scene: KeptScene, count: int = COUNT) -> list[str]:
    """Put many tags at the source; a page of a listing has 100."""
    scene.memory.hosts[SOURCE.host].listing = ListingTraits(page_size=PAGE)
    tags = [f"1.{number}" for number in range(count)]
    for tag in tags:
        scene.memory.add(SOURCE, make_image(tag, layers=1), tag)
    return tags


def soon(scene: KeptScene) -> None:
    """Let less time pass than any proof holds."""
    scene.clock.advance(HOUR * SOONEST - 1)


# --- proofs of targets


@pytest.mark.covers("C22")
async def test_unchanged_tags_cost_their_listing_and_a_look_at_the_source_while_proofs_hold(scene: KeptScene) -> None:
    tags = many(scene)
    await scene.sync(make_rule("rule", A, B))
    soon(scene)

    run = await scene.sync(make_rule("rule", A, B))

    assert set(stands(run).values()) == {IN_SYNC}
    assert len(stands(run)) == 2 * len(tags)
    assert scene.cost(SOURCE) == {"list_tags": COUNT // PAGE, "head": COUNT}
    assert scene.cost(A) == scene.cost(B) == {}


@pytest.mark.covers("C22")
async def test_targets_are_asked_again_after_their_recheck(scene: KeptScene) -> None:
    many(scene, 20)
    await scene.sync(make_rule())
    scene.clock.advance(HOUR)

    run = await scene.sync(make_rule())
    costs = scene.cost(A)
    await scene.sync(make_rule())

    assert set(stands(run).values()) == {IN_SYNC}
    assert costs == {"head": 20}
    assert scene.cost(A) == {}, "a look is a proof, too"


async def test_proofs_made_together_do_not_expire_in_one_run(scene: KeptScene) -> None:
    many(scene, 200)
    await scene.sync(make_rule())
    asked = []
    scene.clock.advance(HOUR * SOONEST)
    for _ in range(7):
        await scene.sync(make_rule())
        asked.append(scene.memory.count("head", at=A))
        scene.clock.advance(HOUR / 24)

    assert sum(asked) == 200
    assert max(asked) < 60


async def test_target_recheck_of_zero_asks_each_time(scene: KeptScene) -> None:
    many(scene, 3)
    rule = rechecking(make_rule(), target=timedelta(0))
    await scene.sync(rule)

    await scene.sync(rule)

    assert scene.cost(A) == {"head": 3}


async def test_run_with_a_fresh_memory_asks_both_sides(scene: KeptScene) -> None:
    many(scene, 3)
    await scene.sync(make_rule())
    fresh = KeptScene(memory=scene.memory, clock=scene.clock)

    run = await fresh.sync(make_rule())

    assert set(stands(run).values()) == {IN_SYNC}
    assert fresh.cost(SOURCE) == {"list_tags": 1, "head": 3}
    assert fresh.cost(A) == {"head": 3}


async def test_deleted_target_tag_is_repaired_after_the_recheck(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    await scene.sync(make_rule())
    del scene.memory.at(A).tags[Tag("1.0")]

    soon(scene)
    believed = await scene.sync(make_rule())
    scene.clock.advance(HOUR)
    repaired = await scene.sync(make_rule())

    assert stands(believed) == {("1.0", A): IN_SYNC}
    assert stands(repaired) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": image.digest}


async def test_moved_tag_is_looked_at_on_the_target_whatever_was_proven(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_image("app"), "1.0")
    await scene.sync(make_rule())
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": moved.digest}


async def test_changed_platforms_make_a_proof_void(scene: KeptScene) -> None:
    """What was asked of the image is part of its proof."""
    scene.memory.add(SOURCE, make_index("app"), "1.0")
    await scene.sync(make_rule())

    run = await scene.sync(make_rule(platforms=["linux/amd64"]))

    assert stands(run) == {("1.0", A): COPIED}


async def test_proof_from_the_future_is_not_believed(scene: KeptScene) -> None:
    many(scene, 1)
    await scene.sync(make_rule())
    scene.kept.change(proven_at=scene.clock.now() + timedelta(seconds=1))

    await scene.sync(make_rule())

    assert scene.cost(A) == {"head": 1}


async def test_failed_copy_leaves_no_proof(scene: KeptScene) -> None:
    """The tag may have been written after all; if it goes back at the source, the target is asked."""
    first = scene.memory.add(SOURCE, make_image("first"), "1.0")
    await scene.sync(make_rule())
    second = scene.memory.add(SOURCE, make_image("second"), "1.0")
    scene.memory.fail("head", UnavailableError("no answer"), at=A, ref="1.0", nth=2, times=None)
    await scene.sync(make_rule())
    written = scene.served(A)
    scene.memory.traps.clear()
    scene.memory.add(SOURCE, first, "1.0")

    run = await scene.sync(make_rule())

    assert written == {"1.0": second.digest}
    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": first.digest}


async def test_image_without_a_tag_is_proven_by_a_look(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"))
    rule = one_image("rule", A, digest=image.digest)
    costs = []
    for _ in range(3):
        await scene.sync(rule)
        costs.append(scene.memory.count("head", at=A, ref=image.digest))

    assert costs == [1, 1, 0]
    assert scene.kept.image(str(image.digest), A).key.target_tag == ""


# --- listings that tell digests


async def test_tags_told_by_the_source_cost_its_pages_alone(scene: KeptScene) -> None:
    tags = many(scene)
    scene.memory.tell_in_bulk(SOURCE.host, page_size=PAGE)
    due = [tag for tag in tags if is_due(SOURCE, Tag(tag), scene.clock.now())]
    await scene.sync(make_rule())

    run = await scene.sync(make_rule())

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.cost(SOURCE) == {"bulk_tags": COUNT // PAGE, "head": len(due)}, "and those whose turn it is"
    assert scene.cost(A) == {}


async def test_listing_of_a_target_is_not_asked_for_where_proofs_suffice(scene: KeptScene) -> None:
    tags = many(scene, 300)
    scene.memory.tell_in_bulk(A.host, page_size=PAGE)
    calm(scene, tags[::9], [A])
    rule = make_rule(tags=only(*tags[::9]))
    await scene.sync(rule)

    await scene.sync(rule)
    proven = scene.cost(A)
    scene.clock.advance(TURN_S * 71)
    await scene.sync(rule)

    assert proven == {}
    assert scene.cost(A) == {"bulk_tags": 1}


async def test_tags_of_a_target_that_tells_digests_are_asked_for_in_their_turn(scene: KeptScene) -> None:
    """Its listing may have stood for the proof, and lied."""
    tags = many(scene, 200)
    scene.memory.tell_in_bulk(A.host, page_size=PAGE)
    await scene.sync(make_rule())
    due = sorted(tag for tag in tags if is_due(A, Tag(tag), scene.clock.now()))

    await scene.sync(make_rule())

    assert due
    assert sorted(o.ref for o in scene.memory.log if o.verb == "head" and o.location == A) == due


async def test_listing_that_contradicts_a_proof_has_the_target_asked(scene: KeptScene) -> None:
    """One that is made for another tag tells of this one, too."""
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    scene.memory.tell_in_bulk(A.host)
    calm(scene, ["1.0", *(f"2.{n}" for n in range(9))])
    await scene.sync(make_rule())
    scene.memory.add(A, make_image("other"), "1.0")
    for number in range(9):
        scene.memory.add(SOURCE, make_image(f"more {number}"), f"2.{number}")

    run = await scene.sync(make_rule())

    assert stands(run)["1.0", A] is COPIED
    assert scene.served(A)["1.0"] == image.digest


async def test_directory_is_looked_at_each_time(scene: KeptScene) -> None:
    many(scene, 2)
    directory = LayoutDirectory("/images")
    await scene.sync(make_rule("rule", f"{directory}:{{tag}}"))

    await scene.sync(make_rule("rule", f"{directory}:{{tag}}"))

    assert scene.cost(directory) == {"head": 2}


# --- tags that never move


async def test_immutable_tags_cost_their_listing_alone_for_good(scene: KeptScene) -> None:
    many(scene)
    rule = immutable(make_rule("rule", A, B), "1.*")
    await scene.sync(rule)
    scene.clock.advance(HOUR * 17)

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert {result.reason for result in results(run)} == {"mirrored, and immutable: not asked for again"}
    assert scene.cost(SOURCE) == {"list_tags": COUNT // PAGE}
    assert scene.cost(A) == scene.cost(B) == {}


@pytest.mark.parametrize("bulk", [False, True], ids=["plain", "bulk"])
async def test_literal_immutable_tags_cost_nothing(scene: KeptScene, bulk: bool) -> None:
    tags = many(scene, 50)
    if bulk:
        scene.memory.tell_in_bulk(SOURCE.host)
        scene.memory.tell_in_bulk(A.host)
    rule = immutable(make_rule(tags=only(*tags)), "1.*")
    await scene.sync(rule)
    scene.clock.advance(HOUR * 17)

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.memory.log == []


async def test_immutable_tag_is_asked_for_until_all_targets_have_it(scene: KeptScene) -> None:
    many(scene, 1)
    rule = immutable(make_rule("rule", A, B), "1.*")
    scene.memory.fail("put_manifest", UnavailableError("no answer"), at=B, times=None)
    await scene.sync(rule)
    scene.memory.traps.clear()

    run = await scene.sync(rule)
    await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC, ("1.0", B): COPIED}
    assert scene.memory.count("head") == 0


async def test_immutable_tag_that_a_target_holds_with_another_digest_stays_blocked(scene: KeptScene) -> None:
    many(scene, 1)
    scene.memory.add(A, make_image("other"), "1.0")
    rule = immutable(make_rule(), "1.*")
    first = await scene.sync(rule)
    second = await scene.sync(rule)

    assert stands(first) == stands(second) == {("1.0", A): BLOCKED}
    assert exits(second) == EXIT_REFUSED
    assert scene.refused() == ["immutable", "immutable"]
    assert scene.kept.image("1.0", A).state is ImageState.BLOCKED


async def test_listing_that_tells_another_digest_of_an_immutable_tag_is_drift(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    scene.memory.tell_in_bulk(SOURCE.host)
    rule = immutable(make_rule(), "1.*")
    await scene.sync(rule)
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    (warning,) = warnings(run)
    assert warning.startswith(f"drift: {SOURCE}:1.0")
    assert str(moved.digest) in warning
    assert scene.noted("drift") == [warning.removeprefix("drift: ")]
    assert scene.served(A) == {"1.0": image.digest}


# --- platforms


@pytest.mark.parametrize("mode", IndexMode)
async def test_platform_filter_reads_no_index_again(scene: KeptScene, mode: IndexMode) -> None:
    for host in (A.host, B.host):
        scene.memory.hosts[host].takes_sparse = True
    rule = make_rule("rule", A, B, platforms=["linux/amd64"], mode=mode)
    for number in range(10):
        index = scene.memory.add(SOURCE, make_index(f"app {number}"), f"1.{number}")
        scene.memory.absent.update(child.digest for child in index.root.children()[1:])
    await scene.sync(rule)

    run = await scene.sync(rule)
    believed = (scene.cost(SOURCE), scene.cost(A))
    scene.clock.advance(HOUR)
    rechecked = await scene.sync(rule)

    assert set(stands(run).values()) == set(stands(rechecked).values()) == {IN_SYNC}
    assert believed == ({"list_tags": 4, "head": 10}, {})
    assert (scene.cost(SOURCE), scene.cost(A)) == ({"list_tags": 4, "head": 10}, {"head": 10})
    assert {result.digest for result in results(run)} == {result.digest for result in results(rechecked)}
    assert {result.served for result in results(run)} == {result.served for result in results(rechecked)}


async def test_platform_filter_with_told_digests_asks_for_nothing_but_the_listing(scene: KeptScene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host)
    calm(scene, ["1.0"])
    scene.memory.add(SOURCE, make_index("app"), "1.0")
    rule = make_rule(platforms=["linux/amd64"])
    await scene.sync(rule)

    await scene.sync(rule)

    assert scene.cost(SOURCE) == {"bulk_tags": 1, "list_tags": 1}


async def test_platform_filter_reads_an_index_whose_target_was_moved(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_index("app"), "1.0")
    rule = make_rule(platforms=["linux/amd64"])
    await scene.sync(rule)
    served = scene.served(A)
    scene.memory.add(A, make_image("other"), "1.0")
    scene.clock.advance(HOUR)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == served


# --- ages


def dated_images(scene: KeptScene, count: int) -> None:
    """Put images at the source that were created a day apart."""
    for number in range(count):
        created = {"created": f"2025-12-{number + 1:02}T00:00:00Z"}
        scene.memory.add(SOURCE, image_with_config(f"app {number}", created), f"1.{number}")


NEWEST = TagSelector(newest=Newest(count=2, by=NewestBy.CREATED))


@pytest.mark.covers("C22")
async def test_ages_are_read_once_a_digest(scene: KeptScene) -> None:
    dated_images(scene, 9)
    rule = make_rule(tags=NEWEST)
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert stands(run) == {("1.7", A): IN_SYNC, ("1.8", A): IN_SYNC}
    assert scene.cost(SOURCE) == {"list_tags": 3, "head": 9}
    assert sorted(filter(None, scene.kept.times.values())) == [datetime(2025, 12, 1 + n, tzinfo=UTC) for n in range(9)]


async def test_told_digests_are_dated_without_a_look(scene: KeptScene) -> None:
    dated_images(scene, 9)
    scene.memory.tell_in_bulk(SOURCE.host)
    calm(scene, [f"1.{number}" for number in range(9)])
    rule = make_rule(tags=NEWEST)
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert stands(run) == {("1.7", A): IN_SYNC, ("1.8", A): IN_SYNC}
    assert scene.cost(SOURCE) == {"bulk_tags": 1, "list_tags": 1}


async def test_immutable_tags_are_dated_without_a_look(scene: KeptScene) -> None:
    dated_images(scene, 3)
    rule = immutable(make_rule(tags=only("1.*", max_age=timedelta(days=100))), "1.*")
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.cost(SOURCE) == {"list_tags": 1}


async def test_image_that_cannot_be_dated_is_read_again(scene: KeptScene) -> None:
    """What is damaged may be repaired; only what an image itself says is kept."""
    dated_images(scene, 1)
    scene.memory.fail("manifest", UnavailableError("no answer"), at=SOURCE, times=1)
    rule = make_rule(tags=NEWEST)

    first = await scene.sync(rule)
    second = await scene.sync(rule)

    assert stands(first) == {("1.0", A): FAILED}
    assert stands(second) == {("1.0", A): COPIED}


# --- blobs


async def test_blob_is_mounted_from_where_an_earlier_run_brought_it(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    elsewhere = Repository(A.host, "other/app")
    await scene.sync(make_rule())

    run = await scene.sync(make_rule("other", elsewhere))

    assert stands(run) == {("1.0", elsewhere): COPIED}
    assert scene.memory.count("mount_blob", at=elsewhere) == len(image.blobs)
    assert scene.memory.count("blob", "put_blob", "has_blob") == 0
    assert scene.kept.calls["holders"] == 2, "one question a run and registry"


async def test_blob_that_is_not_where_it_was_is_uploaded_and_the_place_forgotten(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    elsewhere = Repository(A.host, "other/app")
    for digest in image.blobs:
        scene.kept.keep_holder(A, digest, scene.clock.now())

    run = await scene.sync(make_rule("other", elsewhere))

    assert stands(run) == {("1.0", elsewhere): COPIED}
    assert scene.memory.count("mount_blob", at=elsewhere) == len(image.blobs)
    for digest in image.blobs:
        assert list(scene.kept.places[A.host, digest]) == [elsewhere]


async def test_place_in_the_target_itself_is_not_believed(scene: KeptScene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    for digest in image.blobs:
        scene.kept.keep_holder(A, digest, scene.clock.now())

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.memory.count("put_blob", at=A) == len(image.blobs)
    assert scene.memory.violations == []


async def test_run_without_a_memory_mounts_from_nowhere_it_does_not_know() -> None:
    scene = Scene()
    scene.memory.add(SOURCE, make_image("app"), "1.0")
    elsewhere = Repository(A.host, "other/app")
    await scene.sync(make_rule())

    await scene.sync(make_rule("other", elsewhere))

    assert scene.memory.count("mount_blob") == 0


async def test_referrers_that_are_switched_off_change_what_was_proven(scene: KeptScene) -> None:
    many(scene, 1)
    await scene.sync(make_rule())

    await scene.sync(replace(make_rule(), referrers=Referrers(enabled=False)))

    assert scene.cost(A) == {"head": 1}
