from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from mirrord.errors import DeniedError, MissingContentError, UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.pattern import TagPattern
from mirrord.planning.report import Outcome, UnitResult
from mirrord.planning.rule import ForeignLayers, Policy
from mirrord.ports.events import IntegrityFailed
from mirrord.transfer.graph import Attachment
from tests.fakes.images import (
    Content,
    child,
    content,
    index_of,
    make_artifact,
    make_image,
    make_index,
)
from tests.fakes.memory import Memory, Operation
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


# --- n-th operation


RICH = make_index("rich", layers=1)
SBOM = make_artifact("sbom", subject=RICH.descriptor)
NESTED = make_artifact("signature of the sbom", subject=SBOM.descriptor)
SIGNATURE = make_artifact("signature")


def rich_image(bench: Bench) -> tuple[Content, list[Attachment]]:
    """Put an index with attachments, nested and under a tag, into the source."""
    tag = cosign_tags(RICH.digest)[0]
    for member, name in [(RICH, "1.0"), (SBOM, None), (NESTED, None), (SIGNATURE, str(tag))]:
        bench.memory.add(SOURCE, member, *([name] if name else []))
    return RICH, [attached(SBOM), attached(NESTED), attached(SIGNATURE, tag)]


def check_whole(bench: Bench, *targets: Location) -> None:
    """Fail if any tag points to incomplete content, or did at any moment."""
    assert bench.memory.violations == []
    for target in targets:
        assert bench.memory.broken_tags(target) == []


def failures() -> dict[str, Callable[[Bench, int, anyio.CancelScope], object]]:
    """Return what may happen to the n-th operation."""

    def fail(error: Exception) -> Callable[[Bench, int, anyio.CancelScope], object]:
        return lambda bench, n, _scope: bench.memory.fail(None, error, nth=n)

    return {
        "refused": fail(DeniedError("no")),
        "broken": fail(UnavailableError("the connection broke")),
        "unexpected": fail(ZeroDivisionError("oops")),
        "killed": lambda bench, n, scope: bench.memory.when(None, scope.cancel, nth=n),
    }


@pytest.mark.covers("C1", "C20", "D13")
@pytest.mark.parametrize("first", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("anyio_backend", "kind"),
    [*(("asyncio", kind) for kind in failures()), ("trio", "broken"), ("trio", "killed")],
    indirect=["anyio_backend"],
)
async def test_executor_leaves_every_target_whole_whichever_operation_fails(kind: str, first: int) -> None:
    n = first - 4
    trap_fired = True
    while trap_fired:
        n += 4
        bench = Bench(memory=Memory(piece=1024))
        for target in (A, B):  # registries that take anything: the order is the only protection
            bench.memory.hosts[target.host].checks_content = False
        index, attachments = rich_image(bench)
        job = make_job(index, A, B, tags=("1.0", "latest"), attachments=attachments)
        with anyio.CancelScope() as scope:
            failures()[kind](bench, n, scope)
            await bench.copy(job)
        trap_fired = bench.memory.traps[0].fired > 0
        check_whole(bench, A, B)
        for target in (A, B):
            held = bench.memory.at(target)
            if {Tag("1.0"), Tag("latest")} & held.tags.keys():
                assert all(attachment.graph.root.descriptor.digest in held.manifests for attachment in attachments)
        finished = {target: set(bench.memory.at(target).blobs) for target in (A, B)}

        bench.memory.traps.clear()
        bench.fresh()
        results = await bench.copy(job)

        assert outcomes(results) == {A: COPIED, B: COPIED}
        check_whole(bench, A, B)
        for target in (A, B):
            assert bench.memory.at(target).tags[Tag("latest")] == index.digest
            sent = {o.ref for o in bench.memory.log if o.verb == "put_blob" and o.location == target}
            assert sent.isdisjoint(map(str, finished[target]))
    assert n > 80


@pytest.mark.covers("D22", "D25")
async def test_executor_needs_no_second_pass_where_a_body_broke_once() -> None:
    n = 0
    trap_fired = True
    while trap_fired:
        n += 1
        bench = Bench()
        image = bench.memory.add(SOURCE, make_image("app", layers=1), "1.0")
        trap = bench.memory.fail("take", UnavailableError("the connection broke"), nth=n)
        results = await bench.copy(make_job(image, A, B))
        trap_fired = trap.fired > 0

        assert outcomes(results) == {A: COPIED, B: COPIED}


# --- healing


@pytest.mark.covers("C4", "D23")
async def test_executor_sends_a_blob_again_that_the_target_lost(bench: Bench, image: Content) -> None:
    layer = image.manifest.layers[0].digest
    bench.memory.when("put_manifest", lambda: bench.memory.at(A).blobs.pop(layer), at=A)

    (result,) = await bench.copy(make_job(image, A))

    assert result.outcome is COPIED
    assert bench.memory.count("put_manifest", at=A) == 2
    assert bench.memory.count("put_blob", at=A, ref=layer) == 2
    check_whole(bench, A)


@pytest.mark.covers("D49")
async def test_executor_puts_a_child_again_that_the_target_denies(bench: Bench, index: Content) -> None:
    first = index.index.manifests[0].digest
    held = bench.memory.at(A)

    def lose() -> None:
        held.manifests.pop(first)
        held.blobs.pop(index.manifests[first].blobs()[0].digest)

    bench.memory.when("put_manifest", lose, at=A, ref="1.0")

    (result,) = await bench.copy(make_job(index, A))

    assert result.outcome is COPIED
    assert bench.memory.count("put_manifest", at=A, ref=first) == 2
    check_whole(bench, A)


@pytest.mark.covers("C4")
async def test_executor_heals_once(bench: Bench, image: Content) -> None:
    bench.memory.fail("put_manifest", MissingContentError("a layer is unknown"), at=A, times=None)

    (result,) = await bench.copy(make_job(image, A))

    assert result.problem is not None
    assert result.problem.code == "MANIFEST_BLOB_UNKNOWN"
    assert bench.memory.count("put_manifest", at=A) == 2


async def test_executor_fails_where_healing_fails(bench: Bench, image: Content) -> None:
    layer = image.manifest.layers[0].digest
    bench.memory.when("put_manifest", lambda: bench.memory.at(A).blobs.pop(layer), at=A)
    bench.memory.fail("put_blob", DeniedError("no more"), at=A, ref=layer, nth=2, times=None)

    (result,) = await bench.copy(make_job(image, A))

    assert result.problem is not None
    assert result.problem.code == "DENIED"
    assert bench.memory.at(A).tags == {}


@pytest.mark.covers("C7")
async def test_executor_moves_no_signature_that_came_to_be_meanwhile(bench: Bench, image: Content) -> None:
    """Somebody else signed on the target between the look and the copy: theirs stays, and no tag is written."""
    signature, theirs = make_artifact("signature"), make_artifact("theirs")
    bench.memory.add(SOURCE, signature)
    bench.memory.add(A, theirs, "sha256-x.sig")
    attachment = Attachment(graph=signature.graph(), tag=Tag("sha256-x.sig"))

    results = await bench.copy(make_job(image, A, attachments=[attachment], policy=Policy(overwrite=False)))

    assert outcomes(results) == {A: BLOCKED}
    assert codes(results) == {A: "OVERWRITE_FORBIDDEN"}
    assert bench.memory.at(A).tags == {Tag("sha256-x.sig"): theirs.digest}


# --- sparse indexes


async def test_executor_copies_a_sparse_index_to_a_registry_that_takes_one(bench: Bench, index: Content) -> None:
    absent = frozenset({index.index.manifests[1].digest})
    bench.memory.absent |= absent
    bench.memory.hosts[A.host].takes_sparse = True

    (result,) = await bench.copy(make_job(index, A, absent=absent))

    assert result.outcome is COPIED
    assert bench.memory.at(A).tags == {Tag("1.0"): index.digest}
    assert absent.isdisjoint(bench.memory.at(A).manifests)


async def test_executor_tells_that_a_registry_refuses_a_sparse_index(bench: Bench, index: Content) -> None:
    absent = frozenset({index.index.manifests[1].digest})

    results = await bench.copy(make_job(index, A, absent=absent))

    assert codes(results) == {A: "SPARSE_INDEX_REFUSED"}
    assert "index: rewrite" in str(results[0].problem)
    assert bench.memory.at(A).tags == {}


# --- tags


@pytest.mark.covers("C6", "D53")
async def test_executor_tells_that_somebody_else_moved_the_tag(bench: Bench, image: Content) -> None:
    other = bench.memory.add(A, make_image("other"))
    bench.memory.when("head", lambda: bench.memory.at(A).tags.update({Tag("1.0"): other.digest}), at=A, ref="1.0")

    results = await bench.copy(make_job(image, A))

    assert codes(results) == {A: "TARGET_CHANGED_CONCURRENTLY"}
    assert str(other.digest) in results[0].reason
    assert bench.memory.count("put_manifest", at=A) == 1
    assert [event for event in bench.events.events if isinstance(event, IntegrityFailed)] == [
        IntegrityFailed(host=A.host, reason="read_back")
    ]


@pytest.mark.covers("C6")
async def test_executor_tells_that_the_target_serves_nothing_under_a_tag(bench: Bench, image: Content) -> None:
    bench.memory.when("head", bench.memory.at(A).tags.clear, at=A, ref="1.0")

    results = await bench.copy(make_job(image, A))

    assert codes(results) == {A: "TARGET_CHANGED_CONCURRENTLY"}
    assert "serves nothing" in results[0].reason


@pytest.mark.covers("C7")
@pytest.mark.parametrize(
    ("policy", "code"),
    [
        pytest.param(Policy(immutable_tags=(TagPattern.parse("1.*"),)), "TAG_IMMUTABLE", id="immutable"),
        pytest.param(Policy(overwrite=False), "OVERWRITE_FORBIDDEN", id="no overwrite"),
    ],
)
async def test_executor_does_not_move_a_protected_tag_that_appeared_meanwhile(
    bench: Bench, image: Content, policy: Policy, code: str
) -> None:
    other = bench.memory.add(A, make_image("other"), "1.0")

    results = await bench.copy(make_job(image, A, B, policy=policy))

    assert outcomes(results) == {A: BLOCKED, B: COPIED}
    assert codes(results)[A] == code
    assert bench.memory.at(A).tags == {Tag("1.0"): other.digest}


async def test_executor_may_put_a_protected_tag_that_serves_the_image_already(bench: Bench, image: Content) -> None:
    bench.memory.add(A, image, "1.0")

    results = await bench.copy(make_job(image, A, policy=Policy(overwrite=False)))

    assert outcomes(results) == {A: COPIED}


# --- foreign layers


def with_foreign_layer(bench: Bench) -> tuple[Content, Descriptor]:
    raw = content("windows", 300)
    layer = Descriptor(media_type=FOREIGN_LAYER, digest=Digest.of(raw), size=300, urls=("https://windows.test/layer",))
    image = bench.memory.add(SOURCE, make_image("app", foreign=[layer]), "1.0")
    bench.memory.at(SOURCE).blobs[layer.digest] = raw
    return image, layer


async def test_executor_leaves_foreign_layers_where_they_are(bench: Bench) -> None:
    image, layer = with_foreign_layer(bench)

    (result,) = await bench.copy(make_job(image, A))

    assert result.outcome is COPIED
    assert layer.digest not in bench.memory.at(A).blobs


async def test_executor_fetches_foreign_layers_where_the_rule_says_so(bench: Bench) -> None:
    image, layer = with_foreign_layer(bench)

    (result,) = await bench.copy(make_job(image, A, policy=Policy(foreign_layers=ForeignLayers.FETCH)))

    assert result.outcome is COPIED
    assert len(bench.memory.at(A).blobs[layer.digest]) == 300


# --- attachments


async def test_executor_puts_attachments_alone_where_the_image_is_served(bench: Bench) -> None:
    index, attachments = rich_image(bench)
    bench.memory.add(A, index, "1.0")

    (result,) = await bench.copy(make_job(index, A, attachments=attachments, serves_root=True))

    assert result.outcome is COPIED
    assert result.referrers == 3
    assert {operation.ref for operation in effects(bench, A) if operation.verb == "manifest"} == {
        str(attachment.graph.root.descriptor.digest) for attachment in attachments
    }
    assert bench.memory.count("blob") == len({blob.digest for a in attachments for blob in a.graph.blobs()})


async def test_executor_keeps_the_fallback_tag_of_a_registry_without_referrers(bench: Bench) -> None:
    bench.memory.hosts[A.host].referrers_api = False
    index, attachments = rich_image(bench)

    await bench.copy(make_job(index, A, attachments=attachments))

    held = bench.memory.at(A)
    listed = held.manifests[held.tags[fallback_tag(index.digest)]]
    assert [child.digest for child in listed.children()] == [attachments[0].graph.root.descriptor.digest]


@pytest.mark.covers("C1", "C9")
async def test_executor_holds_the_tag_back_where_an_attachment_fails(bench: Bench) -> None:
    index, attachments = rich_image(bench)
    sbom = attachments[0].graph.root.descriptor.digest
    bench.memory.fail("put_manifest", DeniedError("no artifacts"), at=A, ref=sbom, times=None)

    results = await bench.copy(make_job(index, A, B, attachments=attachments))

    assert outcomes(results) == {A: FAILED, B: COPIED}
    assert bench.memory.at(A).tags == {}


# --- what brings no blob


async def test_executor_makes_the_repository_for_an_index_without_blobs(bench: Bench) -> None:
    """Nothing is delivered then, and a registry that wants repositories made first would refuse the manifest."""
    empty = bench.memory.add(SOURCE, index_of([]), "1.0")

    results = await bench.copy(make_job(empty, A, tags=("1.0", "latest")))

    assert outcomes(results) == {A: COPIED}
    verbs = [operation.verb for operation in bench.memory.log if operation.location == A]
    assert (verbs[0], verbs.count("ensure_exists")) == ("ensure_exists", 1)


async def test_executor_makes_the_repository_once_where_blobs_are_brought(bench: Bench, index: Content) -> None:
    await bench.copy(make_job(index, A))

    assert bench.memory.count("ensure_exists", at=A) == 1


async def test_executor_puts_nothing_into_a_repository_that_cannot_be_made(bench: Bench) -> None:
    empty = bench.memory.add(SOURCE, index_of([]), "1.0")
    bench.memory.fail("ensure_exists", DeniedError("no right to create it"), at=A)

    results = await bench.copy(make_job(empty, A, B))

    assert outcomes(results) == {A: FAILED, B: COPIED}
    assert codes(results)[A] == "DENIED"
    assert bench.memory.count("put_manifest", at=A) == 0


async def test_images_that_wait_for_a_repository_are_told_why_it_cannot_be_made(bench: Bench) -> None:
    images = [bench.memory.add(SOURCE, index_of([], annotations={"n": str(i)})) for i in range(3)]
    trap = bench.memory.fail("ensure_exists", DeniedError("no right to create it"), at=A, times=None)
    trap.gate = anyio.Event()
    results: list[UnitResult] = []

    async def copy(image: Content) -> None:
        results.extend(await bench.copy(make_job(image, A)))

    async with anyio.create_task_group() as group:
        for image in images:
            group.start_soon(copy, image)
        await anyio.wait_all_tasks_blocked()
        trap.open()

    assert {result.problem.code for result in results if result.problem} == {"DENIED"}
    assert len(results) == len(images)


# --- deadlock


async def test_executor_copies_crosswise_where_every_registry_has_one_place() -> None:
    hosts = [f"{letter}.test" for letter in "abc"]
    bench = Bench.limited(1, *hosts)
    jobs = []
    for i in range(4):
        for source in hosts:
            image = bench.memory.add(Repository(source, f"app-{i}"), make_image(f"{source}/{i}"), "1.0")
            places = [Repository(target, f"from-{source}-{i}") for target in hosts if target != source]
            jobs.append(make_job(image, *places, source=Repository(source, f"app-{i}")))

    with anyio.fail_after(1.9):
        async with anyio.create_task_group() as group:
            for job in jobs:
                group.start_soon(bench.copy, job)

    for job in jobs:
        for order in job.orders:
            assert bench.memory.at(order.target.target).tags == {Tag("1.0"): job.root.digest}
    assert max(bench.memory.most_bodies.values()) == 1
