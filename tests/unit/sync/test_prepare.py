from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mirrord.errors import NotFoundError
from mirrord.planning.plan import Decision
from mirrord.planning.rule import IndexMode, Policy, Referrers, Rule
from mirrord.sync.context import Context
from mirrord.sync.prepare import LATE, Planned, prepare
from mirrord.sync.run import Run
from mirrord.transfer.job import CopyJob
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.unit.sync.scene import SOURCE, A, B, Scene, make_rule, only

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def image(scene: Scene) -> Content:
    return scene.memory.add(SOURCE, make_image("app"), "1.0")


async def plan(scene: Scene, *rules: Rule) -> tuple[Context, list[list[Planned]]]:
    """Look at rules, and return what needs work."""
    context = scene.context()
    run = Run(context, rules)
    await run.look()
    scene.memory.log.clear()
    return context, run.groups()


async def prepare_one(scene: Scene, *rules: Rule) -> CopyJob:
    context, groups = await plan(scene, *rules)
    (group,) = groups
    job = await prepare(context, group)
    assert job is not None
    return job


def rechecking(rule: Rule) -> Rule:
    return replace(rule, referrers=Referrers(recheck=timedelta(0)))


def orders(job: CopyJob) -> list[tuple[str, object, bool]]:
    return [(order.rule, order.target.target, order.serves_root) for order in job.orders]


async def test_prepare_makes_one_job_of_rules_that_want_the_same(scene: Scene, image: Content) -> None:
    strict = replace(make_rule("strict", B), policy=Policy(overwrite=False))

    job = await prepare_one(scene, make_rule("one", A), strict)

    assert (job.source, job.root) == (SOURCE, image.descriptor)
    assert job.graph == image.graph()
    assert orders(job) == [("one", A, False), ("strict", B, False)]
    assert [order.policy.overwrite for order in job.orders] == [True, False]
    assert scene.memory.count("manifest", at=SOURCE) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_rule("other", B, platforms=["linux/amd64"]), id="rewritten"),
        pytest.param(make_rule("other", B, platforms=["linux/amd64"], mode=IndexMode.SPARSE), id="sparse"),
        pytest.param(replace(make_rule("other", B), referrers=Referrers(enabled=False)), id="no referrers"),
    ],
)
async def test_plans_are_not_carried_out_together_where_they_want_other_content(scene: Scene, other: Rule) -> None:
    scene.memory.add(SOURCE, make_index("app"), "1.0")

    _, groups = await plan(scene, make_rule("one", A), other)

    assert [[planned.rule.name for planned in group] for group in groups] == [["one"], ["other"]]


async def test_plans_are_carried_out_together_where_rules_differ_in_recheck_alone(scene: Scene, image: Content) -> None:
    """How often attachments are looked for does not change which there are: one read feeds both."""
    job = await prepare_one(scene, make_rule("one", A), rechecking(make_rule("two", B)))

    assert orders(job) == [("one", A, False), ("two", B, False)]


async def test_plans_are_carried_out_together_under_different_tags(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, image, "latest")

    job = await prepare_one(scene, make_rule("one", A, tags=only("1.0")), make_rule("two", A, tags=only("latest")))

    assert [[str(tag.target_tag) for tag in order.target.changes] for order in job.orders] == [["1.0"], ["latest"]]


async def test_prepare_fetches_a_manifest_that_a_filter_fetched_no_second_time(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")

    job = await prepare_one(scene, make_rule(platforms=["linux/amd64"]))

    assert job.root == index.descriptor
    assert job.graph.root.descriptor.digest != index.digest
    assert len(job.graph.manifests) == 2
    assert scene.memory.count("manifest", at=SOURCE) == 1


async def test_prepare_leaves_absent_children_of_a_sparse_index_alone(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")

    job = await prepare_one(scene, make_rule(platforms=["linux/amd64"], mode=IndexMode.SPARSE))

    assert job.graph.root == index.root
    assert len(job.graph.manifests) == 2
    assert len(job.graph.absent) == 1


async def test_prepare_finds_attachments_by_the_listing_without_asking_for_each_name(
    scene: Scene, image: Content
) -> None:
    signature = scene.memory.add(SOURCE, make_artifact("signature"), f"sha256-{image.digest.hex}.sig")
    sbom = scene.memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))

    job = await prepare_one(scene, make_rule())

    assert {attachment.graph.root.descriptor.digest for attachment in job.attachments} == {
        signature.digest,
        sbom.digest,
    }
    assert scene.memory.count("head", at=SOURCE) == 1


async def test_prepare_asks_for_each_name_of_attachments_where_nothing_was_listed(scene: Scene, image: Content) -> None:
    job = await prepare_one(scene, make_rule(tags=only("1.0")))

    assert job.attachments == ()
    assert scene.memory.count("head", at=SOURCE) == 3


async def test_prepare_omits_the_attachments_of_an_index_that_is_rewritten(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    scene.memory.add(SOURCE, make_artifact("sbom", subject=index.descriptor))
    arm = next(c for c in index.index.manifests if str(c.platform) == "linux/arm64")
    kept = scene.memory.add(SOURCE, make_artifact("sbom of arm64", subject=arm))

    job = await prepare_one(scene, make_rule(platforms=["linux/arm64"]))

    assert [attachment.graph.root.descriptor.digest for attachment in job.attachments] == [kept.digest]


async def test_prepare_orders_only_attachments_for_a_target_that_serves_the_image(scene: Scene, image: Content) -> None:
    await scene.sync(make_rule())
    scene.memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))

    job = await prepare_one(scene, rechecking(make_rule("rule", A, B)))

    assert orders(job) == [("rule", B, False), ("rule", A, True)]
    (tag,) = job.orders[1].target.changes
    assert (tag.decision, tag.reason, tag.before) == (Decision.COPY, LATE, image.digest)


async def test_prepare_orders_nothing_where_a_closer_look_finds_nothing(scene: Scene, image: Content) -> None:
    scene.memory.add(SOURCE, make_artifact("sbom", subject=image.descriptor))
    rule = rechecking(make_rule())
    await scene.sync(rule)
    context, groups = await plan(scene, rule)

    jobs: Sequence[CopyJob | None] = [await prepare(context, group) for group in groups]

    assert jobs == [None]


async def test_prepare_raises_where_the_source_lacks_content(scene: Scene) -> None:
    index = scene.memory.add(SOURCE, make_index("app"), "1.0")
    context, (group,) = await plan(scene, make_rule())
    del scene.memory.at(SOURCE).manifests[index.index.manifests[0].digest]

    with pytest.raises(NotFoundError):
        await prepare(context, group)
