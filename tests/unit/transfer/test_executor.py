from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from mirrord.errors import DeniedError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.attachment import cosign_tags
from mirrord.planning.report import Outcome, UnitResult
from mirrord.transfer.graph import Attachment
from tests.fakes.images import (
    Content,
    child,
    index_of,
    make_artifact,
    make_image,
    make_index,
)
from tests.fakes.memory import Operation
from tests.unit.transfer.bench import (
    SOURCE,
    TARGETS,
    A,
    B,
    Bench,
    C,
    codes,
    make_job,
    outcomes,
    shared_layers,
)

pytestmark = pytest.mark.anyio

COPIED, FAILED, BLOCKED = Outcome.COPIED, Outcome.FAILED, Outcome.BLOCKED
FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def image(bench: Bench) -> Content:
    return bench.memory.add(SOURCE, make_image("app", layers=5), "1.0")


@pytest.fixture
def index(bench: Bench) -> Content:
    return bench.memory.add(SOURCE, make_index("app", attestations=True), "1.0")


def effects(bench: Bench, target: Location) -> list[Operation]:
    return [operation for operation in bench.memory.effects if operation.location == target]


def attached(member: Content, tag: Tag | None = None) -> Attachment:
    return Attachment(graph=member.graph(), tag=tag)


# --- order


@pytest.mark.covers("C1")
async def test_executor_puts_blobs_children_root_attachments_and_tags_in_this_order(
    bench: Bench, index: Content
) -> None:
    sbom = bench.memory.add(SOURCE, make_artifact("sbom", subject=index.descriptor))
    signature = bench.memory.add(SOURCE, make_artifact("signature"))
    tag = cosign_tags(index.digest)[0]
    job = make_job(index, A, tags=("1.0", "latest"), attachments=[attached(sbom), attached(signature, tag)])

    results = await bench.copy(job)

    assert outcomes(results) == {A: COPIED}
    verbs = [operation.verb for operation in effects(bench, A)]
    blobs = len({*index.blobs, *sbom.blobs, *signature.blobs})
    assert verbs[:blobs] == ["blob"] * blobs
    manifests = [str(manifest.descriptor.digest) for manifest in index.graph().manifests]
    assert effects(bench, A)[blobs:] == [
        *(Operation("manifest", A, digest) for digest in manifests),
        Operation("manifest", A, str(sbom.digest)),
        Operation("manifest", A, str(signature.digest)),
        Operation("tag", A, str(tag), str(signature.digest)),
        Operation("manifest", A, str(index.digest)),
        Operation("tag", A, "1.0", str(index.digest)),
        Operation("manifest", A, str(index.digest)),
        Operation("tag", A, "latest", str(index.digest)),
    ]


async def test_executor_puts_the_root_under_its_tag_at_once_where_nothing_is_attached(
    bench: Bench, image: Content
) -> None:
    await bench.copy(make_job(image, A))

    assert bench.memory.count("put_manifest", at=A) == 1


async def test_executor_puts_an_image_without_tags_by_its_digest(bench: Bench, index: Content) -> None:
    (result,) = await bench.copy(make_job(index, A, tags=(None,)))

    assert result.outcome is COPIED
    assert result.tags == ((None, None),)
    assert bench.memory.at(A).manifests == index.manifests
    assert bench.memory.at(A).tags == {}


@pytest.mark.covers("C6")
async def test_executor_reads_every_tag_back(bench: Bench, image: Content) -> None:
    await bench.copy(make_job(image, A, tags=("1.0", "latest")))

    assert [o.ref for o in bench.memory.log if o.verb == "head"] == ["1.0", "latest"]


@pytest.mark.covers("C2")
async def test_executor_copies_byte_for_byte(bench: Bench, index: Content) -> None:
    await bench.copy(make_job(index, *TARGETS))

    for target in TARGETS:
        held = bench.memory.at(target)
        assert held.blobs == index.blobs
        assert {digest: m.raw for digest, m in held.manifests.items()} == {
            digest: m.raw for digest, m in index.manifests.items()
        }


async def test_executor_puts_a_manifest_of_two_indexes_once(bench: Bench) -> None:
    shared, other = make_image("shared"), make_image("other")
    one = index_of([(shared, child(shared, "linux/amd64"))])
    two = index_of([(shared, child(shared, "linux/amd64")), (other, child(other, "linux/arm64"))])
    root = index_of([(one, child(one)), (two, child(two)), (shared, child(shared))])
    bench.memory.add(SOURCE, root)

    await bench.copy(make_job(root, A))

    assert bench.memory.count("put_manifest", ref=shared.digest) == 1
    assert bench.memory.broken_tags(A) == []
    assert bench.memory.at(A).manifests == root.manifests


async def test_executor_puts_a_manifest_of_two_images_once(bench: Bench) -> None:
    shared = make_image("shared")
    indexes = [index_of([(shared, child(shared, "linux/amd64"))], annotations={"n": str(i)}) for i in range(5)]
    for index in indexes:
        bench.memory.add(SOURCE, index)

    async with anyio.create_task_group() as group:
        for i, index in enumerate(indexes):
            group.start_soon(bench.copy, make_job(index, A, tags=(f"1.{i}",)))

    assert bench.memory.count("put_manifest", ref=shared.digest) == 1
    assert len(bench.memory.at(A).tags) == 5


# --- counting


async def test_executor_reads_each_blob_once_for_three_targets(bench: Bench, image: Content) -> None:
    results = await bench.copy(make_job(image, *TARGETS))

    assert outcomes(results) == dict.fromkeys(TARGETS, COPIED)
    assert bench.memory.count("blob", at=SOURCE) == 6
    for result in results:
        assert result.blobs.uploaded == (6, sum(map(len, image.blobs.values())))
        assert result.digest == result.served == image.digest


@pytest.mark.parametrize("targets", [TARGETS[:1], TARGETS], ids=["one registry", "three registries"])
async def test_executor_sends_layers_that_twenty_repositories_share_once_to_each_registry(
    bench: Bench, targets: tuple[Repository, ...]
) -> None:
    layers = shared_layers(5)
    jobs = []
    for i in range(20):
        source = Repository(SOURCE.host, f"app-{i}")
        image = bench.memory.add(source, make_image(f"app-{i}", layers=layers))
        places = [Repository(target.host, f"mirror/app-{i}") for target in targets]
        jobs.append(make_job(image, *places, source=source))

    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(bench.copy, job)

    for layer in layers:
        digest = Digest.of(layer)
        assert bench.memory.count("blob", ref=digest) == 1
        for target in targets:
            assert bench.memory.count("put_blob", at=target.host, ref=digest) == 1
    mounts = [operation for operation in bench.memory.effects if operation.verb == "mount"]
    assert len(mounts) == 19 * 5 * len(targets)
    assert bench.memory.violations == []


async def test_executor_counts_the_bytes_of_a_target_once_for_two_rules(bench: Bench, image: Content) -> None:
    one, other = make_job(image, A, tags=("1.0",)), make_job(image, A, tags=("latest",))
    orders = (*one.orders, *(replace(order, rule="other") for order in other.orders))

    results = await bench.copy(replace(one, orders=orders))

    assert sorted(result.rule for result in results) == ["other", "rule"]
    assert sum(result.blobs.uploaded[0] for result in results) == 6
    assert bench.memory.count("put_blob") == 6


async def test_executor_asks_nothing_about_an_image_that_is_there(bench: Bench, image: Content) -> None:
    bench.memory.add(A, image)
    (result,) = await bench.copy(make_job(image, A))

    assert result.blobs.existed[0] == 6
    assert bench.memory.count("blob", "put_blob") == 0


# --- failure


@pytest.mark.covers("D5", "D46")
async def test_executor_leaves_the_tag_alone_where_a_blob_is_damaged(bench: Bench, image: Content) -> None:
    old = bench.memory.add(A, make_image("old"), "1.0")
    bench.memory.spoil[image.manifest.layers[0].digest] = [b"x" * 256] * 10

    results = await bench.copy(make_job(image, A, B))

    assert codes(results) == {A: "DIGEST_MISMATCH", B: "DIGEST_MISMATCH"}
    assert bench.memory.at(A).tags == {Tag("1.0"): old.digest}
    assert bench.memory.at(B).tags == {}


async def test_executor_stops_sending_to_a_target_that_failed(bench: Bench) -> None:
    image = bench.memory.add(SOURCE, make_image("app", layers=100, layer_size=8))
    bench.memory.fail("put_blob", DeniedError("read only"), at=B, times=None)

    results = await bench.copy(make_job(image, A, B))

    assert outcomes(results) == {A: COPIED, B: FAILED}
    assert bench.memory.count("put_blob", at=B) <= 32
    assert bench.memory.count("blob") == 101


async def test_executor_tells_which_tags_were_written_before_a_failure(bench: Bench, image: Content) -> None:
    bench.memory.fail("put_manifest", DeniedError("no more tags"), ref="1.1", times=None)

    results = await bench.copy(make_job(image, A, tags=("1.0", "1.1", "1.2")))

    assert [(result.outcome, [str(tag) for tag, _ in result.tags]) for result in results] == [
        (COPIED, ["1.0"]),
        (FAILED, ["1.1", "1.2"]),
    ]
    assert results[0].blobs.uploaded[0] == 6
    assert results[1].blobs.uploaded == (0, 0)


async def test_executor_shows_an_unexpected_error_as_a_fault_of_its_own(bench: Bench, image: Content) -> None:
    bench.memory.fail("put_manifest", ZeroDivisionError("oops"), at=A)

    (result,) = await bench.copy(make_job(image, A))

    assert result.problem is not None
    assert result.problem.code == "INTERNAL_ERROR"
    assert "ZeroDivisionError: oops" in result.problem.message


@pytest.mark.covers("C39", "D99")
@pytest.mark.parametrize("verb", ["put_blob", "take", "commit", "put_manifest", "head"])
async def test_executor_completes_the_others_while_one_target_is_stuck(image: Content, verb: str, bench: Bench) -> None:
    trap = bench.memory.hold(verb, at=B)
    results: list[UnitResult] = []

    async with anyio.create_task_group() as group:

        async def copy() -> None:
            results.extend(await bench.copy(make_job(image, *TARGETS)))

        group.start_soon(copy)
        await anyio.wait_all_tasks_blocked()
        assert bench.memory.at(A).tags == bench.memory.at(C).tags == {Tag("1.0"): image.digest}
        assert bench.memory.at(B).tags == {} or verb == "head"
        trap.open()

    assert outcomes(results) == dict.fromkeys(TARGETS, COPIED)
    assert bench.memory.count("blob") == 6
