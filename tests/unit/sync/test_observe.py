from __future__ import annotations

from dataclasses import replace

import pytest

from mirrord.errors import ContentMismatchError, DeniedError, UnavailableError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.planning.rewrite import filter_index, rewrite_index
from mirrord.planning.rule import IndexMode, Rule
from mirrord.sync.choose import choose_tags
from mirrord.sync.observe import Looks, observe
from tests.fakes.images import Content, child, index_of, make_artifact, make_attestation, make_image, make_index
from tests.unit.sync.scene import (
    SOURCE,
    A,
    B,
    Scene,
    codes,
    exits,
    image_with_config,
    make_rule,
    many_repositories,
    one_image,
    only,
    results,
    stands,
    warnings,
)

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, SKIPPED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED, Outcome.FAILED


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app"), "1.0", "latest")


@pytest.fixture
def index(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_index("app", attestations=True), "1.0")


async def watch(scene: Scene, rule: Rule) -> Looks:
    context = scene.context()
    return await observe(context, rule, await choose_tags(context, rule, SOURCE))


# --- facts


async def test_observe_tells_what_each_target_holds_under_each_tag(scene: Scene, image: Content) -> None:
    old = scene.memory.add(A, make_image("old"), "1.0")
    scene.memory.add(B, image, "latest")

    looks = await watch(scene, make_rule("rule", A, B))

    (seen,) = looks.images
    facts = {(tag.tag, fact.target): fact.digest for tag in seen.observation.tags for fact in tag.facts}
    assert facts == {
        (Tag("1.0"), A): old.digest,
        (Tag("1.0"), B): None,
        (Tag("latest"), A): None,
        (Tag("latest"), B): image.digest,
    }
    assert seen.observation.root == image.descriptor == seen.observation.wanted
    assert seen.observation.at == scene.clock.now()


@pytest.mark.covers("C22")
async def test_observe_asks_for_each_tag_once_on_each_side_and_for_no_content(scene: Scene, image: Content) -> None:
    await watch(scene, make_rule("rule", A, B))

    for location in (SOURCE, A, B):
        for tag in ("1.0", "latest"):
            assert scene.memory.count("head", at=location, ref=tag) == 1
    assert scene.memory.count("manifest", "blob", "referrers", "has_blob") == 0


async def test_observe_asks_targets_for_the_names_that_tags_map_to(scene: Scene, image: Content) -> None:
    looks = await watch(scene, make_rule("rule", f"{A}:hub-{{tag}}"))

    assert [fact.tag for tag in looks.images[0].observation.tags for fact in tag.facts] == [
        Tag("hub-1.0"),
        Tag("hub-latest"),
    ]


async def test_observe_asks_targets_for_the_digest_of_an_image_named_by_digest(scene: Scene, image: Content) -> None:
    looks = await watch(scene, one_image("rule", A, digest=image.digest))

    (tag,) = looks.images[0].observation.tags
    assert tag.tag is None
    assert scene.memory.count("head", at=A, ref=image.digest) == 1


async def test_observe_gives_an_image_named_by_digest_the_tag_of_its_target(scene: Scene, image: Content) -> None:
    run = await scene.sync(one_image("rule", f"{A}:pinned", digest=image.digest))

    assert scene.served(A) == {"pinned": image.digest}
    assert results(run)[0].tags == ((None, Tag("pinned")),)


# --- tags that cannot be resolved


@pytest.mark.covers("D52")
async def test_observe_skips_a_tag_that_vanished_after_the_listing(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_image("gone"), "gone")
    scene.memory.when("head", lambda: scene.memory.at(SOURCE).tags.pop(Tag("gone")), at=SOURCE, ref="gone")

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED, ("gone", A): SKIPPED, ("latest", A): COPIED}
    assert "vanished at the source" in next(r.reason for r in results(run) if r.outcome is SKIPPED)
    assert exits(run) == 0


async def test_observe_fails_a_demanded_tag_that_does_not_exist_and_says_what_to_do(
    scene: Scene, image: Content
) -> None:
    run = await scene.sync(make_rule("nginx", A, tags=only("1.0", "2.0")))

    assert stands(run) == {("1.0", A): COPIED, ("2.0", A): FAILED}
    (problem,) = [result.problem for result in results(run) if result.problem is not None]
    assert problem.code == "NOT_FOUND"
    assert f"{SOURCE}:2.0 does not exist" in problem.message
    assert '"nginx"' in problem.remedy
    assert "mirrord auth check" in problem.remedy
    assert exits(run) == 1


async def test_observe_skips_a_literal_tag_that_some_of_many_repositories_lack(scene: Scene) -> None:
    """A pattern of repositories with `include: [latest]` is no demand that each of them has it."""
    scene.memory.add(Repository(SOURCE.host, "team/one"), make_image("one"), "latest")
    scene.memory.add(Repository(SOURCE.host, "team/two"), make_image("two"), "1.0")
    rule = replace(many_repositories("team", "team/*", f"{A.host}/{{repository}}"), tags=only("latest"))

    run = await scene.sync(rule)

    assert sorted(result.outcome for result in results(run)) == [COPIED, SKIPPED]
    (skipped,) = [result for result in results(run) if result.outcome is SKIPPED]
    assert (str(skipped.source), skipped.reason) == (f"{SOURCE.host}/team/two", "the repository has no such tag")
    assert exits(run) == 0


async def test_observe_names_a_missing_digest_with_an_at_sign(scene: Scene, image: Content) -> None:
    missing = make_image("missing").digest

    run = await scene.sync(one_image("rule", A, digest=missing))

    (result,) = results(run)
    assert result.outcome is FAILED
    assert f"{SOURCE}@{missing} does not exist" in result.reason
    assert result.tags == ((None, None),)


async def test_observe_takes_the_digest_of_a_rule_that_names_tag_and_digest(scene: Scene, image: Content) -> None:
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    run = await scene.sync(one_image("rule", A, tag="1.0", digest=image.digest))

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": image.digest}
    assert moved.digest not in scene.memory.at(A).manifests


async def test_observe_fails_only_the_tag_that_the_source_cannot_resolve(scene: Scene, image: Content) -> None:
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE, ref="1.0")

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): FAILED, ("latest", A): COPIED}
    assert codes(run) == {"1.0": "UNAVAILABLE"}


@pytest.mark.covers("E97")
async def test_observe_fails_only_the_tag_for_which_a_target_has_no_valid_name(scene: Scene, image: Content) -> None:
    """A tag has at most 128 characters; a template's prefix can make it longer."""
    longest = "v" * 128
    scene.memory.add(SOURCE, image, longest)

    run = await scene.sync(make_rule("rule", B, f"{A}:hub-{{tag}}"))

    assert stands(run) == {
        ("1.0", A): COPIED,
        ("1.0", B): COPIED,
        ("latest", A): COPIED,
        ("latest", B): COPIED,
        (longest, A): FAILED,
        (longest, B): FAILED,
    }
    assert codes(run) == {longest: "TEMPLATE_RESULT_INVALID"}
    assert [r.tags for r in results(run) if r.outcome is FAILED] == [((Tag(longest), None),)] * 2
    assert scene.memory.count("head", ref=longest) == 0
    assert run.rules[0].report().problems == ()


# --- targets that cannot be asked


async def test_observe_fails_only_the_target_that_cannot_be_asked(scene: Scene, image: Content) -> None:
    scene.memory.fail("head", UnavailableError("no answer"), at=A, times=None)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {
        ("1.0", A): FAILED,
        ("1.0", B): COPIED,
        ("latest", A): FAILED,
        ("latest", B): COPIED,
    }
    assert codes(run) == {"1.0": "UNAVAILABLE", "latest": "UNAVAILABLE"}
    assert scene.writes(at=A) == 0


# --- platform filters


async def test_observe_wants_a_rewritten_index_under_a_platform_filter(scene: Scene, index: Content) -> None:
    rule = make_rule(platforms=["linux/arm64"])

    looks = await watch(scene, rule)

    expected = rewrite_index(index.index, filter_index(index.index, rule.platforms).kept)
    (seen,) = looks.images
    assert seen.observation.root == index.descriptor
    assert seen.observation.wanted == expected.descriptor
    assert seen.observation.rewritten == expected
    assert looks.warnings == ()


async def test_observe_keeps_an_index_of_which_all_is_wanted_byte_for_byte(scene: Scene, index: Content) -> None:
    looks = await watch(scene, make_rule(platforms=["linux/arm64", "linux/amd64"]))

    (seen,) = looks.images
    assert seen.observation.wanted == index.descriptor
    assert seen.observation.rewritten is None


async def test_observe_wants_the_same_digest_for_a_sparse_index(scene: Scene, index: Content) -> None:
    looks = await watch(scene, make_rule(platforms=["linux/arm64"], mode=IndexMode.SPARSE))

    (seen,) = looks.images
    assert seen.observation.wanted == index.descriptor
    arm = next(c for c in index.index.manifests if c.platform is not None and c.platform.architecture == "arm64")
    assert arm.digest not in seen.wanted.absent
    assert len(seen.wanted.absent) == 2  # the other platform, and the attestation of it


@pytest.mark.parametrize("mode", list(IndexMode))
async def test_observe_skips_an_index_that_offers_nothing_that_is_wanted(
    scene: Scene, index: Content, mode: IndexMode
) -> None:
    run = await scene.sync(make_rule(platforms=["linux/s390x", "windows/amd64"], mode=mode))

    (result,) = results(run)
    assert result.outcome is SKIPPED
    assert result.reason == "it offers none of the platforms linux/s390x, windows/amd64"
    assert scene.writes() == 0
    assert warnings(run) == []
    assert exits(run) == 0


async def test_observe_warns_of_a_wanted_platform_that_an_index_lacks(scene: Scene, index: Content) -> None:
    run = await scene.sync(make_rule(platforms=["linux/arm64", "linux/s390x"]))

    assert stands(run) == {("1.0", A): COPIED}
    assert warnings(run) == [f"{SOURCE}:1.0 does not offer linux/s390x"]


async def test_observe_skips_a_single_image_of_an_unwanted_platform(scene: Scene, image: Content) -> None:
    run = await scene.sync(make_rule(platforms=["linux/arm64"]))

    assert set(stands(run).values()) == {SKIPPED}
    assert results(run)[0].reason == "it is for linux/amd64, which is not among the platforms that are wanted"
    assert scene.writes() == 0


@pytest.mark.parametrize(
    "single",
    [
        pytest.param(make_image("app", platform="linux/arm64"), id="image of a wanted platform"),
        pytest.param(make_artifact("chart"), id="artifact"),
        pytest.param(image_with_config("app", {"os": 7, "architecture": None}), id="config that names no platform"),
        pytest.param(image_with_config("app", b"<html>"), id="config that is no JSON"),
    ],
)
async def test_observe_takes_what_is_for_no_unwanted_platform(scene: Scene, single: Content) -> None:
    scene.memory.add(SOURCE, single, "1.0")

    run = await scene.sync(make_rule(platforms=["linux/arm64"]))

    assert stands(run) == {("1.0", A): COPIED}


async def test_observe_asks_no_platform_of_a_single_image_that_the_target_serves(scene: Scene, image: Content) -> None:
    scene.memory.add(A, image, "1.0", "latest")

    run = await scene.sync(make_rule(platforms=["linux/amd64"]))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.memory.count("manifest", "blob") == 0


async def test_observe_fails_the_tags_of_an_index_that_the_source_does_not_give(scene: Scene, index: Content) -> None:
    other = scene.memory.add(SOURCE, make_index("other"), "2.0")
    scene.memory.add(SOURCE, index, "latest")
    scene.memory.fail("manifest", ContentMismatchError("other bytes"), at=SOURCE, ref=index.digest)

    run = await scene.sync(make_rule("rule", A, B, platforms=["linux/amd64", "linux/arm64"]))

    assert {key: outcome for key, outcome in stands(run).items() if outcome is FAILED} == {
        ("1.0", A): FAILED,
        ("1.0", B): FAILED,
        ("latest", A): FAILED,
        ("latest", B): FAILED,
    }
    assert scene.served(A) == {"2.0": other.digest}
    assert all(result.digest == index.digest for result in results(run) if result.outcome is FAILED)


@pytest.mark.parametrize("verb", ["manifest", "blob"])
async def test_observe_fails_the_tags_of_a_single_image_whose_platform_cannot_be_read(
    scene: Scene, image: Content, verb: str
) -> None:
    other = scene.memory.add(SOURCE, make_image("other"), "2.0")
    ref = image.digest if verb == "manifest" else image.manifest.config.digest
    scene.memory.fail(verb, DeniedError("no"), at=SOURCE, ref=ref)

    run = await scene.sync(make_rule(platforms=["linux/amd64"]))

    assert stands(run) == {("1.0", A): FAILED, ("2.0", A): COPIED, ("latest", A): FAILED}
    assert codes(run) == {"1.0": "DENIED", "latest": "DENIED"}
    assert scene.served(A) == {"2.0": other.digest}


async def test_observe_names_no_more_than_three_tags_of_an_image_in_a_warning(scene: Scene) -> None:
    scene.memory.add(SOURCE, make_index("app"), "1", "2", "3", "4")

    looks = await watch(scene, make_rule(platforms=["linux/amd64", "linux/s390x"]))

    assert looks.warnings == (f"{SOURCE}:1, 2, 3 does not offer linux/s390x",)


async def test_observe_keeps_the_attestations_of_wanted_platforms(scene: Scene) -> None:
    amd = make_image("app")
    attestation = make_attestation(amd)
    single = index_of([(amd, child(amd, "linux/amd64")), (attestation, child(attestation))])
    scene.memory.add(SOURCE, single, "1.0")

    run = await scene.sync(make_rule(platforms=["linux/amd64"]))

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": single.digest}
