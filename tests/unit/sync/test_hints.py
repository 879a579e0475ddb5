"""What a run makes of digests that listings tell: bulk-NN are the rules for them, here as the core keeps them."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mirrord.errors import (
    DeniedError,
    ListingIncompleteError,
    MirrordError,
    NotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
)
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.listing import ListingTraits
from mirrord.planning.report import Outcome
from mirrord.planning.rotation import TURN_S, is_listing_due
from mirrord.planning.rule import TagSelector
from mirrord.sync.delete import delete
from mirrord.sync.run import Run
from mirrord.sync.tags import list_tags
from tests.fakes.images import make_image, make_index
from tests.unit.sync.scene import (
    SOURCE,
    A,
    B,
    Scene,
    adds_up,
    codes,
    exits,
    make_rule,
    many_repositories,
    one_image,
    only,
    reports,
    results,
    stands,
    warnings,
)
from tests.unit.sync.told import TAGS, asked, differences, keeps, mirrored, move, told_scene, verbs

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, SKIPPED, FAILED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED, Outcome.FAILED


@pytest.fixture
def scene() -> Scene:
    return told_scene()


# --- unchanged


@keeps("01")
async def test_unchanged_tags_are_in_sync_by_one_listing_a_side(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A, B)

    run = await scene.sync(make_rule("rule", A, B))

    assert set(stands(run).values()) == {IN_SYNC}
    assert len(stands(run)) == 6
    assert {o.location: verbs(scene, o.location) for o in scene.memory.log} == {
        SOURCE: ["bulk_tags", "list_tags"],
        A: ["bulk_tags"],
        B: ["bulk_tags"],
    }
    assert adds_up(run)
    assert warnings(run) == []


async def test_unchanged_tags_report_the_digest_that_both_sides_have(scene: Scene) -> None:
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A))

    told = {str(tag): (result.digest, result.served) for result in results(run) for tag, _ in result.tags}
    held = scene.memory.at(SOURCE).tags
    assert told == {str(tag): (digest, digest) for tag, digest in held.items()}


async def test_hints_of_the_source_alone_spare_its_looks(scene: Scene) -> None:
    scene.memory.hosts[A.host].listing = ListingTraits()
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert verbs(scene, SOURCE) == ["bulk_tags", "list_tags"]
    assert asked(scene, A) == sorted(TAGS)


async def test_hints_of_the_target_alone_spare_its_looks(scene: Scene) -> None:
    scene.memory.hosts[SOURCE.host].listing = ListingTraits()
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, SOURCE) == sorted(TAGS)
    assert verbs(scene, A) == ["bulk_tags"]


async def test_without_hints_each_tag_is_one_look_a_side(scene: Scene) -> None:
    for host in (SOURCE.host, A.host):
        scene.memory.hosts[host].listing = ListingTraits()
    await mirrored(scene, A)

    await scene.sync(make_rule("rule", A))

    assert verbs(scene, SOURCE) == ["list_tags", *["head"] * 3]
    assert verbs(scene, A) == ["head"] * 3


async def test_rules_share_what_listings_told(scene: Scene) -> None:
    await mirrored(scene, A, B)

    run = await scene.sync(make_rule("one", A), make_rule("two", A, B))

    assert set(stands(run.rules[0]).values()) == set(stands(run.rules[1]).values()) == {IN_SYNC}
    assert scene.memory.count("bulk_tags") == 3
    assert scene.memory.count("head") == 0


async def test_tag_that_one_rule_asked_for_is_that_for_the_others(scene: Scene) -> None:
    await mirrored(scene, A)
    moved = move(scene, "1.0")
    scene.memory.freeze(SOURCE)[Tag("1.0")] = scene.memory.at(A).tags[Tag("1.0")]
    context = scene.context()
    await context.resolutions.head(scene.memory.reader(SOURCE), Tag("1.0"))

    run = Run(context, [make_rule("rule", A)])
    await run.carry_out(scene.executor())

    assert scene.served(A)["1.0"] == moved.digest


@keeps("04")
async def test_single_tags_are_asked_for_where_a_listing_costs_more(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)

    await scene.sync(make_rule("rule", A, tags=only("1.0")))
    await scene.sync(one_image("one", A, tag="1.0"))

    assert scene.memory.count("bulk_tags") == 0
    assert asked(scene, SOURCE) == asked(scene, A) == ["1.0"]


@keeps("04")
async def test_listing_of_a_target_is_given_up_when_looks_would_have_been_cheaper(scene: Scene, bulk: str) -> None:
    scene.memory.tell_in_bulk(A.host, page_size=2)
    await mirrored(scene, A)
    for number in range(50):
        scene.memory.add(A, make_image("other"), f"0.{number}")

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.memory.count("bulk_tags", at=A) <= 3
    assert asked(scene, A) == sorted(TAGS)


@keeps("04")
async def test_literal_tags_are_looked_up_where_a_listing_costs_less(scene: Scene, bulk: str) -> None:
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A, tags=only("1.0", "2.0")))

    assert stands(run) == {("1.0", A): IN_SYNC, ("2.0", A): IN_SYNC}
    assert verbs(scene, SOURCE) == ["bulk_tags"]


@keeps("04")
async def test_rules_share_a_lookup_that_was_given_up(scene: Scene, bulk: str) -> None:
    tags = [f"3.{number}" for number in range(30)]
    for tag in tags:
        scene.memory.add(SOURCE, make_image("same"), tag)
    scene.memory.tell_in_bulk(SOURCE.host, page_size=100)
    for number in range(4000):
        scene.memory.at(SOURCE).tags[Tag(f"0.{number}")] = make_image("same").digest
    await scene.sync(make_rule("before", A, B, tags=only("3.*")))

    run = await scene.sync(make_rule("one", A, tags=only(*tags)), make_rule("two", B, tags=only(*tags)))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.memory.count("bulk_tags", at=SOURCE) == 30
    assert asked(scene, SOURCE) == sorted(tags), "the first pages told of other tags"
    assert warnings(run) == [], "what was not told of is not wrong"


async def test_listing_that_was_given_up_is_asked_again_by_a_rule_that_gains_more(scene: Scene) -> None:
    scene.memory.tell_in_bulk(A.host, page_size=1)
    context, writer = scene.context(), scene.memory.writer(A)
    await mirrored(scene, A)
    scene.memory.log.clear()

    await context.hints.ask(writer, 2)
    await context.hints.ask(writer, 1)
    few = scene.memory.count("bulk_tags")
    await context.hints.ask(writer, 9)
    await context.hints.ask(writer, 99)

    assert few == 2
    assert scene.memory.count("bulk_tags") == 5
    assert context.hints.believed(A, Tag("latest"), scene.clock) == scene.memory.at(A).tags[Tag("latest")]


async def test_listing_of_a_target_is_asked_for_once_by_rules_side_by_side(scene: Scene) -> None:
    context, held = scene.context(), scene.memory.hold("bulk_tags", at=A)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(context.hints.gather, scene.memory.writer(A), 9)
        await anyio.wait_all_tasks_blocked()
        held.open()

    assert scene.memory.count("bulk_tags", at=A) == 1


# --- changed


@keeps("01")
async def test_changed_tag_is_confirmed_and_what_the_registry_says_is_copied(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    moved = move(scene, "2.0")

    run = await scene.sync(make_rule("rule", A))

    assert stands(run) == {("1.0", A): IN_SYNC, ("2.0", A): COPIED, ("latest", A): IN_SYNC}
    assert scene.served(A)["2.0"] == moved.digest
    assert asked(scene, SOURCE)[0] == "2.0"
    assert scene.memory.count("head", at=SOURCE, ref="1.0") == 0
    assert warnings(run) == []


@keeps("01", "08")
async def test_digest_that_only_the_listing_tells_is_never_copied(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    other = scene.memory.add(SOURCE, make_image("other"))
    scene.memory.freeze(SOURCE)[Tag("1.0")] = other.digest

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert other.digest not in scene.memory.at(A).manifests
    assert scene.writes() == 0
    assert differences(scene) == {SOURCE.host: 1}
    assert len(warnings(run)) == 1


@keeps("08")
async def test_listing_that_lags_delays_a_change_and_no_more(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)
    moved = move(scene, "2.0")
    late = await scene.sync(make_rule("rule", A))
    before = scene.served(A)["2.0"]
    scene.memory.bulk.clear()

    await scene.sync(make_rule("rule", A))

    assert set(stands(late).values()) == {IN_SYNC}
    assert before != moved.digest
    assert scene.served(A)["2.0"] == moved.digest


@keeps("01")
async def test_target_that_only_seems_to_lag_is_not_written(scene: Scene, bulk: str) -> None:
    lag = scene.memory.freeze(A)
    lag[Tag("0.1")] = make_image("0.1").digest
    await mirrored(scene, A)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert scene.writes() == 0
    assert differences(scene) == {A.host: 3}


async def test_confirmed_digest_that_the_target_has_by_its_listing_is_in_sync(scene: Scene) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)[Tag("1.0")] = make_image("never").digest

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, SOURCE) == ["1.0"]
    assert asked(scene, A) == ["1.0"]


async def test_one_target_that_lacks_a_tag_does_not_make_the_others_write(scene: Scene) -> None:
    await mirrored(scene, A, B)
    del scene.memory.at(B).tags[Tag("1.0")]

    run = await scene.sync(make_rule("rule", A, B))

    assert {key for key, outcome in stands(run).items() if outcome is COPIED} == {("1.0", B)}
    assert scene.writes(A) == 0
    assert asked(scene, A) == []
    assert scene.served(B)["1.0"] == scene.served(A)["1.0"]


async def test_repository_that_does_not_exist_yet_is_asked_for_each_tag_before_it_is_written(scene: Scene) -> None:
    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {COPIED}
    first = [operation.verb for operation in scene.memory.log if operation.location == A][:4]
    assert first == ["bulk_tags", "head", "head", "head"]


async def test_tag_that_moved_and_one_that_did_not_are_one_image_if_they_meet(scene: Scene) -> None:
    await mirrored(scene, A)
    scene.memory.at(SOURCE).tags[Tag("2.0")] = scene.memory.at(SOURCE).tags[Tag("1.0")]

    run = await scene.sync(make_rule("rule", A))

    assert stands(run) == {("1.0", A): IN_SYNC, ("2.0", A): COPIED, ("latest", A): IN_SYNC}
    assert scene.served(A)["2.0"] == scene.served(A)["1.0"]


async def test_platform_filter_asks_the_source_itself(scene: Scene) -> None:
    scene.memory.add(SOURCE, make_index("multi"), "1.0")
    rule = make_rule("rule", A, tags=only("1*", "2*"), platforms=["linux/amd64"])
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, SOURCE) == ["1.0", "2.0"]
    assert asked(scene, A) == [], "the digest of the rewritten index is compared with what the target's listing told"


async def test_image_named_by_digest_is_asked_for(scene: Scene) -> None:
    await mirrored(scene, A)
    digest = scene.memory.at(SOURCE).tags[Tag("1.0")]

    run = await scene.sync(make_rule("all", A), one_image("pinned", f"{A}:1.0", digest=digest))

    assert exits(run) == 0
    assert asked(scene, SOURCE) == [str(digest)]


# --- absent


@keeps("02")
async def test_literal_tag_that_a_listing_lacks_is_asked_for(scene: Scene, bulk: str) -> None:
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)
    del scene.memory.freeze(SOURCE)[Tag("1.0")]

    literal = await scene.sync(make_rule("literal", A, tags=only("1.0", "2.0")))
    mixed = await scene.sync(make_rule("mixed", B, tags=only("1.0", "2*")))

    assert set(stands(literal).values()) == set(stands(mixed).values()) == {COPIED}
    assert "1.0" in scene.served(A)
    assert "1.0" in scene.served(B)
    assert len(warnings(mixed)) == 1


@keeps("02")
async def test_literal_tag_of_many_repositories_is_asked_for_where_a_listing_lacks_it(scene: Scene, bulk: str) -> None:
    del scene.memory.freeze(SOURCE)[Tag("latest")]
    other = Repository(SOURCE.host, "other")
    scene.memory.add(other, make_image("other"), "1.0")
    rule = replace(many_repositories("rule", "*", f"{A.host}/{{repository}}"), tags=only("latest", "1*"))

    run = await scene.sync(rule)

    copied = {(tag, str(location)) for (tag, location), outcome in stands(run).items() if outcome is COPIED}
    assert copied == {
        ("1.0", "target-a.test/app"),
        ("latest", "target-a.test/app"),
        ("1.0", "target-a.test/other"),
    }
    assert set(stands(run).values()) == {COPIED}, "what neither listing nor registry has is not told of"


@keeps("02")
async def test_literal_tag_that_nobody_knows_is_a_failure_as_ever(scene: Scene, bulk: str) -> None:
    run = await scene.sync(make_rule("rule", A, tags=only("gone", "1*")))

    assert codes(run) == {"gone": "NOT_FOUND"}
    assert stands(run)["1.0", A] is COPIED


async def test_literal_tag_that_cannot_be_asked_for_fails_alone(scene: Scene) -> None:
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE, ref="gone", times=None)
    rule = replace(many_repositories("rule", "app", f"{A.host}/{{repository}}"), tags=only("gone", "1*"))

    run = await scene.sync(rule)

    assert codes(run) == {"gone": "UNAVAILABLE"}
    assert sorted(stands(run).values()) == [COPIED, FAILED]


async def test_tag_that_a_listing_tells_although_it_is_gone_is_skipped(scene: Scene) -> None:
    scene.memory.freeze(SOURCE)[Tag("gone")] = make_image("gone").digest

    run = await scene.sync(make_rule("rule", A))

    assert stands(run)["gone", A] is SKIPPED
    assert differences(scene) == {SOURCE.host: 1}
    assert exits(run) == 0


@keeps("02")
async def test_target_tag_that_a_listing_lacks_is_asked_for(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    del scene.memory.freeze(A)[Tag("1.0")]

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, A) == ["1.0"]
    assert differences(scene) == {A.host: 1}


@keeps("02", "09")
async def test_listing_that_ends_early_in_silence_hides_nothing_of_the_target(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    told = scene.memory.freeze(A)
    for tag in list(told)[1:]:
        del told[tag]

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert len(asked(scene, A)) == 2


@keeps("02")
async def test_tag_that_no_api_tells_is_copied_where_a_plain_listing_is_short(scene: Scene, bulk: str) -> None:
    scene.memory.add(SOURCE, scene.memory.add(SOURCE, make_image("1.0")), "hidden")
    del scene.memory.freeze(SOURCE)[Tag("hidden")]

    run = await scene.sync(make_rule("rule", A))

    assert stands(run)["hidden", A] is COPIED
    assert differences(scene) == {SOURCE.host: 1}


@keeps("02")
async def test_tag_that_no_api_tells_is_copied_from_a_long_listing_in_its_turn(scene: Scene, bulk: str) -> None:
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1)
    scene.memory.add(SOURCE, scene.memory.add(SOURCE, make_image("1.0")), "hidden")
    del scene.memory.freeze(SOURCE)[Tag("hidden")]
    while is_listing_due(SOURCE, scene.clock.now()):
        scene.clock.advance(TURN_S)

    before = await scene.sync(make_rule("rule", A))
    while not is_listing_due(SOURCE, scene.clock.now()):
        scene.clock.advance(TURN_S)
    after = await scene.sync(make_rule("rule", A))

    assert ("hidden", A) not in stands(before)
    assert stands(after)["hidden", A] is COPIED


@keeps("02")
async def test_deletion_and_the_list_of_tags_take_complete_listings(scene: Scene, bulk: str) -> None:
    scene.memory.add(SOURCE, scene.memory.add(SOURCE, make_image("1.0")), "hidden")
    del scene.memory.freeze(SOURCE)[Tag("hidden")]
    context = scene.context()
    await context.listings.told(scene.memory.reader(SOURCE))

    listed = await list_tags(context, SOURCE, TagSelector())
    with pytest.raises(MirrordError, match="hidden"):
        await delete(context, Reference(SOURCE, None, scene.memory.at(SOURCE).tags[Tag("1.0")]))

    assert Tag("hidden") in listed.selection.taken
    assert scene.memory.count("list_tags") == 1
    assert scene.memory.count("bulk_tags") == 1


# --- refused and odd


@keeps("03")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(UnauthorizedError("401"), id="401"),
        pytest.param(DeniedError("403"), id="403"),
        pytest.param(NotFoundError("404"), id="404"),
        pytest.param(RateLimitedError("429"), id="429"),
        pytest.param(UnavailableError("503"), id="503"),
        pytest.param(ProtocolViolationError("what is this"), id="nonsense"),
        pytest.param(ListingIncompleteError("too many pages"), id="page limit"),
    ],
)
async def test_refused_listing_costs_one_look_a_tag_and_nothing_else(
    scene: Scene, error: MirrordError, bulk: str
) -> None:
    await mirrored(scene, A)
    scene.memory.fail("bulk_tags", error, times=None)

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert exits(run) == 0
    assert asked(scene, SOURCE) == asked(scene, A) == sorted(TAGS)
    assert warnings(run) == []


@keeps("02")
async def test_empty_answer_of_an_api_does_not_hide_that_the_listing_failed(scene: Scene, bulk: str) -> None:
    scene.memory.freeze(SOURCE).clear()
    scene.memory.fail("list_tags", DeniedError("no right to list"), times=None)

    run = await scene.sync(make_rule("rule", A))

    assert [problem.code for report in reports(run) for problem in report.problems] == ["DENIED"]
    assert exits(run) == 1
    assert warnings(run) == []


async def test_many_small_repositories_cost_two_requests_each_at_the_source_and_one_at_the_target() -> None:
    """One that tells digests, and a plain listing that lacks no tag: looks at each tag would be more."""
    scene = Scene()
    for host in (SOURCE.host, A.host):
        scene.memory.tell_in_bulk(host)
    for number in range(50):
        image = make_image(f"app {number}")
        scene.memory.add(Repository(SOURCE.host, f"team/app-{number}"), image, "1.0", "1.1", "latest")
    rule = many_repositories("rule", "team/*", f"{A.host}/mirror/{{repository}}")
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert (len(stands(run)), set(stands(run).values())) == (150, {IN_SYNC})
    assert scene.memory.count("bulk_tags") == 100
    assert scene.memory.count("list_tags") == 50
    assert scene.memory.count("head") < 30, "tags in their turn"


@keeps("03")
async def test_refused_lookup_of_literal_tags_lists_nothing(scene: Scene, bulk: str) -> None:
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)
    scene.memory.fail("bulk_tags", DeniedError("no"), times=None)

    run = await scene.sync(make_rule("rule", A, tags=only("1.0", "2.0")))

    assert set(stands(run).values()) == {COPIED}
    assert scene.memory.count("list_tags") == 0
    assert {"1.0", "2.0"} <= set(asked(scene, SOURCE))


@keeps("06")
async def test_tag_without_a_digest_is_asked_for(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    scene.memory.freeze(SOURCE)[Tag("1.0")] = None
    scene.memory.freeze(A)[Tag("2.0")] = None

    run = await scene.sync(make_rule("rule", A))

    assert set(stands(run).values()) == {IN_SYNC}
    assert asked(scene, SOURCE) == ["1.0"]
    assert asked(scene, A) == ["2.0"]
    assert warnings(run) == [], "nothing was said that could be wrong"


@keeps("06")
async def test_listing_without_any_digest_is_none(scene: Scene, bulk: str) -> None:
    await mirrored(scene, A)
    told = scene.memory.freeze(A)
    told.clear()
    told[Tag("other")] = None

    run = await scene.sync(make_rule("rule", A))

    assert asked(scene, A) == sorted(TAGS)
    assert warnings(run) == []
