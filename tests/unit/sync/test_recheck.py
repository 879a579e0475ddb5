"""Attachments that come later, where runs remember: asked about in turn, and walked only when something came."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import DeniedError, UnavailableError
from mirrord.oci.reference import LayoutDirectory, Location
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.keeping import MOST_SUBJECTS
from mirrord.planning.memory import ImageState
from mirrord.planning.report import Outcome
from mirrord.planning.rule import IndexMode, Referrers, Rule
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.prepare import LATE
from mirrord.sync.recheck import fold
from tests.fakes.images import Content, child, index_of, make_artifact, make_image, make_index
from tests.fakes.memory import Memory, MemoryRepository
from tests.unit.sync.kept import DAY, HOUR, KeptScene, immutable, rechecking
from tests.unit.sync.scene import SOURCE, A, B, make_rule, results, stands, warnings

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.FAILED
SPDX = "application/spdx+json"


@pytest.fixture
def scene() -> KeptScene:
    return KeptScene()


@pytest.fixture
def image(scene: KeptScene) -> Content:
    return scene.memory.add(SOURCE, make_image("app"), "1.0")


def attach(scene: KeptScene, image: Content, name: str = "sbom", location: Location = SOURCE) -> Content:
    """Attach an SBOM to an image."""
    return scene.memory.add(location, make_artifact(name, subject=image.descriptor, artifact_type=SPDX))


def fresh(scene: KeptScene) -> KeptScene:
    """Return the same registries, seen by a process that remembers nothing."""
    return KeptScene(memory=scene.memory, clock=scene.clock)


@pytest.mark.covers("C22")
async def test_unchanged_images_cost_one_question_a_subject_after_their_recheck(scene: KeptScene) -> None:
    for number in range(10):
        scene.memory.add(SOURCE, make_image(f"app {number}"), f"1.{number}")
    rule = rechecking(make_rule("rule", A, B), target=timedelta(days=30))
    await scene.sync(rule)
    scene.clock.advance(DAY)

    run = await scene.sync(rule)
    rechecked = scene.cost(SOURCE)
    await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert rechecked == {"list_tags": 4, "head": 10, "referrers": 10}
    assert scene.cost(SOURCE) == {"list_tags": 4, "head": 10}
    assert scene.cost(A) == scene.cost(B) == {}


async def test_late_sbom_is_found_after_the_recheck(scene: KeptScene, image: Content) -> None:
    for number in range(5):
        scene.memory.add(SOURCE, make_image(f"other {number}"), f"2.{number}")
    await scene.sync(make_rule("rule", A, B))
    sbom = attach(scene, image)
    scene.clock.advance(HOUR)

    early = await scene.sync(make_rule("rule", A, B))
    scene.clock.advance(DAY)
    late = await scene.sync(make_rule("rule", A, B))
    manifests = [o.ref for o in scene.memory.log if o.verb == "manifest" and o.location == SOURCE]
    again = await scene.sync(make_rule("rule", A, B))

    assert set(stands(early).values()) == set(stands(again).values()) == {IN_SYNC}
    assert stands(late) == {
        (tag, place): COPIED if tag == "1.0" else IN_SYNC
        for tag in ("1.0", *(f"2.{n}" for n in range(5)))
        for place in (A, B)
    }
    assert {result.reason for result in results(late) if result.outcome is COPIED} == {LATE}
    assert sorted(manifests) == sorted([str(image.digest), str(sbom.digest)]), "no unchanged image is walked"
    assert sbom.digest in scene.memory.at(A).manifests
    assert sbom.digest in scene.memory.at(B).manifests
    assert scene.memory.count("referrers") == 0


async def test_referrers_of_children_and_of_attachments_are_asked_for(scene: KeptScene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    sbom = attach(scene, index)
    await scene.sync(make_rule())
    signature = attach(scene, sbom, "signature of the SBOM")
    scene.clock.advance(DAY)

    run = await scene.sync(make_rule())

    subjects = scene.kept.image("1.0", A).subjects
    assert stands(run) == {("1.0", A): COPIED}
    assert signature.digest in scene.memory.at(A).manifests
    assert set(subjects) == {*index.manifests, sbom.digest, signature.digest}


async def test_fresh_memory_looks_at_images_in_turn_within_the_recheck(scene: KeptScene) -> None:
    """Not at all of them in one run, which would read as much as copying them."""
    for number in range(40):
        scene.memory.add(SOURCE, make_image(f"app {number}"), f"1.{number}")
    await scene.sync(make_rule())
    anew = fresh(scene)
    walked = []
    for _ in range(25):
        await anew.sync(make_rule())
        walked.append(anew.memory.count("manifest"))
        anew.clock.advance(HOUR)

    assert walked[0] == 0
    assert sum(walked) == 40
    assert max(walked) < 8


async def test_fresh_memory_finds_an_sbom_that_came_before_it(scene: KeptScene, image: Content) -> None:
    await scene.sync(make_rule())
    sbom = attach(scene, image)
    anew = fresh(scene)
    await anew.sync(make_rule())
    anew.clock.advance(DAY)

    run = await anew.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests


async def test_recheck_of_zero_looks_closely_each_time(scene: KeptScene, image: Content) -> None:
    """Also at the target: what was deleted there comes back."""
    sbom = attach(scene, image)
    rule = rechecking(make_rule(), referrers=timedelta(0))
    await scene.sync(rule)
    del scene.memory.at(A).manifests[sbom.digest]

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests


async def test_late_sbom_of_an_immutable_tag_is_found(scene: KeptScene, image: Content) -> None:
    """The tag is not asked for again; what is attached to its digest is."""
    rule = immutable(make_rule(), "1.0")
    await scene.sync(rule)
    sbom = attach(scene, image)
    scene.clock.advance(DAY)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert scene.memory.count("head", ref="1.0") == 0


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        pytest.param(SPDX, True, id="wanted"),
        pytest.param("application/vnd.other", False, id="not wanted"),
        pytest.param("", True, id="type not told"),
    ],
)
async def test_attachments_of_other_types_change_no_mark(
    scene: KeptScene, image: Content, told: str, changes: bool
) -> None:
    answer = replace(attach(scene, image).descriptor, artifact_type=told)
    wanted = Referrers(types=(SPDX,))

    before = fold(scene.context(), {image.digest: ()}, wanted)
    after = fold(scene.context(), {image.digest: (answer,)}, wanted)

    assert (before.mark != after.mark) is changes
    assert before.subjects == after.subjects == (image.digest,)


async def test_changed_types_are_looked_for_in_images_that_are_in_sync(scene: KeptScene, image: Content) -> None:
    rule = replace(make_rule(), referrers=Referrers(types=("application/vnd.other",)))
    sbom = attach(scene, image)
    await scene.sync(rule)
    scene.clock.advance(DAY)

    run = await scene.sync(replace(rule, referrers=Referrers(types=(SPDX,))))

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests


async def test_target_that_has_a_late_sbom_already_is_settled_by_a_closer_look(
    scene: KeptScene, image: Content
) -> None:
    await scene.sync(make_rule("rule", A, B))
    attach(scene, image)
    attach(scene, image, location=B)
    scene.clock.advance(DAY)

    run = await scene.sync(make_rule("rule", A, B))
    await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): COPIED, ("1.0", B): IN_SYNC}
    assert scene.memory.count("referrers") == 0
    assert scene.kept.image("1.0", B).referrers_mark == scene.kept.image("1.0", A).referrers_mark


async def test_image_lacks_its_late_sbom_until_it_was_brought(scene: KeptScene, image: Content) -> None:
    """Freshness counts from when it was noticed, however many runs fail after that."""
    await scene.sync(make_rule())
    sbom = attach(scene, image)
    scene.clock.advance(DAY)
    noticed = scene.clock.now()
    scene.memory.fail("put_manifest", DeniedError("no"), at=A, times=None)
    for _ in range(3):
        run = await scene.sync(make_rule())

        assert stands(run) == {("1.0", A): FAILED}
        kept = scene.kept.image("1.0", A)
        assert (kept.state, kept.behind_since) == (ImageState.FAILED, noticed)
        assert kept.served == image.digest
        scene.clock.advance(HOUR)
    scene.memory.traps.clear()

    run = await scene.sync(make_rule())

    kept = scene.kept.image("1.0", A)
    assert stands(run) == {("1.0", A): COPIED}
    assert (kept.state, kept.behind_since) == (ImageState.IN_SYNC, None)
    assert sbom.digest in scene.memory.at(A).manifests


async def test_image_that_lacked_an_sbom_which_went_away_is_in_sync_again(scene: KeptScene, image: Content) -> None:
    await scene.sync(make_rule())
    sbom = attach(scene, image)
    scene.clock.advance(DAY)
    scene.memory.fail("put_manifest", DeniedError("no"), at=A, times=None)
    await scene.sync(make_rule())
    del scene.memory.at(SOURCE).manifests[sbom.digest]

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.kept.image("1.0", A).behind_since is None


async def test_source_that_does_not_tell_its_referrers_is_asked_again(scene: KeptScene, image: Content) -> None:
    await scene.sync(make_rule())
    before = scene.kept.image("1.0", A)
    scene.clock.advance(DAY)
    scene.memory.fail("referrers", UnavailableError("no answer"), at=SOURCE, times=None)

    run = await scene.sync(make_rule())
    kept = scene.kept.image("1.0", A)
    scene.memory.traps.clear()
    again = await scene.sync(make_rule())

    assert stands(run) == stands(again) == {("1.0", A): IN_SYNC}
    assert any("whether attachments came later is not known" in warning for warning in warnings(run))
    assert kept.referrers_at == before.referrers_at
    assert scene.memory.count("referrers") == 1
    assert scene.kept.image("1.0", A).referrers_at == scene.clock.now()


async def test_source_without_the_api_is_not_asked_about_each_image(scene: KeptScene) -> None:
    """Its fallback tags show in the listing."""
    scene.memory.hosts[SOURCE.host].referrers_api = False
    for number in range(9):
        scene.memory.add(SOURCE, make_image(f"app {number}"), f"1.{number}")
    await scene.sync(make_rule())
    scene.clock.advance(DAY)

    await scene.sync(make_rule())

    assert scene.memory.count("referrers") == 0
    assert scene.memory.count("manifest") == 0


async def test_fallback_tag_that_appears_is_followed_at_once(scene: KeptScene, image: Content) -> None:
    scene.memory.hosts[SOURCE.host].referrers_api = False
    scene.memory.hosts[A.host].referrers_api = False
    await scene.sync(make_rule())
    sbom = attach(scene, image)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert str(fallback_tag(image.digest)) in scene.served(A)


async def test_image_of_very_many_manifests_is_walked_by_its_recheck(scene: KeptScene) -> None:
    members = [make_image(f"app {number}", layers=1) for number in range(MOST_SUBJECTS)]
    index = scene.memory.add(SOURCE, index_of([(one, child(one)) for one in members]), "1.0")
    await scene.sync(make_rule())
    sbom = attach(scene, index)
    scene.clock.advance(DAY)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert scene.kept.image("1.0", A).subjects == ()


# --- with a platform filter


def filtered(mode: IndexMode) -> Rule:
    return make_rule(platforms=["linux/amd64"], mode=mode)


async def test_sparse_index_gets_its_late_sbom_and_nothing_of_absent_children(scene: KeptScene) -> None:
    scene.memory.hosts[A.host].takes_sparse = True
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    absent = next(m for m in index.manifests.values() if m.descriptor.digest == index.root.children()[1].digest)
    scene.memory.absent.add(absent.descriptor.digest)
    await scene.sync(filtered(IndexMode.SPARSE))
    sbom = attach(scene, index)
    other = scene.memory.add(SOURCE, make_artifact("of another platform", subject=absent.descriptor))
    scene.clock.advance(DAY)

    run = await scene.sync(filtered(IndexMode.SPARSE))

    assert stands(run) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert other.digest not in scene.memory.at(A).manifests


async def test_sparse_index_that_cannot_be_read_is_left_to_the_next_run(scene: KeptScene) -> None:
    scene.memory.hosts[A.host].takes_sparse = True
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    scene.memory.absent.add(index.root.children()[1].digest)
    await scene.sync(filtered(IndexMode.SPARSE))
    sbom = attach(scene, index)
    scene.clock.advance(DAY)
    scene.memory.fail("manifest", UnavailableError("no answer"), at=SOURCE)

    first = await scene.sync(filtered(IndexMode.SPARSE))
    second = await scene.sync(filtered(IndexMode.SPARSE))

    assert stands(first) == {("1.0", A): IN_SYNC}
    assert stands(second) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests


async def test_rewritten_index_is_not_rechecked(scene: KeptScene) -> None:
    """What is attached to the original is not about it."""
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    await scene.sync(filtered(IndexMode.REWRITE))
    attach(scene, index)
    scene.clock.advance(DAY)

    run = await scene.sync(filtered(IndexMode.REWRITE))

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.memory.count("referrers", "manifest") == 0


# --- where pulls are few


class MeteredMemory(Memory):
    """Registries the source of which counts every manifest that is fetched."""

    def reader(self, location: Location) -> RepositoryReader:
        """Return a reader that says so."""
        return _Metered(self, location) if location == SOURCE else super().reader(location)


class _Metered(MemoryRepository):
    @property
    def metered(self) -> bool:
        return True


@pytest.mark.parametrize("attached", [False, True])
async def test_metered_source_is_walked_only_where_its_root_has_something_attached(attached: bool) -> None:
    """A memory that is new would else spend the quota on images that are in sync."""
    scene = KeptScene(memory=MeteredMemory())
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    await scene.sync(make_rule())
    if attached:
        attach(scene, image)
    anew = fresh(scene)
    await anew.sync(make_rule())
    anew.clock.advance(DAY)

    run = await anew.sync(make_rule())
    cost = (anew.memory.count("manifest", at=SOURCE), anew.memory.count("referrers", at=SOURCE))
    await anew.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED if attached else IN_SYNC}
    assert cost == ((2, 3) if attached else (0, 1))
    assert anew.memory.count("manifest", "referrers", at=SOURCE) == 0


async def test_directory_is_rechecked_like_a_registry(scene: KeptScene, image: Content) -> None:
    directory = LayoutDirectory("/images")
    rule = make_rule("rule", f"{directory}:{{tag}}")
    await scene.sync(rule)
    sbom = attach(scene, image)
    scene.clock.advance(DAY)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", directory): COPIED}
    assert sbom.digest in scene.memory.at(directory).manifests
