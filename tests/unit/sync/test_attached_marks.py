"""Attachment tags that are remembered: they spare looks and walks, and hide nothing that comes, moves or is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import UnavailableError
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.memory import SOONEST, mark_of_tags
from mirrord.planning.report import Outcome
from mirrord.planning.rotation import TURN_S, is_due
from mirrord.planning.rule import Referrers
from mirrord.sync.late import Compared, find_late
from mirrord.sync.remembered import Proof
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.unit.sync.kept import DAY, HOUR, KeptScene, rechecking
from tests.unit.sync.scene import SOURCE, A, B, make_rule, stands

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED = Outcome.IN_SYNC, Outcome.COPIED
IMAGE = make_image("app")
SIG = cosign_tags(IMAGE.digest)[0]
FALLBACK = fallback_tag(IMAGE.digest)


@pytest.fixture
def scene() -> KeptScene:
    """An image with a signature under cosign's tag, at a source that lists names alone."""
    scene = KeptScene()
    scene.memory.add(SOURCE, IMAGE, "1.0")
    scene.memory.add(SOURCE, make_artifact("signature"), str(SIG))
    return scene


@pytest.fixture
def listed() -> KeptScene:
    """An image with an SBOM that the source keeps under the fallback tag; targets have the referrers API."""
    scene = KeptScene()
    scene.memory.hosts[SOURCE.host].referrers_api = False
    scene.memory.add(SOURCE, IMAGE, "1.0")
    scene.memory.add(SOURCE, sbom("first"))
    return scene


def sbom(name: str) -> Content:
    return make_artifact(name, subject=IMAGE.descriptor)


def soon(scene: KeptScene) -> None:
    """Let less time pass than any proof holds."""
    scene.clock.advance(HOUR * SOONEST - 1)


@pytest.mark.parametrize("runs", [1, 2, 3])
async def test_signed_image_costs_the_target_nothing_after_its_copy(scene: KeptScene, runs: int) -> None:
    run = await scene.sync(make_rule("rule", A, B))
    for _ in range(runs):
        scene.clock.advance(60)
        run = await scene.sync(make_rule("rule", A, B))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.cost(SOURCE) == {"list_tags": 1, "head": 2}
    assert scene.cost(A) == scene.cost(B) == {}


async def test_what_the_source_lists_under_the_fallback_tag_is_not_walked_again(listed: KeptScene) -> None:
    await listed.sync(make_rule())
    soon(listed)

    run = await listed.sync(make_rule())
    at_source, at_target = listed.cost(SOURCE), listed.cost(A)
    listed.clock.advance(HOUR)
    await listed.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert (at_source, at_target) == ({"list_tags": 1, "head": 2}, {})
    assert listed.cost(SOURCE) == {"list_tags": 1, "head": 2}
    assert listed.cost(A) == {"head": 1}, "the image itself, whose proof is old"


async def test_what_is_added_under_the_fallback_tag_is_brought_at_once(listed: KeptScene) -> None:
    await listed.sync(make_rule())
    second = listed.memory.add(SOURCE, sbom("second"))
    listed.clock.advance(60)

    run = await listed.sync(make_rule())
    listed.clock.advance(60)
    await listed.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert second.digest in listed.memory.at(A).manifests
    assert (listed.cost(SOURCE), listed.cost(A)) == ({"list_tags": 1, "head": 2}, {})


async def test_signature_that_moves_is_brought_at_once(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    again = scene.memory.add(SOURCE, make_artifact("signed again"), str(SIG))
    scene.clock.advance(60)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.memory.at(A).tags[SIG] == again.digest


async def test_signature_that_a_target_lost_is_repaired_after_the_recheck(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    del scene.memory.at(A).tags[SIG]

    soon(scene)
    believed = await scene.sync(make_rule())
    scene.clock.advance(HOUR)
    repaired = await scene.sync(make_rule())

    assert (stands(believed), stands(repaired)) == ({("1.0", A): IN_SYNC}, {("1.0", A): COPIED})
    assert SIG in scene.memory.at(A).tags


async def test_one_target_that_lost_its_signature_does_not_have_the_other_walked(scene: KeptScene) -> None:
    await scene.sync(make_rule("rule", A, B))
    del scene.memory.at(A).tags[SIG]
    scene.clock.advance(HOUR)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): COPIED, ("1.0", B): IN_SYNC}
    assert scene.cost(B) == {"head": 2}


async def test_target_recheck_of_zero_asks_for_signatures_each_time(scene: KeptScene) -> None:
    rule = rechecking(make_rule(), target=timedelta(0))
    await scene.sync(rule)
    del scene.memory.at(A).tags[SIG]

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}


async def test_target_whose_listing_tells_another_signature_is_asked(scene: KeptScene) -> None:
    """A listing that was made anyway contradicts what is remembered."""
    await scene.sync(make_rule())
    moved = scene.memory.add(A, make_artifact("moved by somebody"), str(SIG))
    context = scene.context()
    proofs: dict[Location, Proof] = {
        A: Proof(mark=mark_of_tags({SIG: scene.memory.at(SOURCE).tags[SIG]}), is_recent=True)
    }

    async def compare() -> Compared:
        reader, writer = scene.memory.reader(SOURCE), scene.memory.writer(A)
        return await find_late(context, make_rule(), reader, [writer], [SIG], proofs=proofs)

    believed = await compare()
    context.hints.learn(A, [TagEntry(tag=SIG, digest=moved.digest)])
    asked = await compare()

    assert (believed.late, believed.same) == (frozenset(), frozenset())
    assert asked.late == {A}


@pytest.mark.parametrize("due", [False, True])
async def test_signature_is_asked_for_in_its_turn_where_listings_tell_digests(scene: KeptScene, due: bool) -> None:
    """There a listing may have stood for the proof."""
    await scene.sync(make_rule())
    scene.memory.tell_in_bulk(A.host)
    while is_due(A, SIG, scene.clock.now()) is not due:
        scene.clock.advance(TURN_S)
    scene.kept.change(attached_at=scene.clock.now(), proven_at=scene.clock.now())

    await scene.sync(make_rule())

    assert scene.memory.count("head", at=A, ref=SIG) == due


async def test_attachment_that_could_not_be_brought_is_tried_again(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.memory.add(SOURCE, make_artifact("signed again"), str(SIG))
    scene.clock.advance(60)
    scene.memory.fail("put_manifest", UnavailableError("no"), at=A, times=None)
    failed = await scene.sync(make_rule())
    scene.memory.traps.clear()
    scene.clock.advance(60)

    run = await scene.sync(make_rule())

    assert stands(failed)["1.0", A] is not COPIED
    assert stands(run) == {("1.0", A): COPIED}


async def test_source_that_cannot_tell_its_signature_has_the_image_looked_at_more_closely(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.clock.advance(60)
    scene.memory.fail("head", UnavailableError("no"), at=SOURCE, ref=SIG, times=1)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.cost(A)["head"] > 0


async def test_signature_of_a_type_that_the_rule_leaves_is_not_walked_for_each_time(scene: KeptScene) -> None:
    rule = replace(make_rule(), referrers=Referrers(types=("application/spdx+json",)))
    await scene.sync(rule)
    scene.clock.advance(60)
    await scene.sync(rule)
    scene.clock.advance(60)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert SIG not in scene.memory.at(A).tags
    assert (scene.cost(SOURCE), scene.cost(A)) == ({"list_tags": 1, "head": 2}, {})


async def test_tag_that_moves_to_an_unsigned_image_and_back_is_compared_anew(scene: KeptScene) -> None:
    """What was shown of the signature went with the other image."""
    await scene.sync(make_rule())
    scene.memory.add(SOURCE, make_index("other"), "1.0")
    scene.clock.advance(60)
    await scene.sync(make_rule())
    del scene.memory.at(A).tags[SIG]
    scene.memory.at(SOURCE).tags[Tag("1.0")] = IMAGE.digest
    scene.clock.advance(60)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert SIG in scene.memory.at(A).tags


async def test_new_scope_has_attachments_compared_anew(scene: KeptScene) -> None:
    """A rule that begins to take attachments brings those of images that it mirrored without."""
    without = replace(make_rule(), referrers=Referrers(enabled=False))
    await scene.sync(without)
    scene.clock.advance(60)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert SIG in scene.memory.at(A).tags


async def test_fallback_tag_is_compared_again_by_the_recheck_of_referrers(listed: KeptScene) -> None:
    await listed.sync(make_rule())
    listed.clock.advance(DAY)

    run = await listed.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert listed.cost(SOURCE)["referrers"] == 1
