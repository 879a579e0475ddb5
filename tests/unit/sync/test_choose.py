from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.errors import (
    DeniedError,
    InvalidManifestError,
    ListingIncompleteError,
    MirrordError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.listing import ListingTraits, TagEntry, TagPage
from mirrord.planning.report import Outcome
from mirrord.planning.rule import Newest, NewestBy, Rule, TagSelector
from mirrord.planning.semver import VersionRange
from mirrord.sync.choose import Choice, choose_tags, find_sources
from tests.fakes.clock import START
from tests.fakes.images import Content, make_artifact, make_image
from tests.unit.sync.scene import (
    SOURCE,
    A,
    PagedMemory,
    Scene,
    adds_up,
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

COPIED, SKIPPED, FAILED = Outcome.COPIED, Outcome.SKIPPED, Outcome.FAILED


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def choose(scene: Scene, rule: Rule) -> Choice:
    return await choose_tags(scene.context(), rule, SOURCE)


def add(scene: Scene, *tags: str) -> None:
    for tag in tags:
        scene.memory.add(SOURCE, make_image(tag), tag)


def aged(scene: Scene, tag: str, days: float) -> Content:
    """Add an image that is so many days old."""
    created = (START - timedelta(days=days)).isoformat()
    return scene.memory.add(SOURCE, image_with_config(tag, {"created": created}), tag)


def newest(count: int, by: NewestBy = NewestBy.CREATED, include: tuple[str, ...] = ()) -> TagSelector:
    return replace(only(*include), newest=Newest(count=count, by=by))


def names(choice: Choice) -> list[str]:
    return [str(tag) for tag in choice.selection.taken]


# --- listing or asking one by one


async def test_choose_asks_for_literal_tags_without_a_listing(scene: Scene) -> None:
    add(scene, "1.0", "2.0", "3.0")

    choice = await choose(scene, make_rule(tags=only("1.0", "3.0")))

    assert names(choice) == ["1.0", "3.0"]
    assert choice.demanded == {Tag("1.0"), Tag("3.0")}
    assert scene.memory.log == []


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param(TagSelector(), id="every tag"),
        pytest.param(only("2*"), id="glob"),
        pytest.param(only("1.0", "2*"), id="literal and glob"),
        pytest.param(TagSelector(semver=VersionRange.parse(">=2")), id="semver"),
    ],
)
async def test_choose_lists_where_patterns_need_it(scene: Scene, selector: TagSelector) -> None:
    add(scene, "1.0", "2.0.0", "latest")

    choice = await choose(scene, make_rule(tags=selector))

    assert Tag("2.0.0") in choice.selection.taken
    assert scene.memory.count("list_tags") == 1
    assert scene.memory.count("head") == 0


async def test_choose_lists_where_that_is_cheaper_than_asking_one_by_one(scene: Scene) -> None:
    tags = [f"1.{number}" for number in range(9)]
    add(scene, *tags, "other")
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)

    choice = await choose(scene, make_rule(tags=only(*tags)))

    assert names(choice) == tags
    assert [operation.verb for operation in scene.memory.log] == ["bulk_tags"]


async def test_choose_lists_literal_tags_where_the_listing_tells_their_times_alone() -> None:
    tags = [f"1.{number}" for number in range(3)]
    entries = tuple(TagEntry(tag=Tag(tag), created=START) for tag in (*tags, "other"))
    scene = Scene(memory=PagedMemory(TagPage(entries=entries)))
    scene.memory.hosts[SOURCE.host].listing = ListingTraits(page_size=1000, has_times=True)

    choice = await choose(scene, make_rule(tags=only(*tags, max_age=timedelta(days=1))))

    assert names(choice) == tags
    assert [operation.verb for operation in scene.memory.log] == ["list_tags"]


async def test_choose_asks_for_no_age_that_an_api_tells_of_literal_tags() -> None:
    tags = [f"1.{number}" for number in range(3)]
    entries = tuple(TagEntry(tag=Tag(tag), digest=Digest.of(b"x"), created=START) for tag in tags)
    scene = Scene(memory=PagedMemory(TagPage(entries=entries)))
    scene.memory.hosts[SOURCE.host].listing = ListingTraits(page_size=1000, has_digests=True, has_times=True)

    choice = await choose(scene, make_rule(tags=only(*tags, max_age=timedelta(days=1))))

    assert names(choice) == tags
    assert [operation.verb for operation in scene.memory.log] == ["bulk_tags"]


async def test_choose_uses_what_another_rule_of_the_run_listed(scene: Scene) -> None:
    scene.memory.tell_in_bulk(SOURCE.host)
    add(scene, "1.0", "2.0")
    context = scene.context()
    await choose_tags(context, make_rule(), SOURCE)

    choice = await choose_tags(context, make_rule(tags=only("1.0", "2.0")), SOURCE)

    assert names(choice) == ["1.0", "2.0"]
    assert scene.memory.count("bulk_tags") == 1


async def test_choose_keeps_a_demanded_tag_that_the_listing_lacks(scene: Scene) -> None:
    add(scene, "2.0", "2.1")

    choice = await choose(scene, make_rule(tags=only("1.0", "2*")))

    assert names(choice) == ["1.0", "2.0", "2.1"]
    assert choice.demanded == {Tag("1.0")}


@pytest.mark.covers("C5")
async def test_choose_takes_one_tag_or_one_digest_as_named_by_the_rule(scene: Scene) -> None:
    digest = make_image("app").digest

    by_tag = await choose(scene, one_image("rule", tag="1.0"))
    by_digest = await choose(scene, one_image("rule", digest=digest))
    by_both = await choose(scene, one_image("rule", tag="1.0", digest=digest))

    assert (names(by_tag), by_tag.demanded, by_tag.digest) == (["1.0"], frozenset({Tag("1.0")}), None)
    assert (names(by_digest), by_digest.demanded, by_digest.digest) == ([], frozenset(), digest)
    assert (names(by_both), by_both.demanded, by_both.digest) == (["1.0"], frozenset({Tag("1.0")}), digest)
    assert scene.memory.log == []


async def test_choose_raises_where_the_listing_fails(scene: Scene) -> None:
    add(scene, "1.0")
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"))

    with pytest.raises(ListingIncompleteError):
        await choose(scene, make_rule())


# --- filters


async def test_choose_tells_of_every_listed_tag_which_filter_decided(scene: Scene) -> None:
    add(scene, "1.0", "1.0-rc1", "2.0")

    choice = await choose(scene, make_rule(tags=only("1*", exclude=["*-rc*"])))

    assert [(str(c.tag), c.taken, c.by) for c in choice.selection.choices] == [
        ("1.0", True, 'include "1*"'),
        ("1.0-rc1", False, 'exclude "*-rc*"'),
        ("2.0", False, "not in include or semver"),
    ]


async def test_choose_never_takes_attachments(scene: Scene) -> None:
    image = scene.memory.add(SOURCE, make_image("app"), "1.0")
    signature = make_artifact("signature")
    for tag in (*cosign_tags(image.digest), fallback_tag(image.digest)):
        scene.memory.add(SOURCE, signature, str(tag))

    choice = await choose(scene, make_rule(tags=only("*")))

    assert names(choice) == ["1.0"]


async def test_choose_takes_an_attachment_that_a_rule_names_literally(scene: Scene) -> None:
    tag = str(cosign_tags(make_image("app").digest)[0])
    scene.memory.add(SOURCE, make_artifact("signature"), tag)

    run = await scene.sync(make_rule(tags=only(tag)))

    assert stands(run) == {(tag, A): COPIED}


@pytest.mark.covers("C13", "D68")
async def test_choose_warns_of_filters_that_take_nothing(scene: Scene) -> None:
    add(scene, "1.0", "2.0")

    choice = await choose(scene, make_rule(tags=only("3*")))

    assert choice.warnings == (f"{SOURCE}: the tag filters take none of its 2 tags",)


async def test_choose_warns_of_a_repository_without_tags(scene: Scene) -> None:
    scene.memory.at(SOURCE)

    choice = await choose(scene, make_rule())

    assert choice.warnings == (f"{SOURCE} has no tags",)


@pytest.mark.covers("E45")
async def test_choose_warns_of_names_that_are_no_tags() -> None:
    scene = Scene(memory=PagedMemory(TagPage(entries=(TagEntry(tag=Tag("1.0")),), skipped=2)))

    choice = await choose(scene, make_rule())

    assert names(choice) == ["1.0"]
    assert choice.warnings == (f"{SOURCE}: 2 names in the tag list are no tags and were passed over",)


# --- age


async def test_choose_takes_the_newest_by_creation(scene: Scene) -> None:
    for tag, days in (("a", 3), ("b", 1), ("c", 2), ("d", 4)):
        aged(scene, tag, days)

    choice = await choose(scene, make_rule(tags=newest(2)))

    assert names(choice) == ["b", "c"]
    assert choice.warnings == ()


async def test_choose_takes_what_is_not_older_than_max_age(scene: Scene) -> None:
    aged(scene, "new", 1)
    aged(scene, "edge", 7)
    aged(scene, "old", 7.1)

    choice = await choose(scene, make_rule(tags=only("*", max_age=timedelta(days=7))))

    assert names(choice) == ["edge", "new"]


async def test_choose_asks_for_the_age_of_those_only_that_pass_the_names(scene: Scene) -> None:
    aged(scene, "1.0", 1)
    aged(scene, "2.0", 1)

    await choose(scene, make_rule(tags=newest(5, include=("1*",))))

    assert scene.memory.count("head", ref="1.0") == 1
    assert scene.memory.count("head", "manifest", "blob") == 3


async def test_choose_asks_for_no_age_that_the_listing_tells() -> None:
    entries = [
        TagEntry(tag=Tag(tag), created=datetime(2025, month, 1, tzinfo=UTC))
        for tag, month in (("a", 3), ("b", 12), ("c", 1))
    ]
    scene = Scene(memory=PagedMemory(TagPage(entries=tuple(entries))))

    choice = await choose(scene, make_rule(tags=newest(1)))

    assert names(choice) == ["b"]
    assert scene.memory.count("head", "manifest", "blob") == 0


async def test_choose_asks_for_the_age_of_literal_tags(scene: Scene) -> None:
    aged(scene, "new", 1)
    aged(scene, "old", 9)

    choice = await choose(scene, make_rule(tags=only("new", "old", max_age=timedelta(days=7))))

    assert names(choice) == ["new"]


async def test_choose_leaves_out_and_warns_of_tags_without_an_age(scene: Scene) -> None:
    aged(scene, "new", 1)
    add(scene, *(f"undated{number}" for number in range(6)))

    choice = await choose(scene, make_rule(tags=newest(3)))

    assert names(choice) == ["new"]
    (warning,) = choice.warnings
    assert warning.startswith(f"{SOURCE}: 6 tags are left out since nothing says when they were created")
    assert warning.endswith("(undated0, undated1, undated2, undated3, undated4)")


async def test_choose_takes_content_that_cannot_be_read_for_undated(scene: Scene) -> None:
    aged(scene, "new", 1)
    broken = aged(scene, "broken", 1)
    scene.memory.fail("manifest", InvalidManifestError("schema 1", code="SCHEMA1_UNSUPPORTED"), ref=broken.digest)

    choice = await choose(scene, make_rule(tags=newest(3)))

    assert names(choice) == ["new"]
    assert choice.selection.undated == (Tag("broken"),)


@pytest.mark.parametrize("error", [UnavailableError("no answer"), DeniedError("no")], ids=["unavailable", "denied"])
@pytest.mark.parametrize("verb", ["head", "manifest", "blob"])
async def test_choose_fails_a_tag_whose_age_could_not_be_asked_for(
    scene: Scene, verb: str, error: MirrordError
) -> None:
    """An error is never taken for "too old": the tag would be left behind in silence."""
    aged(scene, "a", 1)
    other = aged(scene, "b", 2)
    ref = {"head": "b", "manifest": other.digest, "blob": other.manifest.config.digest}[verb]
    scene.memory.fail(verb, error, at=SOURCE, ref=ref)

    run = await scene.sync(make_rule(tags=only("*", max_age=timedelta(days=7))))

    assert stands(run) == {("a", A): COPIED, ("b", A): FAILED}
    assert codes(run) == {"b": error.code}
    assert warnings(run) == []
    assert adds_up(run)
    assert exits(run) == 1


async def test_choose_fails_a_demanded_tag_that_is_missing_whatever_its_age(scene: Scene) -> None:
    aged(scene, "1.0", 1)

    run = await scene.sync(make_rule(tags=only("1.0", "2.0", max_age=timedelta(days=7))))

    assert stands(run) == {("1.0", A): COPIED, ("2.0", A): FAILED}
    assert codes(run) == {"2.0": "NOT_FOUND"}
    assert adds_up(run)


async def test_choose_skips_a_tag_that_vanished_before_its_age_was_asked_for(scene: Scene) -> None:
    aged(scene, "a", 1)
    aged(scene, "b", 1)
    scene.memory.when("head", lambda: scene.memory.at(SOURCE).tags.pop(Tag("b")), at=SOURCE, ref="b")

    run = await scene.sync(make_rule(tags=newest(5)))

    assert stands(run) == {("a", A): COPIED, ("b", A): SKIPPED}
    assert warnings(run) == []
    assert adds_up(run)


# --- repositories


async def test_find_sources_returns_the_repository_of_a_rule_without_asking(scene: Scene) -> None:
    assert await find_sources(scene.context(), make_rule()) == (SOURCE,)
    assert scene.memory.log == []


async def test_find_sources_returns_the_repositories_that_match(scene: Scene) -> None:
    for path in ("acme/web", "acme/api", "acme/sandbox-1", "acme/deep/er", "other/web"):
        scene.memory.at(Repository(SOURCE.host, path))
    rule = many_repositories("rule", "acme/*", "target.test/{repository}", exclude=["*/sandbox-*"])

    found = await find_sources(scene.context(), rule)

    assert [str(repository) for repository in found] == ["source.test/acme/api", "source.test/acme/web"]


async def test_find_sources_raises_where_repositories_are_not_listed(scene: Scene) -> None:
    scene.memory.fail("repositories", UnsupportedError("no catalog"))

    with pytest.raises(UnsupportedError):
        await find_sources(scene.context(), many_repositories("rule", "*", "target.test/{repository}"))


async def test_sync_copies_every_repository_that_matches(scene: Scene) -> None:
    images = {}
    for path in ("acme/web", "acme/api"):
        images[path] = scene.memory.add(Repository(SOURCE.host, path), make_image(path), "1.0")

    run = await scene.sync(many_repositories("rule", "acme/*", "target.test/mirror/{name}"))

    assert {str(r.target): r.digest for r in results(run)} == {
        "target.test/mirror/web": images["acme/web"].digest,
        "target.test/mirror/api": images["acme/api"].digest,
    }
    assert adds_up(run)


async def test_sync_warns_where_no_repository_matches(scene: Scene) -> None:
    scene.memory.at(SOURCE)

    run = await scene.sync(many_repositories("rule", "acme/*", "target.test/{repository}"))

    assert warnings(run) == ["no repository matches the source of rule rule"]
    assert exits(run) == 0
