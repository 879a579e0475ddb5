from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mirrord.errors import DeniedError, ListingIncompleteError, UnavailableError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, Outcome
from mirrord.planning.rule import Policy, Referrers, Rule, TagSelector
from mirrord.ports.events import GuardRefused, ImagesPlanned, RuleStarted, UnitFinished
from mirrord.sync.rulerun import RuleRun
from mirrord.sync.run import Run, unwrap
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.fakes.memory import Recorder
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
    settle,
    stands,
    warnings,
)

pytestmark = pytest.mark.anyio

IN_SYNC, COPIED, SKIPPED = Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED
BLOCKED, FAILED = Outcome.BLOCKED, Outcome.FAILED
OTHER = Repository("other-source.test", "tools")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app", layers=3), "1.0")


def allow(rule: Rule, *immutable: str, overwrite: bool = True) -> Rule:
    return replace(
        rule, policy=Policy(overwrite=overwrite, immutable_tags=tuple(TagPattern.parse(text) for text in immutable))
    )


# --- a run of one rule


@pytest.mark.covers("C1", "C49")
async def test_run_copies_what_is_missing_and_says_so(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_index("web", attestations=True), "2.0", "latest")
    scene.memory.add(SOURCE, make_image("draft"), "draft")

    run = await scene.sync(make_rule("rule", A, B, tags=only("*", exclude=["draft"])))

    assert stands(run) == {(tag, target): COPIED for tag in ("1.0", "2.0", "latest") for target in (A, B)}
    (report,) = reports(run)
    assert (report.listed, report.filtered) == (8, 2)
    assert adds_up(run)
    assert exits(run) == EXIT_OK
    assert scene.memory.violations == []
    assert scene.served(A) == scene.served(B)


@pytest.mark.covers("C22")
async def test_run_writes_nothing_the_second_time_and_looks_once_a_tag_and_side(scene: Scene, image: Content) -> None:
    index = make_index("web", attestations=True)
    scene.memory.add(SOURCE, index, "2.0", "latest")
    rule = make_rule("rule", A, B)
    await scene.sync(rule)

    run = await scene.sync(rule)

    assert set(stands(run).values()) == {IN_SYNC}
    heads = {(o.location, o.ref): scene.memory.count("head", at=o.location, ref=o.ref) for o in scene.memory.log}
    assert {key: count for key, count in heads.items() if key[1]} == {
        (location, tag): 1 for location in (SOURCE, A, B) for tag in ("1.0", "2.0", "latest")
    }
    assert {o.verb for o in scene.memory.log} == {"list_tags", "head"}
    assert scene.writes() == 0


async def test_run_moves_a_tag_that_moved_at_the_source(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    moved = scene.memory.add(SOURCE, make_image("moved"), "1.0")

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): COPIED}
    assert results(run)[0].reason.startswith("the tag moved: ")
    assert scene.served(A) == {"1.0": moved.digest}


@pytest.mark.covers("C7")
@pytest.mark.parametrize(
    ("rule", "code"),
    [
        pytest.param(allow(make_rule(), overwrite=False), "OVERWRITE_FORBIDDEN", id="overwrite false"),
        pytest.param(allow(make_rule(), "1.*"), "TAG_IMMUTABLE", id="immutable tags"),
    ],
)
async def test_run_blocks_a_tag_that_must_not_move_and_copies_the_others(
    scene: Scene, image: Content, rule: Rule, code: str
) -> None:
    old = scene.memory.add(A, make_image("old"), "1.0")
    new = scene.memory.add(SOURCE, make_image("new"), "2.0")

    run = await scene.sync(rule)

    assert stands(run) == {("1.0", A): BLOCKED, ("2.0", A): COPIED}
    assert codes(run) == {"1.0": code}
    blocked = next(result for result in results(run) if result.outcome is BLOCKED)
    assert (blocked.digest, blocked.served) == (image.digest, old.digest)
    assert scene.served(A) == {"1.0": old.digest, "2.0": new.digest}
    assert adds_up(run)
    assert exits(run) == EXIT_REFUSED
    reason = {"OVERWRITE_FORBIDDEN": "overwrite", "TAG_IMMUTABLE": "immutable"}[code]
    assert isinstance(scene.events, Recorder)
    assert [event for event in scene.events.events if isinstance(event, GuardRefused)] == [
        GuardRefused(rule=rule.name, reason=reason)
    ]


@pytest.mark.covers("C47")
async def test_run_with_a_failure_beside_a_refusal_exits_as_failed(scene: Scene, image: Content) -> None:
    scene.memory.add(A, make_image("old"), "1.0")
    other = scene.memory.add(SOURCE, make_image("other"), "2.0")
    scene.memory.fail("manifest", DeniedError("no"), at=SOURCE, ref=other.digest)

    run = await scene.sync(allow(make_rule(), overwrite=False))

    assert stands(run) == {("1.0", A): BLOCKED, ("2.0", A): FAILED}
    assert exits(run) == EXIT_FAILED
    assert adds_up(run)


async def test_run_fails_the_image_alone_whose_content_the_source_does_not_give(scene: Scene, image: Content) -> None:
    index = scene.memory.add(SOURCE, make_index("web"), "2.0", "latest")
    scene.memory.fail("manifest", UnavailableError("no answer"), at=SOURCE, ref=index.index.manifests[0].digest)

    run = await scene.sync(make_rule("rule", A, B))

    assert stands(run) == {
        **{("1.0", target): COPIED for target in (A, B)},
        **{(tag, target): FAILED for tag in ("2.0", "latest") for target in (A, B)},
    }
    assert codes(run) == {"2.0": "UNAVAILABLE", "latest": "UNAVAILABLE"}
    assert adds_up(run)


async def test_run_tells_a_fault_of_its_own_as_that(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_image("other"), "2.0")
    scene.memory.fail("manifest", RuntimeError("boom"), at=SOURCE, ref=image.digest)

    run = await scene.sync(make_rule())

    assert stands(run) == {("1.0", A): FAILED, ("2.0", A): COPIED}
    assert codes(run) == {"1.0": "INTERNAL_ERROR"}


async def test_run_tells_events_of_what_it_looks_at_and_settles(scene: Scene, image: Content) -> None:
    served = scene.memory.add(SOURCE, make_image("served"), "2.0", "latest")
    scene.memory.add(A, served, "2.0")
    events = scene.events
    assert isinstance(events, Recorder)

    run = await scene.sync(make_rule())

    assert events.events[0] == RuleStarted(rule="rule")
    assert [e for e in events.events if isinstance(e, ImagesPlanned)] == [
        ImagesPlanned(rule="rule", images=2, units=2, tags=2)
    ]
    finished = [e for e in events.events if isinstance(e, UnitFinished)]
    assert [e.carried_out for e in finished] == [False, True, True]
    assert {id(e.result) for e in finished} == {id(result) for result in results(run)}


async def test_run_looks_without_changing_anything(scene: Scene, image: Content) -> None:
    run = await scene.look(make_rule("rule", A, B))

    assert scene.writes() == 0
    assert results(run) == []
    (group,) = run.groups()
    assert [target.target for planned in group for target in planned.plan.changes] == [A, B]


# --- rules and sources that fail


@pytest.mark.covers("C39", "D34")
async def test_run_keeps_the_failure_of_a_listing_to_its_rule(scene: Scene, image: Content) -> None:
    scene.memory.add(OTHER, make_image("tool"), "1.0")
    scene.memory.fail("list_tags", ListingIncompleteError("no proven end"), at=OTHER)

    run = await scene.sync(make_rule("one", A), make_rule("two", B, source=OTHER))

    one, two = reports(run)
    assert one.count(COPIED) == 1
    assert one.problems == ()
    assert [problem.code for problem in two.problems] == ["LISTING_INCOMPLETE"]
    assert (two.listed, two.results) == (0, ())
    assert adds_up(run)
    assert exits(run) == EXIT_FAILED


async def test_run_keeps_the_failure_of_a_repository_to_that(scene: Scene) -> None:
    for path in ("acme/api", "acme/web", "acme/zoo"):
        scene.memory.add(Repository(SOURCE.host, path), make_image(path), "1.0")
    scene.memory.fail("list_tags", DeniedError("no"), at=Repository(SOURCE.host, "acme/web"))

    run = await scene.sync(many_repositories("rule", "acme/*", "target.test/{repository}"))

    assert {str(result.source): result.outcome for result in results(run)} == {
        "source.test/acme/api": COPIED,
        "source.test/acme/zoo": COPIED,
    }
    assert [problem.code for problem in reports(run)[0].problems] == ["DENIED"]


@pytest.mark.covers("E97")
async def test_run_keeps_a_repository_for_which_the_template_gives_no_name_to_itself(scene: Scene) -> None:
    long = "a" * 250
    scene.memory.add(Repository(SOURCE.host, long), make_image("long"), "1.0")
    scene.memory.add(Repository(SOURCE.host, "short"), make_image("short"), "1.0")

    run = await scene.sync(many_repositories("rule", "**", "target.test/mirror/{repository}"))

    assert [result.outcome for result in results(run)] == [COPIED]
    assert [problem.code for problem in reports(run)[0].problems] == ["TEMPLATE_RESULT_INVALID"]


async def test_run_tells_that_repositories_could_not_be_listed(scene: Scene, image: Content) -> None:
    scene.memory.fail("repositories", UnavailableError("no answer"))

    run = await scene.sync(many_repositories("all", "*", "target.test/{repository}"), make_rule("one"))

    all_of_them, one = reports(run)
    assert [problem.code for problem in all_of_them.problems] == ["UNAVAILABLE"]
    assert one.count(COPIED) == 1


async def test_run_tells_the_first_error_of_a_group(scene: Scene, image: Content) -> None:
    group = ExceptionGroup("several", [ExceptionGroup("deep", [DeniedError("no")]), UnavailableError("no answer")])
    scene.memory.fail("list_tags", group)

    run = await scene.sync(make_rule())

    assert [problem.code for problem in reports(run)[0].problems] == ["DENIED"]


def test_unwrap_returns_a_single_error_as_it_is() -> None:
    error = ValueError("x")

    assert unwrap(error) is error
    assert unwrap(ExceptionGroup("g", [ExceptionGroup("h", [error])])) is error


# --- several rules


@pytest.mark.covers("D99")
async def test_run_reads_an_image_of_two_rules_once(scene: Scene, image: Content) -> None:
    run = await scene.sync(make_rule("one", A), make_rule("two", B, tags=only("1.0")))

    assert [report.count(COPIED) for report in reports(run)] == [1, 1]
    assert {digest: scene.memory.count("blob", at=SOURCE, ref=digest) for digest in image.blobs} == dict.fromkeys(
        image.blobs, 1
    )
    assert scene.memory.count("manifest", at=SOURCE) == 1
    assert scene.memory.count("list_tags") == 1


async def test_run_reads_an_image_of_rules_that_differ_in_referrers_for_each(scene: Scene, image: Content) -> None:
    sbom = scene.memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))
    plain = replace(make_rule("plain", B), referrers=Referrers(enabled=False))

    await scene.sync(make_rule("one", A), plain)

    assert sbom.digest in scene.memory.at(A).manifests
    assert sbom.digest not in scene.memory.at(B).manifests
    assert scene.served(B) == {"1.0": image.digest}


async def test_run_settles_two_rules_with_one_target_repository(scene: Scene, image: Content) -> None:
    run = await scene.sync(make_rule("one", f"{A}:one-{{tag}}"), make_rule("two", f"{A}:two-{{tag}}"))

    assert [report.count(COPIED) for report in reports(run)] == [1, 1]
    assert scene.served(A) == {"one-1.0": image.digest, "two-1.0": image.digest}
    assert adds_up(run)


async def test_run_settles_two_targets_of_one_repository(scene: Scene, image: Content) -> None:
    run = await scene.sync(make_rule("rule", A, f"{A}:hub-{{tag}}"))

    assert sorted(result.tags for result in results(run)) == [
        ((Tag("1.0"), Tag("1.0")), (Tag("1.0"), Tag("hub-1.0"))),
    ]
    assert scene.served(A) == {"1.0": image.digest, "hub-1.0": image.digest}
    assert adds_up(run)


@pytest.mark.covers("C42")
async def test_run_lets_rules_take_turns(scene: Scene) -> None:
    many, few = Repository(SOURCE.host, "many"), Repository(SOURCE.host, "few")
    for number in range(20):
        scene.memory.add(many, make_image(f"many{number}"), f"1.{number}")
    for number in range(3):
        scene.memory.add(few, make_image(f"few{number}"), f"1.{number}")

    run = await scene.look(make_rule("many", A, source=many), make_rule("few", B, source=few))

    order = [group[0].rule.name for group in run.groups()]
    assert order == ["many", "few"] * 3 + ["many"] * 17


@pytest.mark.covers("C39")
@pytest.mark.parametrize("verb", ["list_tags", "head", "manifest", "blob"])
async def test_run_does_not_wait_for_a_source_that_stands_still(scene: Scene, image: Content, verb: str) -> None:
    scene.memory.add(OTHER, make_image("tool"), "1.0")
    run = Run(scene.context(), [make_rule("stuck", A), make_rule("free", B, source=OTHER)])
    held = scene.memory.hold(verb, at=SOURCE)

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: bool(run.rules[1].results) and held.reached.is_set())
        stuck, free = reports(run)
        held.open()

    assert stuck.results == ()
    assert free.count(COPIED) == 1
    assert [report.count(COPIED) for report in reports(run)] == [1, 1]


async def test_run_orders_groups_by_source_host(scene: Scene, image: Content) -> None:
    scene.memory.add(OTHER, make_image("tool"), "1.0")

    run = await scene.look(
        make_rule("a", A), make_rule("b", B, source=OTHER), make_rule("c", f"{A}:c-{{tag}}"), make_rule("d", B)
    )

    assert [[planned.rule.name for planned in group] for group in run.groups()] == [["a", "c", "d"], ["b"]]


# --- one image


async def test_run_copies_one_digest_without_a_tag(scene: Scene, image: Content) -> None:
    run = await scene.sync(one_image("rule", A, digest=image.digest))

    (result,) = results(run)
    assert (result.outcome, result.tags) == (COPIED, ((None, None),))
    assert scene.memory.at(A).manifests == image.manifests
    assert reports(run)[0].listed == 1
    assert adds_up(run)
    assert stands(await scene.sync(one_image("rule", A, digest=image.digest))) == {(str(image.digest), A): IN_SYNC}
    assert scene.writes() == 0


# --- runs that end early


@pytest.mark.covers("D19", "C49")
async def test_run_that_was_interrupted_counts_what_was_left_as_skipped(scene: Scene, image: Content) -> None:
    other = scene.memory.add(SOURCE, make_image("other"), "2.0", "latest")
    served = scene.memory.add(SOURCE, make_image("served"), "3.0")
    scene.memory.add(A, served, "3.0")
    run = Run(scene.context(), [make_rule()])
    held = scene.memory.hold("put_manifest", at=A, ref="2.0")

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: held.reached.is_set() and run.rules[0].report().count(COPIED) == 1)
        group.cancel_scope.cancel()
    run.conclude("interrupted")

    assert stands(run) == {
        ("1.0", A): COPIED,
        ("2.0", A): SKIPPED,
        ("latest", A): SKIPPED,
        ("3.0", A): IN_SYNC,
    }
    assert {result.reason for result in results(run) if result.outcome is SKIPPED} == {"interrupted"}
    assert adds_up(run)
    assert scene.memory.violations == []
    assert other.digest not in scene.served(A).values()


async def test_run_that_was_interrupted_tells_the_tags_that_were_written(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, image, "latest")
    run = Run(scene.context(), [make_rule()])
    held = scene.memory.hold("put_manifest", at=A, ref="latest")

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(held.reached.is_set)
        group.cancel_scope.cancel()
    run.conclude("interrupted")

    assert stands(run) == {("1.0", A): COPIED, ("latest", A): SKIPPED}
    assert adds_up(run)


async def test_run_that_was_interrupted_while_looking_adds_up(scene: Scene, image: Content) -> None:
    scene.memory.add(OTHER, make_image("tool"), "1.0")
    run = Run(scene.context(), [make_rule("one", A), make_rule("two", B, source=OTHER)])
    held = scene.memory.hold("head", at=OTHER)

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: held.reached.is_set() and bool(run.rules[0].results))
        group.cancel_scope.cancel()
    run.conclude("interrupted")

    assert stands(run) == {("1.0", A): COPIED}
    assert adds_up(run)


async def test_run_that_came_to_its_end_has_nothing_to_conclude(scene: Scene, image: Content) -> None:
    run = await scene.sync(make_rule())
    before = results(run)

    run.conclude("interrupted")

    assert results(run) == before


async def test_run_keeps_an_image_in_sync_whose_late_signature_was_interrupted(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    scene.memory.add(SOURCE, make_artifact("signature"), f"sha256-{image.digest.hex}.sig")
    run = Run(scene.context(), [make_rule()])
    held = scene.memory.hold("put_blob", at=A)

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(held.reached.is_set)
        group.cancel_scope.cancel()
    run.conclude("interrupted")

    assert stands(run) == {("1.0", A): IN_SYNC}
    assert adds_up(run)


def test_rule_run_tells_a_warning_once() -> None:
    run = RuleRun(make_rule(tags=TagSelector()))
    run.warnings += ["a", "b", "a"]

    assert run.report().warnings == ("a", "b")


async def test_run_of_no_rules_does_nothing(scene: Scene) -> None:
    run = await scene.sync()

    assert (results(run), warnings(run), exits(run)) == ([], [], EXIT_OK)
    assert scene.memory.log == []
