"""How each image stands, as it is kept from run to run: also by a run that breaks off."""

from __future__ import annotations

import anyio
import pytest

from mirrord.errors import (
    DeniedError,
    ListingIncompleteError,
    MirrordError,
    NotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
    UnavailableError,
)
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.memory import ImageState
from mirrord.planning.report import Outcome
from mirrord.ports.events import Event, EventSink, UnitFinished
from mirrord.sync.run import Run
from tests.fakes.images import make_image, make_index
from tests.unit.sync.kept import HOUR, KeptScene, immutable
from tests.unit.sync.scene import SOURCE, A, B, make_rule, many_repositories, only, stands

pytestmark = pytest.mark.anyio

FAILED, SKIPPED = Outcome.FAILED, Outcome.SKIPPED


@pytest.fixture
def scene() -> KeptScene:
    scene = KeptScene()
    scene.memory.add(SOURCE, make_image("app"), "1.0")
    return scene


def state(scene: KeptScene, tag: str = "1.0") -> ImageState:
    return scene.kept.image(tag, A).state


async def test_copied_image_is_kept_as_in_sync_with_its_proof(scene: KeptScene) -> None:
    digest = scene.served(SOURCE)["1.0"]

    await scene.sync(make_rule())

    kept = scene.kept.image("1.0", A)
    now = scene.clock.now()
    assert (kept.state, kept.digest, kept.served, kept.proven_at) == (ImageState.IN_SYNC, digest, digest, now)
    assert (kept.first_seen, kept.behind_since, kept.problem) == (now, None, None)
    assert (kept.referrers_at, kept.subjects) == (now, (digest,))
    assert scene.kept.owned["rule", A] == {Tag("1.0")}


async def test_planned_copy_is_kept_before_it_is_made(scene: KeptScene) -> None:
    """A run that takes long, or dies, shows since when a target is behind."""
    trap = scene.memory.hold("put_manifest", at=A)
    run = Run(scene.context(), [make_rule()])
    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await trap.reached.wait()
        kept = scene.kept.image("1.0", A)
        group.cancel_scope.cancel()

    assert (kept.state, kept.behind_since) == (ImageState.OUT_OF_SYNC, scene.clock.now())
    assert kept.proven_at is None


async def test_image_that_was_copied_is_not_said_to_be_missing(scene: KeptScene) -> None:
    run = Run(scene.context(), [make_rule()])
    await run.look()
    before = scene.kept.image("1.0", A)
    await run.carry_out(scene.executor())

    kept = scene.kept.image("1.0", A)
    assert (before.state, before.reason) == (ImageState.OUT_OF_SYNC, "not on the target")
    assert (kept.state, kept.reason) == (ImageState.IN_SYNC, "the target serves this digest")


async def test_interrupted_copy_stays_out_of_sync(scene: KeptScene) -> None:
    run = Run(scene.context(), [make_rule()])
    await run.look()
    scene.clock.advance(60)
    run.conclude("interrupted")

    kept = scene.kept.image("1.0", A)
    assert stands(run) == {("1.0", A): SKIPPED}
    assert (kept.state, kept.reason) == (ImageState.OUT_OF_SYNC, "interrupted")
    assert kept.behind_since is not None
    assert kept.behind_since < scene.clock.now()


async def test_image_is_behind_since_the_first_change_that_it_does_not_serve(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.clock.advance(HOUR)
    scene.memory.fail("put_manifest", DeniedError("no"), at=A, times=None)
    changed = scene.clock.now()
    for number in range(3):
        scene.memory.add(SOURCE, make_image(f"moved {number}"), "1.0")
        await scene.sync(make_rule())
        scene.clock.advance(HOUR)

    kept = scene.kept.image("1.0", A)
    assert (kept.state, kept.behind_since) == (ImageState.FAILED, changed)
    assert kept.problem is not None
    assert kept.problem.code == "DENIED"
    assert kept.first_seen is not None
    assert kept.first_seen > changed, "the newest digest was seen later"

    scene.memory.traps.clear()
    await scene.sync(make_rule())

    assert scene.kept.image("1.0", A).behind_since is None
    assert state(scene) is ImageState.IN_SYNC


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        pytest.param(QuotaExhaustedError("no more"), ImageState.WAITING, id="quota"),
        pytest.param(QuotaExhaustedError("reserve", code="QUOTA_RESERVED"), ImageState.WAITING, id="reserve"),
        pytest.param(RateLimitedError("slowly", retryable=False), ImageState.WAITING, id="rate"),
        pytest.param(UnavailableError("alone", code="BREAKER_OPEN", retryable=False), ImageState.WAITING, id="breaker"),
        pytest.param(DeniedError("no"), ImageState.FAILED, id="denied"),
    ],
)
@pytest.mark.parametrize(("verb", "place"), [("head", SOURCE), ("manifest", SOURCE), ("head", A)])
async def test_image_waits_where_the_registry_asks_to_and_fails_else(
    scene: KeptScene, error: MirrordError, kept: ImageState, verb: str, place: Repository
) -> None:
    scene.memory.fail(verb, error, at=place, times=None)

    run = await scene.sync(make_rule())

    assert set(stands(run).values()) == {FAILED}
    assert state(scene) is kept


async def test_failed_look_at_a_target_erases_no_proof(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    proven = scene.kept.image("1.0", A)
    scene.clock.advance(HOUR)
    scene.memory.fail("head", UnavailableError("no answer"), at=A)

    await scene.sync(make_rule())

    kept = scene.kept.image("1.0", A)
    assert (kept.state, kept.served, kept.proven_at) == (ImageState.FAILED, proven.served, proven.proven_at)
    assert kept.behind_since is None, "nobody knows whether it is"


async def test_target_that_cannot_be_asked_is_behind_what_moved_at_the_source(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.memory.add(SOURCE, make_image("moved"), "1.0")
    scene.memory.fail("head", UnavailableError("no answer"), at=A)

    await scene.sync(make_rule())

    assert scene.kept.image("1.0", A).behind_since == scene.clock.now()


async def test_failed_look_at_the_source_keeps_what_was_known(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    known = scene.kept.image("1.0", A)
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE)

    run = await scene.sync(make_rule())

    kept = scene.kept.image("1.0", A)
    assert stands(run) == {("1.0", A): FAILED}
    assert (kept.state, kept.digest, kept.served) == (ImageState.FAILED, known.digest, known.served)


async def test_refused_image_is_kept_as_blocked(scene: KeptScene) -> None:
    other = scene.memory.add(A, make_image("other"), "1.0")

    await scene.sync(immutable(make_rule(), "1.*"))

    kept = scene.kept.image("1.0", A)
    assert (kept.state, kept.served) == (ImageState.BLOCKED, other.digest)
    assert kept.behind_since == scene.clock.now()
    assert kept.problem is not None
    assert kept.problem.code == "TAG_IMMUTABLE"


# --- what is forgotten


async def test_tag_that_vanished_is_forgotten(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_image("gone"), "2.0")
    await scene.sync(make_rule())
    scene.memory.when("head", lambda: scene.memory.at(SOURCE).tags.pop(Tag("2.0")), at=SOURCE, ref="2.0")

    await scene.sync(make_rule())

    assert [kept.key.ref for kept in scene.kept.all()] == ["1.0"]


async def test_image_without_a_wanted_platform_is_forgotten(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_index("app"), "2.0")
    await scene.sync(make_rule(tags=only("2.0")))

    run = await scene.sync(make_rule(tags=only("2.0"), platforms=["linux/s390x"]))

    assert stands(run) == {("2.0", A): SKIPPED}
    assert scene.kept.all() == []


async def test_images_that_the_rule_takes_no_more_are_forgotten_after_a_complete_look(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_image("second"), "2.0")
    await scene.sync(make_rule("rule", A, B))

    await scene.sync(make_rule("rule", A, tags=only("2.*")))

    assert [(kept.key.ref, kept.key.target) for kept in scene.kept.all()] == [("2.0", A)]


async def test_images_are_kept_where_the_listing_fails(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.memory.fail("list_tags", ListingIncompleteError("cut off"), at=SOURCE)

    run = await scene.sync(make_rule())

    assert not run.rules[0].looked
    assert state(scene) is ImageState.IN_SYNC


async def test_images_are_kept_where_a_listing_may_lack_tags(scene: KeptScene) -> None:
    for number in range(7):
        scene.memory.add(SOURCE, make_image(f"more {number}"), f"2.{number}")
    await scene.sync(make_rule())
    scene.memory.tell_in_bulk(SOURCE.host, page_size=2)
    del scene.memory.freeze(SOURCE)[Tag("1.0")]

    await scene.sync(make_rule())

    assert state(scene) is ImageState.IN_SYNC


async def test_literal_tags_that_the_rule_names_no_more_are_forgotten(scene: KeptScene) -> None:
    """Also where nothing but a listing that may lack tags was made: what is named needs none."""
    scene.memory.tell_in_bulk(SOURCE.host, page_size=1000)
    for tag in ("2.0", "3.0", "4.0"):
        scene.memory.add(SOURCE, make_image(tag), tag)
    await scene.sync(make_rule(tags=only("1.0", "2.0", "3.0", "4.0")))

    await scene.sync(make_rule(tags=only("2.0", "3.0", "4.0")))

    assert scene.memory.count("bulk_tags") > 0
    assert sorted(kept.key.ref for kept in scene.kept.all()) == ["2.0", "3.0", "4.0"]


async def test_plan_keeps_nothing_of_images_that_another_rule_would_write_first(scene: KeptScene) -> None:
    first = make_rule("first", A)
    second = make_rule("second", B, source=A, tags=only("1.0"))

    run = await scene.look(first, second)

    assert ("1.0", B) in stands(run)
    assert scene.kept.all("second") == []


async def test_images_of_repositories_that_are_not_read_any_more_are_forgotten(scene: KeptScene) -> None:
    gone = Repository(SOURCE.host, "gone")
    scene.memory.add(gone, make_image("gone"), "1.0")
    rule = many_repositories("rule", "*", f"{A.host}/{{repository}}")
    await scene.sync(rule)
    del scene.memory.held[gone]

    await scene.sync(rule)

    assert {source for _, source in scene.kept.kept} == {SOURCE}


async def test_images_are_kept_where_no_repository_is_told(scene: KeptScene) -> None:
    rule = many_repositories("rule", "*", f"{A.host}/{{repository}}")
    await scene.sync(rule)
    scene.memory.held.pop(SOURCE)

    run = await scene.sync(rule)

    assert not run.rules[0].looked
    assert len(scene.kept.all()) == 1


# --- whether the source could be seen


async def test_rule_looked_where_its_source_could_be_seen(scene: KeptScene) -> None:
    scene.memory.add(SOURCE, make_image("second"), "2.0")
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE, ref="2.0")

    run = await scene.sync(make_rule())

    assert run.rules[0].looked, "one tag's trouble is its own"


async def test_rule_did_not_look_where_none_of_its_tags_could_be_asked_for(scene: KeptScene) -> None:
    scene.memory.fail("head", UnavailableError("no answer"), at=SOURCE, times=None)

    run = await scene.sync(make_rule(tags=only("1.0")))

    assert not run.rules[0].looked


async def test_rule_looked_at_a_source_that_lacks_its_tag(scene: KeptScene) -> None:
    run = await scene.sync(make_rule(tags=only("3.0")))

    assert run.rules[0].looked


async def test_rule_did_not_look_before_it_ran(scene: KeptScene) -> None:
    assert not Run(scene.context(), [make_rule()]).rules[0].looked


async def test_rule_did_not_look_where_one_of_its_repositories_could_not_be_listed(scene: KeptScene) -> None:
    scene.memory.add(Repository(SOURCE.host, "other"), make_image("other"), "1.0")
    scene.memory.fail("list_tags", NotFoundError("gone"), at=SOURCE)

    run = await scene.sync(many_repositories("rule", "*", f"{A.host}/{{repository}}"))

    assert not run.rules[0].looked


# --- that nothing more is written than changed


async def test_unchanged_run_writes_nothing_to_the_store(scene: KeptScene) -> None:
    await scene.sync(make_rule())
    scene.kept.story.clear()
    scene.clock.advance(60)

    await scene.sync(make_rule())

    assert scene.kept.story == []
    assert scene.kept.calls["images"] == 2
    assert scene.kept.calls["seen"] == 1


async def test_result_is_kept_before_it_is_told(scene: KeptScene) -> None:
    """Who hears that an image is settled may ask the store for it."""
    found: list[ImageState] = []

    class Asker(EventSink):
        def emit(self, event: Event) -> None:
            if isinstance(event, UnitFinished):
                found.append(state(scene))

    scene.events = Asker()
    await scene.sync(make_rule())

    assert found == [ImageState.IN_SYNC]
