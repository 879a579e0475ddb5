from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import DeniedError, UnavailableError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import EXIT_REFUSED, Outcome
from mirrord.planning.rule import IndexMode, Policy, Referrers, Rule
from mirrord.sync.prepare import LATE
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.unit.sync.scene import (
    SOURCE,
    A,
    B,
    Scene,
    adds_up,
    codes,
    exits,
    make_rule,
    only,
    results,
    stands,
    warnings,
)

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, FAILED, BLOCKED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.FAILED, Outcome.BLOCKED
SPDX = "application/spdx+json"


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app"), "1.0")


def sign(scene: Scene, image: Content, suffix: str = "sig", name: str = "signature") -> tuple[Content, str]:
    """Attach a signature to an image as cosign does."""
    tag = str(fallback_tag(image.digest)) + "." + suffix
    return scene.memory.add(SOURCE, make_artifact(name), tag), tag


def attach(scene: Scene, image: Content, name: str = "sbom") -> Content:
    """Attach an SBOM to an image by its subject."""
    return scene.memory.add(SOURCE, make_artifact(name, subject=image.descriptor, artifact_type=SPDX))


def rechecking(rule: Rule) -> Rule:
    return replace(rule, referrers=Referrers(recheck=timedelta(0)))


def without_referrers(rule: Rule) -> Rule:
    return replace(rule, referrers=Referrers(enabled=False, recheck=timedelta(0)))


@pytest.mark.covers("C9", "C22")
async def test_sync_copies_a_signature_that_came_after_its_image_and_only_that(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    signature, tag = sign(scene, image)

    second = await scene.sync(make_rule())
    moved = [(operation.verb, operation.ref) for operation in scene.memory.effects]
    third = await scene.sync(make_rule())

    assert stands(second) == {("1.0", A): COPIED}
    assert [(result.reason, result.referrers) for result in results(second)] == [(LATE, 1)]
    assert moved == [
        *(("blob", str(digest)) for digest in signature.blobs),
        ("manifest", str(signature.digest)),
        ("tag", tag),
    ]
    assert scene.served(A) == {"1.0": image.digest, tag: signature.digest}
    assert stands(third) == {("1.0", A): IN_SYNC}
    assert scene.writes() == 0
    assert adds_up(second)
    assert adds_up(third)


async def test_sync_replaces_a_signature_that_was_added_to(scene: Scene, image: Content) -> None:
    sign(scene, image)
    await scene.sync(make_rule())
    more, tag = sign(scene, image, name="two signatures")

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A)[tag] == more.digest


@pytest.mark.covers("C22")
async def test_sync_looks_at_attachment_tags_once_a_side(scene: Scene, image: Content) -> None:
    """However many targets there are: an image in sync with its signatures costs one look a tag and side."""
    tags = [sign(scene, image, suffix, name=suffix)[1] for suffix in ("sig", "att", "sbom")]
    await scene.sync(make_rule("rule", A, B))

    run = await scene.sync(make_rule("rule", A, B))

    assert set(stands(run).values()) == {IN_SYNC}
    for tag in ("1.0", *tags):
        for location in (SOURCE, A, B):
            assert scene.memory.count("head", at=location, ref=tag) == 1, (tag, location)
    assert scene.memory.count("manifest", "blob", "referrers", "has_blob") == 0


async def test_sync_brings_a_late_signature_to_the_targets_that_lack_it(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule("rule", A, B))
    signature, tag = sign(scene, image)
    scene.memory.add(B, signature, tag)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): COPIED, ("1.0", B): IN_SYNC}
    assert scene.writes(at=B) == 0


async def test_sync_brings_signatures_to_new_and_old_targets_in_one_go(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    signature, tag = sign(scene, image)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): COPIED, ("1.0", B): COPIED}
    assert scene.served(A) == scene.served(B) == {"1.0": image.digest, tag: signature.digest}
    for digest in signature.blobs:
        assert scene.memory.count("blob", at=SOURCE, ref=digest) == 1
    assert adds_up(run)


async def test_sync_copies_a_late_signature_of_an_image_with_several_tags_once(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, image, "latest")
    await scene.sync(make_rule())
    sign(scene, image)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED, ("latest", A): COPIED}
    assert len(results(run)) == 1
    assert adds_up(run)


async def test_sync_finds_late_referrers_by_the_fallback_tag(scene: Scene, image: Content) -> None:
    scene.memory.hosts[SOURCE.host].referrers_api = False
    scene.memory.hosts[A.host].referrers_api = False
    await scene.sync(make_rule())
    sbom = attach(scene, image)

    second = await scene.sync(make_rule())
    third = await scene.sync(make_rule())

    assert stands(second) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert str(fallback_tag(image.digest)) in scene.served(A)
    assert stands(third) == {("1.0", A): IN_SYNC}
    assert scene.writes() == 0


async def test_sync_settles_an_image_whose_fallback_tags_differ_for_good(scene: Scene, image: Content) -> None:
    """A target with the referrers API has no fallback tag: a closer look finds that nothing is missing."""
    scene.memory.hosts[SOURCE.host].referrers_api = False
    attach(scene, image)
    await scene.sync(make_rule())

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.writes() == 0


async def test_sync_does_not_ask_the_referrers_api_about_unchanged_images(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    attach(scene, image)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.memory.count("referrers") == 0


async def test_sync_asks_the_referrers_api_where_the_rule_says_each_time(scene: Scene, image: Content) -> None:
    rule = rechecking(make_rule())
    await scene.sync(rule)
    sbom = attach(scene, image)

    second = await scene.sync(rule)
    third = await scene.sync(rule)

    assert stands(second) == {("1.0", A): COPIED}
    assert sbom.digest in scene.memory.at(A).manifests
    assert stands(third) == {("1.0", A): IN_SYNC}
    assert scene.memory.count("referrers", at=SOURCE) == 2  # of the image, and of what is attached to it
    assert scene.writes() == 0


async def test_sync_without_referrers_looks_for_none(scene: Scene, image: Content) -> None:
    await scene.sync(without_referrers(make_rule()))
    _, tag = sign(scene, image)
    attach(scene, image)

    run = await scene.sync(without_referrers(make_rule()))

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.memory.count("referrers") == scene.memory.count("head", ref=tag) == 0
    assert scene.served(A) == {"1.0": image.digest}


async def test_sync_takes_only_late_attachments_of_the_types_that_the_rule_names(scene: Scene, image: Content) -> None:
    rule = replace(make_rule(), referrers=Referrers(types=(SPDX,)))
    await scene.sync(rule)
    sign(scene, image)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.writes() == 0


async def test_sync_leaves_the_attachments_of_a_rewritten_index_behind(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    rule = make_rule(platforms=["linux/amd64"])
    await scene.sync(rule)
    sign(scene, index)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert scene.writes() == 0


async def test_sync_copies_late_signatures_of_a_sparse_index(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    scene.memory.hosts[A.host].takes_sparse = True
    rule = make_rule(platforms=["linux/amd64"], mode=IndexMode.SPARSE)
    scene.memory.absent |= {c.digest for c in index.index.manifests if str(c.platform) != "linux/amd64"}
    await scene.sync(rule)
    signature, tag = sign(scene, index)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A)[tag] == signature.digest


async def test_sync_ignores_attachment_tags_whose_image_is_not_taken(scene: Scene, image: Content) -> None:
    other = scene.memory.add(SOURCE, make_image("other"), "other")
    _, tag = sign(scene, other)

    run = await scene.sync(make_rule(tags=only("1*")))

    assert stands(run) == {("1.0", A): COPIED}
    assert tag not in scene.served(A)


async def test_sync_ignores_an_attachment_tag_that_vanished(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    _, tag = sign(scene, image)
    scene.memory.when("head", lambda: scene.memory.at(SOURCE).tags.pop(Tag(tag)), at=SOURCE, ref=tag)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert warnings(run) == []


@pytest.mark.parametrize("at", [SOURCE, A], ids=["source", "target"])
async def test_sync_looks_closer_where_a_look_at_an_attachment_failed(
    scene: Scene, image: Content, at: Repository
) -> None:
    await scene.sync(make_rule())
    signature, tag = sign(scene, image)
    scene.memory.fail("head", UnavailableError("no answer"), at=at, ref=tag)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A)[tag] == signature.digest


async def test_sync_warns_where_it_cannot_tell_whether_attachments_came_later(scene: Scene, image: Content) -> None:
    rule = rechecking(make_rule())
    await scene.sync(rule)
    scene.memory.fail("referrers", DeniedError("no"), at=SOURCE)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    (warning,) = warnings(run)
    assert warning.startswith(f"{SOURCE}@{image.digest}: whether attachments came later is not known: DENIED: no")
    assert exits(run) == 0
    assert adds_up(run)


@pytest.mark.covers("C9", "C49")
async def test_sync_fails_an_image_whose_late_signature_cannot_be_copied(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    signature, tag = sign(scene, image)
    scene.memory.fail("put_manifest", DeniedError("no"), at=A, ref=tag)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): FAILED}
    assert adds_up(run)
    assert exits(run) == 1
    assert signature.digest not in scene.memory.at(A).manifests


async def test_sync_fails_a_new_target_and_warns_of_an_old_one_where_attachments_are_not_told(
    scene: Scene, image: Content
) -> None:
    await scene.sync(make_rule())
    _, tag = sign(scene, image)
    scene.memory.fail("head", DeniedError("no"), at=SOURCE, ref=tag, times=None)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): IN_SYNC, ("1.0", B): FAILED}
    assert len(warnings(run)) == 1
    assert adds_up(run)


async def test_sync_finds_every_late_attachment_tag_of_cosign(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    for suffix in ("sig", "att", "sbom"):
        sign(scene, image, suffix, name=suffix)

    await scene.sync(make_rule())

    assert {str(tag) for tag in cosign_tags(image.digest)} < scene.served(A).keys()


async def test_sync_fails_only_the_old_target_that_cannot_be_asked_about_attachments(
    scene: Scene, image: Content
) -> None:
    _, tag = sign(scene, image)
    await scene.sync(make_rule())
    scene.memory.fail("head", UnavailableError("no answer"), at=A, ref=tag, times=None)
    scene.memory.fail("put_manifest", UnavailableError("no answer"), at=A, times=None)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): FAILED, ("1.0", B): COPIED}
    assert adds_up(run)


async def test_sync_does_not_look_for_attachments_on_a_target_that_cannot_be_asked(
    scene: Scene, image: Content
) -> None:
    await scene.sync(make_rule("rule", A, B))
    _, tag = sign(scene, image)
    scene.memory.fail("head", UnavailableError("no answer"), at=A, times=None)
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE, ref=tag)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {("1.0", A): FAILED, ("1.0", B): COPIED}
    assert scene.memory.count("head", at=A) == 1


async def test_sync_copies_late_signatures_where_another_tag_of_the_image_is_blocked(
    scene: Scene, image: Content
) -> None:
    rule = replace(make_rule(), policy=Policy(overwrite=False))
    await scene.sync(rule)
    scene.memory.add(SOURCE, image, "latest")
    scene.memory.add(A, make_image("other"), "latest")
    signature, tag = sign(scene, image)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED, ("latest", A): Outcome.BLOCKED}
    assert scene.served(A)[tag] == signature.digest
    assert adds_up(run)


# --- tags of attachments that must not move


def strict(*targets: Repository, rule: Rule | None = None) -> Rule:
    """Return a rule that moves no tag."""
    return replace(rule or make_rule("rule", *targets), policy=Policy(overwrite=False))


@pytest.mark.covers("C7")
async def test_signature_that_would_have_to_move_blocks_its_image(scene: Scene, image: Content) -> None:
    """Signed once more at the source: the target keeps what it has, in every run, and each run says so."""
    old, tag = sign(scene, image)
    await scene.sync(strict(A))
    sign(scene, image, name="signed once more")

    for _ in range(2):
        planned, forecast = await scene.forecast(strict(A))
        run = await scene.sync(strict(A))

        (result,) = results(run)
        assert result.outcome is BLOCKED
        assert result.problem is not None
        assert result.problem.code == "OVERWRITE_FORBIDDEN"
        assert tag in result.reason
        assert result.served == image.digest
        assert exits(run) == exits(planned) == EXIT_REFUSED
        assert stands(planned) == stands(run)
        assert forecast.changes == ()
        assert scene.served(A)[tag] == old.digest
        assert scene.writes() == 0
        assert adds_up(run)


@pytest.mark.covers("C7")
async def test_new_tag_waits_where_its_signature_would_have_to_move(scene: Scene, image: Content) -> None:
    """Nothing of the image is written there; a target without such a rule gets all of it from the same read."""
    _, tag = sign(scene, image)
    other = scene.memory.add(A, make_artifact("of somebody else"), tag)

    run = await scene.sync(strict(A), make_rule("free", B))

    assert stands(run) == {("1.0", A): BLOCKED, ("1.0", B): COPIED}
    assert scene.served(A) == {tag: other.digest}
    assert scene.writes(A) == 0
    assert set(scene.served(B)) == {"1.0", tag}
    assert adds_up(run)


async def test_signature_that_need_not_move_blocks_nothing(scene: Scene, image: Content) -> None:
    """The first signature comes along, and one that is there already is left alone."""
    signature, tag = sign(scene, image)

    run = await scene.sync(strict(A))
    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A)[tag] == signature.digest

    del scene.memory.at(A).tags[Tag("1.0")]
    run = await scene.sync(strict(A))
    assert stands(run) == {("1.0", A): COPIED}


async def test_pattern_of_immutable_tags_may_mean_signatures(scene: Scene, image: Content) -> None:
    """The reason then names the pattern."""
    sign(scene, image)
    rule = replace(make_rule(), policy=Policy(immutable_tags=(TagPattern.parse("sha256-*"),)))
    await scene.sync(rule)
    sign(scene, image, name="signed once more")

    run = await scene.sync(rule)

    assert codes(run) == {"1.0": "TAG_IMMUTABLE"}
    assert "sha256-*" in results(run)[0].reason


@pytest.mark.parametrize("nth", [2, 3])
async def test_look_at_a_signature_that_fails_moves_nothing(scene: Scene, image: Content, nth: int) -> None:
    """Whichever look it is, the target keeps its signature."""
    old, tag = sign(scene, image)
    await scene.sync(strict(A))
    sign(scene, image, name="signed once more")
    scene.memory.fail("head", UnavailableError("no answer"), at=A, ref=tag, nth=nth)

    run = await scene.sync(strict(A))

    assert scene.served(A)[tag] == old.digest
    assert stands(run) == {("1.0", A): BLOCKED}
