"""Rules of one run that read what others of it write."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mirrord.errors import DeniedError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.attachment import cosign_tags
from mirrord.planning.pattern import PathPattern
from mirrord.planning.report import Outcome
from mirrord.planning.rule import RepositorySelector, Rule, Source
from mirrord.sync.run import Run
from tests.fakes.images import Content, make_artifact, make_image
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
    only,
    reports,
    settle,
    stands,
    warnings,
)

pytestmark = pytest.mark.anyio

OTHER = Repository("other.test", "tool")
END = Repository("end.test", "app")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app"), "1.0", "latest")


def named(name: str, target: Repository, ref: str | Digest) -> Rule:
    """Return a rule that names one image in the middle of the chain."""
    tag = Tag(ref) if isinstance(ref, str) else None
    digest = ref if isinstance(ref, Digest) else None
    return replace(make_rule(name, target), source=Source(location=A, tag=tag, digest=digest))


async def test_one_run_brings_the_end_of_a_chain_in_step(scene: Scene, image: Content) -> None:
    """Three rules, the last one first in the file; nothing is left for a second run."""
    rules = [make_rule("3", END, source=B), make_rule("2", B, source=A), make_rule("1", A)]

    run = await scene.sync(*rules)

    assert scene.served(END) == {"1.0": image.digest, "latest": image.digest}
    assert set(stands(run).values()) == {Outcome.COPIED}
    assert exits(run) == 0
    assert warnings(run) == []
    assert adds_up(run)
    await scene.sync(*rules)
    assert scene.writes() == 0


async def test_chain_passes_on_what_is_attached(scene: Scene, image: Content) -> None:
    """Signatures that the first rule brings are there when the second one looks for them."""
    signature = scene.memory.add(SOURCE, make_artifact("signature"), str(cosign_tags(image.digest)[0]))

    await scene.sync(make_rule("2", B, source=A), make_rule("1", A))

    assert scene.served(B)[str(cosign_tags(image.digest)[0])] == signature.digest


async def test_chain_sees_what_was_written_although_it_was_listed_before(scene: Scene, image: Content) -> None:
    """A third rule lists and resolves the middle of the chain early; the end is in step all the same."""
    old = scene.memory.add(A, make_image("old"), "latest", "own")
    early = make_rule("early", f"{OTHER}:{{tag}}", source=A, tags=only("/own|other/", "own"))
    late = make_rule("late", END, source=A)
    first = make_rule("first", A, tags=only("latest", "1.0"))
    held = scene.memory.hold("blob", at=SOURCE)
    run = Run(scene.context(), [early, late, first])

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: bool(run.rules[0].results) and held.reached.is_set())
        assert scene.memory.count("list_tags", at=A) > 0
        held.open()

    assert scene.served(END) == {"latest": image.digest, "1.0": image.digest, "own": old.digest}
    assert scene.served(OTHER) == {"own": old.digest}


async def test_rules_outside_a_chain_do_not_wait_for_it(scene: Scene, image: Content) -> None:
    """While the first rule of a chain stands still, rules of its source host and of others go on."""
    scene.memory.add(OTHER, make_image("tool"), "1.0")
    neighbour = Repository(SOURCE.host, "neighbour")
    scene.memory.add(neighbour, make_image("neighbour"), "1.0")
    rules = [
        make_rule("end", END, source=A),
        make_rule("begin", A),
        make_rule("next", B, source=neighbour),
        make_rule("free", f"{B}:tool", source=OTHER, tags=only("1.0")),
    ]
    run = Run(scene.context(), rules)
    held = scene.memory.hold("put_blob", at=A)

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: held.reached.is_set() and all(one.results for one in run.rules[2:]))
        end, begin = reports(run)[:2]
        held.open()

    assert end.results == begin.results == ()
    assert scene.served(END) == scene.served(SOURCE)


async def test_rule_waits_for_the_one_that_feeds_it_and_not_for_its_whole_lane(scene: Scene, image: Content) -> None:
    """The chain goes on when its first rule is done, although others of the same source host still copy."""
    neighbour = Repository(SOURCE.host, "neighbour")
    scene.memory.add(neighbour, make_image("neighbour"), "1.0")
    run = Run(
        scene.context(),
        [make_rule("slow", B, source=neighbour), make_rule("begin", A), make_rule("end", END, source=A)],
    )
    held = scene.memory.hold("put_blob", at=B)

    async with anyio.create_task_group() as group:
        group.start_soon(run.carry_out, scene.executor())
        await settle(lambda: bool(run.rules[2].results) and held.reached.is_set())
        assert not run.rules[0].results
        held.open()

    assert scene.served(END) == scene.served(SOURCE)


async def test_second_rule_runs_with_what_is_there_when_the_first_one_fails(scene: Scene, image: Content) -> None:
    """A refused image and a source that cannot be listed are troubles of the first rule alone."""
    old = scene.memory.add(A, make_image("old"), "1.0")
    scene.memory.fail("put_blob", DeniedError("no"), at=A, times=None)

    run = await scene.sync(make_rule("2", B, source=A), make_rule("1", A))

    assert scene.served(B) == {"1.0": old.digest}
    assert set(codes(run.rules[1])) == {"1.0", "latest"}
    assert not codes(run.rules[0])

    scene.memory.traps.clear()
    scene.memory.fail("list_tags", DeniedError("no"), at=SOURCE, times=None)
    run = await scene.sync(make_rule("2", END, source=A), make_rule("1", A))

    assert scene.served(END) == {"1.0": old.digest}
    assert [len(report.problems) for report in reports(run)] == [0, 1]


async def test_chain_by_patterns_is_in_step_after_one_run(scene: Scene, image: Content) -> None:
    """Repositories that the first rule makes are found by the second one's pattern."""
    first = many_repositories("1", "*", "target-a.test/mirror/{repository}")
    selector = RepositorySelector(host=A.host, pattern=PathPattern.parse("mirror/**"))
    second = replace(make_rule("2", "end.test/{name}"), source=Source(repositories=selector))

    await scene.sync(second, first)

    assert scene.served(END) == scene.served(SOURCE)


async def test_circle_ends_and_is_told(scene: Scene, image: Content) -> None:
    """Two rules that may feed each other are carried out, the one whose name sorts first at once."""
    there = make_rule("a", A)
    back = make_rule("b", f"{SOURCE}:{{tag}}-back", source=A, tags=only("/1.+/"))

    with anyio.fail_after(5):
        run = await scene.sync(back, there)

    assert scene.served(SOURCE)["1.0-back"] == image.digest
    [warning] = reports(run)[1].warnings
    assert 'rules "a" and "b" may feed each other' in warning
    assert reports(run)[0].warnings == ()


async def test_plan_says_that_it_cannot_see_the_end_of_a_chain(scene: Scene, image: Content) -> None:
    """What is missing only until an earlier rule writes it is no failure, through any number of rules."""
    rules = [make_rule("3", END, source=B), named("2", B, "latest"), make_rule("1", A)]

    run, forecast = await scene.forecast(*rules)

    assert {change.rule for change in forecast.changes} == {"1"}
    assert exits(run) == 0
    third, second, first = reports(run)
    assert ['before it by "2"' in warning for warning in third.warnings] == [True]
    assert ['before it by "1"' in warning for warning in second.warnings] == [True]
    assert first.warnings == ()
    assert [(result.outcome, result.reason) for result in second.results] == [
        (Outcome.SKIPPED, 'rule "1" would write it first')
    ]
    assert third.problems == ()
    assert scene.writes() == 0


async def test_plan_of_a_chain_in_step_has_no_warnings(scene: Scene, image: Content) -> None:
    """Where nothing would be written first, a plan is as good as any."""
    rules = [make_rule("2", B, source=A), make_rule("1", A)]
    await scene.sync(*rules)

    run, forecast = await scene.forecast(*rules)

    assert warnings(run) == []
    assert forecast.changes == ()


async def test_plan_still_tells_what_no_rule_would_write(scene: Scene, image: Content) -> None:
    """A tag that the chain does not bring is missing, today and after the run."""
    second = named("2", B, "none")

    run, _ = await scene.forecast(second, make_rule("1", A, tags=only("/.*/")))

    assert codes(run.rules[0]) == {"none": "NOT_FOUND"}
    assert exits(run) == 1


async def test_plan_knows_an_image_by_digest_that_is_to_come(scene: Scene, image: Content) -> None:
    """Rules that name content by digest are told the same."""
    second = named("2", B, image.digest)

    run, _ = await scene.forecast(second, make_rule("1", A))

    assert exits(run) == 0
    assert [result.reason for result in reports(run)[0].results] == ['rule "1" would write it first']


async def test_plan_does_not_warn_of_what_would_be_written_beside(scene: Scene, image: Content) -> None:
    """A rule that may be fed by a pattern, and is not as things are, is planned as any other."""
    beside = Repository(A.host, "mirror/beside")
    scene.memory.add(beside, make_image("beside"), "1.0")

    run, forecast = await scene.forecast(
        make_rule("2", END, source=beside), many_repositories("1", "*", "target-a.test/mirror/{repository}")
    )

    assert {change.rule for change in forecast.changes} == {"1", "2"}
    assert warnings(run) == []


async def test_chain_resolves_anew_what_a_rule_before_it_resolved(scene: Scene, image: Content) -> None:
    """The first rule of a circle saw the old digest of a tag; the end of the chain gets the new one."""
    scene.memory.add(A, make_image("old"), "1.0")
    first = make_rule("a", f"{SOURCE}:{{tag}}-back", source=A, tags=only("/1.+/"))
    second = make_rule("b", A, tags=only("/1.+/"))
    third = make_rule("c", END, source=A, tags=only("1.0"))

    run = await scene.sync(third, second, first)

    assert [len(report.warnings) for report in reports(run)] == [0, 0, 1]
    assert scene.served(END) == {"1.0": image.digest}


async def test_plan_counts_the_beginning_of_a_chain_before_its_end(scene: Scene, image: Content) -> None:
    """What is counted first reads the source, so changes stand in the order of the run."""
    scene.memory.add(A, make_image("old"), "0.9")

    run = await scene.look(make_rule("2", B, source=A), make_rule("1", A))

    assert [group[0].rule.name for group in run.groups()] == ["1", "2"]


async def test_plan_passes_over_names_that_a_later_rule_could_not_write(scene: Scene, image: Content) -> None:
    """A tag that gets too long on its way is no image to come; the others are."""
    second = make_rule("2", f"{B}:{'x' * 120}-{{tag}}", source=A)
    third = replace(make_rule("3", END), source=Source(location=B, tag=Tag("x" * 120 + "-latest")))

    run, _ = await scene.forecast(third, second, make_rule("1", A))

    assert codes(run.rules[0]) == {}
    assert [result.outcome for result in reports(run)[0].results] == [Outcome.SKIPPED]

    fourth = replace(make_rule("3", END), source=Source(location=B, tag=Tag("x" * 120 + "-1.0")))
    scene.memory.add(SOURCE, make_image("long"), "1.0-and-more")
    run, _ = await scene.forecast(fourth, second, make_rule("1", A))

    assert [result.outcome for result in reports(run)[0].results] == [Outcome.SKIPPED]
