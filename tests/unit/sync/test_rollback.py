"""Tags of a source that return to an older digest: told, or not mirrored."""

from __future__ import annotations

import pytest

from mirrord.planning.memory import ImageState
from mirrord.planning.report import EXIT_OK, EXIT_REFUSED, Outcome
from mirrord.planning.rule import OnRollback, Rule
from tests.fakes.images import Content, make_image
from tests.unit.sync.kept import HOUR, KeptScene, on_rollback
from tests.unit.sync.scene import SOURCE, A, B, Scene, codes, exits, make_rule, one_image, results, stands, warnings
from tests.unit.sync.told import calm

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, BLOCKED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.BLOCKED
WARN, BLOCK = OnRollback.WARN, OnRollback.BLOCK


@pytest.fixture
def scene() -> KeptScene:
    return KeptScene()


@pytest.fixture
def old() -> Content:
    return make_image("old")


@pytest.fixture
def new() -> Content:
    return make_image("new")


async def move(scene: KeptScene, *contents: Content, rule: Rule) -> None:
    """Let the tag point to one image after the other, an hour and a run each."""
    for content in contents:
        scene.memory.add(SOURCE, content, "1.0")
        await scene.sync(rule)
        scene.clock.advance(HOUR)


@pytest.mark.covers("C8")
async def test_tag_that_returns_to_an_older_digest_is_mirrored_and_told(
    scene: KeptScene, old: Content, new: Content
) -> None:
    rule = on_rollback(make_rule("rule", A, B), WARN)
    await move(scene, old, new, rule=rule)
    scene.memory.add(SOURCE, old, "1.0")

    run = await scene.sync(rule)
    again = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED, ("1.0", B): COPIED}
    (warning,) = warnings(run)
    assert f"{SOURCE}: the tag 1.0 returned to sha256:{old.digest.short}" in warning
    assert f"older than sha256:{new.digest.short}... of 2026-01-01 01:00 UTC" in warning
    assert scene.served(A) == {"1.0": old.digest}
    assert warnings(again) == []
    assert scene.refused() == []


@pytest.mark.covers("C8")
async def test_tag_that_returns_to_an_older_digest_is_blocked_run_after_run(
    scene: KeptScene, old: Content, new: Content
) -> None:
    rule = on_rollback(make_rule(), BLOCK)
    await move(scene, old, new, rule=rule)
    scene.memory.add(SOURCE, old, "1.0")
    await scene.sync(rule)
    scene.clock.advance(HOUR)

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): BLOCKED}
    assert codes(run) == {"1.0": "ROLLBACK_BLOCKED"}
    assert exits(run) == EXIT_REFUSED
    assert warnings(run) == []
    (result,) = results(run)
    assert result.problem is not None
    assert "on_rollback: warn" in result.problem.remedy
    assert scene.refused() == ["rollback", "rollback"]
    assert scene.served(A) == {"1.0": new.digest}
    assert scene.kept.image("1.0", A).state is ImageState.BLOCKED


async def test_blocked_tag_goes_on_when_the_source_moves_forward(scene: KeptScene, old: Content, new: Content) -> None:
    rule = on_rollback(make_rule(), BLOCK)
    await move(scene, old, new, old, new, rule=rule)
    newest = scene.memory.add(SOURCE, make_image("newest"), "1.0")

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): COPIED}
    assert scene.served(A) == {"1.0": newest.digest}
    assert scene.refused() == ["rollback"]


async def test_older_image_that_was_let_pass_once_is_in_sync(scene: KeptScene, old: Content, new: Content) -> None:
    rule = on_rollback(make_rule(), BLOCK)
    await move(scene, old, new, rule=rule)
    await move(scene, old, rule=on_rollback(rule, WARN))

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert exits(run) == EXIT_OK


async def test_tag_without_a_history_is_no_rollback(scene: KeptScene, old: Content, new: Content) -> None:
    rule = on_rollback(make_rule(), BLOCK)
    await move(scene, old, new, make_image("third"), rule=rule)

    assert scene.refused() == []
    assert scene.served(A) == {"1.0": make_image("third").digest}


async def test_history_is_that_of_the_source_whichever_rule_saw_it(
    scene: KeptScene, old: Content, new: Content
) -> None:
    await move(scene, old, new, rule=make_rule("one", A))
    scene.memory.add(SOURCE, old, "1.0")

    run = await scene.sync(on_rollback(make_rule("two", B), BLOCK))

    assert stands(run) == {("1.0", B): BLOCKED}


async def test_digests_told_by_a_listing_are_part_of_the_history(scene: KeptScene, old: Content, new: Content) -> None:
    """A tag that was never asked for by itself has a past all the same."""
    scene.memory.add(A, old, "1.0")
    for host in (SOURCE.host, A.host):
        scene.memory.tell_in_bulk(host)
    rule = on_rollback(make_rule(), BLOCK)
    calm(scene)
    scene.memory.add(SOURCE, old, "1.0")
    await scene.sync(rule)
    assert scene.memory.count("head", at=SOURCE) == 0
    scene.clock.advance(60)
    scene.memory.add(SOURCE, new, "1.0")
    await scene.sync(rule)
    scene.clock.advance(60)
    scene.memory.add(SOURCE, old, "1.0")

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): BLOCKED}


async def test_image_named_by_digest_has_no_history(scene: KeptScene, old: Content) -> None:
    scene.memory.add(SOURCE, old, "1.0")

    run = await scene.sync(on_rollback(one_image("rule", f"{A}:pinned", digest=old.digest), BLOCK))

    assert set(stands(run).values()) == {COPIED}
    assert scene.kept.calls["seen"] == 0
    assert scene.kept.history == {}


async def test_run_without_a_memory_says_that_it_cannot_block(old: Content, new: Content) -> None:
    scene = Scene()
    rule = on_rollback(make_rule(), BLOCK)
    for content in (old, new, old):
        scene.memory.add(SOURCE, content, "1.0")
        run = await scene.sync(rule)

        assert stands(run) == {("1.0", A): COPIED}
        (warning,) = warnings(run)
        assert "on_rollback is block, and nothing is remembered" in warning


async def test_run_with_a_memory_does_not_warn_of_that(scene: KeptScene, old: Content) -> None:
    scene.memory.add(SOURCE, old, "1.0")

    assert warnings(await scene.sync(on_rollback(make_rule(), BLOCK))) == []
