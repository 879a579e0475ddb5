from __future__ import annotations

import anyio
import pytest

from mirrord.errors import (
    ContentMismatchError,
    DeniedError,
    LeaderFailedError,
    MirrordError,
    NotFoundError,
    UnavailableError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Repository
from mirrord.planning.report import BlobOutcome
from mirrord.ports.events import BlobFinished, BlobProgress, BlobSettled, BlobStarted, IntegrityFailed
from mirrord.transfer.blob import TRIES
from tests.fakes.images import Content, make_image
from tests.fakes.memory import FreeSlots
from tests.unit.transfer.bench import SOURCE, TARGETS, A, B, Bench, C, Ends

pytestmark = pytest.mark.anyio

UPLOADED, EXISTED, MOUNTED = BlobOutcome.UPLOADED, BlobOutcome.EXISTED, BlobOutcome.MOUNTED
ELSEWHERE = Repository(A.host, "other")
BROKEN = UnavailableError("the connection broke")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def image(bench: Bench) -> Content:
    return bench.memory.add(SOURCE, make_image("app", layers=1), "1.0")


@pytest.fixture
def layer(image: Content) -> Digest:
    return image.manifest.layers[0].digest


def mismatches(bench: Bench) -> list[IntegrityFailed]:
    return [event for event in bench.events.events if isinstance(event, IntegrityFailed)]


async def test_blob_is_sent_to_all_targets_from_one_read(bench: Bench, image: Content, layer: Digest) -> None:
    ends = await bench.deliver(image, layer, *TARGETS)

    assert ends == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 1
    assert bench.memory.count("put_blob") == 3
    assert all(bench.memory.at(target).blobs == {layer: image.blobs[layer]} for target in TARGETS)


async def test_blob_that_a_target_holds_is_not_sent(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.add(A, image)

    ends = await bench.deliver(image, layer, A, B)

    assert ends == {A: EXISTED, B: UPLOADED}
    assert bench.memory.count("put_blob", at=A) == 0


async def test_blob_that_every_target_holds_is_not_read(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.add(A, image)

    assert await bench.deliver(image, layer, A) == {A: EXISTED}
    assert bench.memory.count("blob", "put_blob") == 0


async def test_blob_that_went_to_a_target_is_not_asked_for_again(bench: Bench, image: Content, layer: Digest) -> None:
    await bench.deliver(image, layer, A)
    bench.memory.log.clear()

    assert await bench.deliver(image, layer, A) == {A: EXISTED}
    assert bench.memory.log == []


async def test_blob_is_sent_by_force_although_the_target_says_it_has_it(
    bench: Bench, image: Content, layer: Digest
) -> None:
    bench.memory.add(A, image)

    assert await bench.deliver(image, layer, A, force=True) == {A: UPLOADED}
    assert bench.memory.count("put_blob", at=A) == 1


async def test_blob_is_mounted_from_a_repository_that_got_it_before(
    bench: Bench, image: Content, layer: Digest
) -> None:
    await bench.deliver(image, layer, ELSEWHERE)

    assert await bench.deliver(image, layer, A) == {A: MOUNTED}
    assert bench.memory.count("put_blob") == 1
    assert [operation.detail for operation in bench.memory.effects if operation.verb == "mount"] == [str(ELSEWHERE)]


async def test_blob_is_mounted_from_a_source_at_the_same_registry(bench: Bench, image: Content, layer: Digest) -> None:
    target = Repository(SOURCE.host, "copy")

    assert await bench.deliver(image, layer, target) == {target: MOUNTED}
    assert bench.memory.count("blob") == 0


async def test_blob_is_sent_where_no_mount_is_granted(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.hosts[A.host].mounts = False
    others = [Repository(A.host, f"other-{i}") for i in range(5)]
    for other in others:
        await bench.deliver(image, layer, other)
    bench.memory.log.clear()

    assert await bench.deliver(image, layer, A) == {A: UPLOADED}
    assert bench.memory.count("mount_blob") == 3


async def test_blob_is_never_mounted_across_registries(bench: Bench, image: Content, layer: Digest) -> None:
    await bench.deliver(image, layer, A)

    assert await bench.deliver(image, layer, B) == {B: UPLOADED}
    assert bench.memory.count("mount_blob") == 0


async def test_blob_from_a_layout_is_sent_to_a_registry(bench: Bench, image: Content, layer: Digest) -> None:
    layout = LayoutDirectory("airgap")
    bench.memory.add(layout, image)

    assert await bench.deliver(image, layer, A, source=layout) == {A: UPLOADED}


async def test_blob_goes_to_two_repositories_of_one_registry_as_one_upload(
    bench: Bench, image: Content, layer: Digest
) -> None:
    ends = await bench.deliver(image, layer, A, ELSEWHERE)

    assert sorted(str(end) for end in ends.values()) == ["mounted", "uploaded"]
    assert bench.memory.count("put_blob") == 1


async def test_blob_for_two_racing_images_is_read_once(bench: Bench, image: Content, layer: Digest) -> None:
    trap = bench.memory.hold("put_blob")
    found: list[Ends] = []

    async def deliver(*targets: Repository) -> None:
        found.append(await bench.deliver(image, layer, *targets))

    async with anyio.create_task_group() as group:
        group.start_soon(deliver, A, B, C)
        group.start_soon(deliver, C, B, A)
        await anyio.wait_all_tasks_blocked()
        trap.open()

    assert bench.memory.count("blob") == 1
    assert bench.memory.count("put_blob") == 3
    assert sorted(set(map(str, ends.values())) == {"uploaded"} for ends in found) == [False, True]


async def test_blob_for_a_registry_that_is_busy_with_it_waits_and_is_mounted(
    bench: Bench, image: Content, layer: Digest
) -> None:
    trap = bench.memory.hold("put_blob", at=ELSEWHERE)
    first: Ends = {}
    second: Ends = {}

    async with anyio.create_task_group() as group:

        async def one() -> None:
            first.update(await bench.deliver(image, layer, ELSEWHERE))

        async def other() -> None:
            second.update(await bench.deliver(image, layer, A, B))

        group.start_soon(one)
        await trap.reached.wait()
        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        assert B in bench.memory.held
        assert layer in bench.memory.at(B).blobs
        assert bench.memory.count("has_blob", "mount_blob", "put_blob", at=A) == 0
        trap.open()

    assert first == {ELSEWHERE: UPLOADED}
    assert second == {A: MOUNTED, B: UPLOADED}


async def test_blob_of_a_cancelled_image_is_taken_over_by_another(bench: Bench, image: Content, layer: Digest) -> None:
    trap = bench.memory.hold("put_blob", times=1)
    ends: Ends = {}

    async def other() -> None:
        ends.update(await bench.deliver(image, layer, A))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(bench.deliver, image, layer, ELSEWHERE)
                await trap.reached.wait()
                group.start_soon(other)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

    assert ends == {A: UPLOADED}


async def test_blob_leaves_a_failing_target_behind(bench: Bench, image: Content, layer: Digest) -> None:
    error = DeniedError("not here")
    bench.memory.fail("put_blob", error, at=B, times=None)

    ends = await bench.deliver(image, layer, *TARGETS)

    assert ends == {A: UPLOADED, B: error, C: UPLOADED}
    assert bench.memory.count("blob") == 1


@pytest.mark.parametrize("verb", ["ensure_exists", "has_blob"])
async def test_blob_leaves_a_target_behind_that_cannot_be_asked(
    bench: Bench, image: Content, layer: Digest, verb: str
) -> None:
    error = UnavailableError("no answer")
    bench.memory.fail(verb, error, at=B, times=None)

    assert await bench.deliver(image, layer, *TARGETS) == {A: UPLOADED, B: error, C: UPLOADED}


@pytest.mark.parametrize("verb", ["put_blob", "take", "commit"])
async def test_blob_is_sent_again_alone_to_a_target_that_broke(
    bench: Bench, image: Content, layer: Digest, verb: str
) -> None:
    bench.memory.fail(verb, BROKEN, at=B)

    assert await bench.deliver(image, layer, *TARGETS) == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("put_blob", at=A) == 1
    assert bench.memory.count("put_blob", at=B) == 2
    assert bench.memory.count("blob") == 2
    assert len(bench.clock.slept) == 1


async def test_blob_is_given_up_after_four_tries_at_a_target(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.fail("commit", BROKEN, at=B, times=None)

    assert await bench.deliver(image, layer, A, B) == {A: UPLOADED, B: BROKEN}
    assert bench.memory.count("put_blob", at=B) == TRIES


async def test_blob_waits_as_long_as_the_target_asks_for(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.fail("put_blob", UnavailableError("busy", retry_after_s=77.0))

    assert await bench.deliver(image, layer, A) == {A: UPLOADED}
    assert bench.clock.slept == [77.0]


async def test_blob_is_read_again_for_all_targets_together_after_the_source_broke(
    bench: Bench, image: Content, layer: Digest
) -> None:
    bench.memory.fail("piece", BROKEN, times=4)

    assert await bench.deliver(image, layer, *TARGETS) == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 5
    assert [bench.memory.count("put_blob", at=target) for target in TARGETS] == [2, 2, 2]


@pytest.mark.covers("C41")
async def test_blob_of_a_source_that_always_breaks_is_asked_for_a_bounded_number_of_times(
    bench: Bench, image: Content, layer: Digest
) -> None:
    bench.memory.fail("piece", BROKEN, times=None)

    assert await bench.deliver(image, layer, *TARGETS) == dict.fromkeys(TARGETS, BROKEN)
    assert bench.memory.count("blob") <= 16


@pytest.mark.covers("D4", "D46")
async def test_blob_that_came_wrong_is_read_once_more(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.spoil[layer] = [b"x" * 256]

    assert await bench.deliver(image, layer, A, B) == {A: UPLOADED, B: UPLOADED}
    assert bench.memory.count("blob") == 2
    assert mismatches(bench) == [IntegrityFailed(host=SOURCE.host, reason="digest")]


async def test_blob_of_another_size_is_told_once_for_all_targets(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.spoil[layer] = [b"x" * 100]

    assert await bench.deliver(image, layer, A, B) == {A: UPLOADED, B: UPLOADED}
    assert mismatches(bench) == [IntegrityFailed(host=SOURCE.host, reason="size")]


@pytest.mark.covers("D5", "D46")
async def test_blob_that_always_comes_wrong_is_given_up(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.spoil[layer] = [b"x" * 256] * 10

    ends = await bench.deliver(image, layer, A, B)

    assert [type(end) for end in ends.values()] == [ContentMismatchError] * 2
    assert bench.memory.count("blob") == 2
    assert bench.memory.at(A).blobs == bench.memory.at(B).blobs == {}


async def test_blob_that_a_target_receives_wrong_is_given_up(bench: Bench, image: Content, layer: Digest) -> None:
    error = ContentMismatchError("the bytes were changed on the way", retryable=True)
    bench.memory.fail("commit", error, at=B, times=None)

    with anyio.fail_after(1):
        ends = await bench.deliver(image, layer, A, B)

    assert ends == {A: UPLOADED, B: error}
    assert bench.memory.count("put_blob", at=B) <= TRIES
    assert {(event.host, event.reason) for event in mismatches(bench)} == {(B.host, "digest")}


@pytest.mark.covers("D37")
async def test_blob_that_the_source_lacks_makes_the_source_incomplete(
    bench: Bench, image: Content, layer: Digest
) -> None:
    del bench.memory.at(SOURCE).blobs[layer]

    ends = await bench.deliver(image, layer, A, B)

    for end in ends.values():
        assert isinstance(end, MirrordError)
        assert end.code == "SOURCE_INCOMPLETE"
        assert str(layer) in end.message
        assert isinstance(end.__cause__, NotFoundError)
    assert bench.memory.count("blob") == 1


@pytest.mark.covers("C41")
async def test_blob_that_is_forbidden_is_asked_for_once_by_twenty_images(
    bench: Bench, image: Content, layer: Digest
) -> None:
    bench.memory.fail("blob", DeniedError("not yours"), times=None)
    ends: list[BlobOutcome | Exception] = []

    async def deliver(target: Repository) -> None:
        ends.extend((await bench.deliver(image, layer, target)).values())

    async with anyio.create_task_group() as group:
        for i in range(20):
            group.start_soon(deliver, Repository(A.host, f"app-{i}"))

    assert sorted(type(end).__name__ for end in ends) == ["DeniedError"] + ["LeaderFailedError"] * 19
    assert all("not yours" in str(end) for end in ends)
    assert bench.memory.count("blob") == 1
    assert bench.memory.count("has_blob", "put_blob") == 2


async def test_blob_that_one_target_refused_is_not_offered_to_it_again(
    bench: Bench, image: Content, layer: Digest
) -> None:
    bench.memory.fail("put_blob", DeniedError("too large"), at=A, times=None)
    await bench.deliver(image, layer, A)

    ends = await bench.deliver(image, layer, A, B)

    assert isinstance(ends[A], LeaderFailedError)
    assert ends[B] == UPLOADED
    assert bench.memory.count("put_blob", at=A) == 1


@pytest.mark.covers("C39", "D99")
async def test_blob_reaches_the_others_while_one_target_is_stuck(bench: Bench, image: Content, layer: Digest) -> None:
    trap = bench.memory.hold("put_blob", at=B)
    ends: Ends = {}
    blob = image.manifest.layers[0]

    async with anyio.create_task_group() as group:

        async def deliver() -> None:
            writers = [bench.memory.writer(target) for target in TARGETS]
            await bench.mover.deliver(blob, bench.memory.reader(SOURCE), writers, settle=ends.__setitem__)

        group.start_soon(deliver)
        await anyio.wait_all_tasks_blocked()
        assert ends == {A: UPLOADED, C: UPLOADED}
        assert isinstance(bench.slots, FreeSlots)
        assert set(bench.slots.held[0].done) == {"", A.host, C.host}
        trap.open()

    assert ends == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 1


async def test_blob_is_read_again_alone_for_a_target_without_a_place(image: Content) -> None:
    bench = Bench(slots=FreeSlots(busy={B.host: 1}))
    bench.memory.add(SOURCE, image)

    assert await bench.deliver(image, image.manifest.layers[0].digest, *TARGETS) == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 2
    assert bench.clock.slept == []


async def test_blob_tells_of_its_transfer(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.add(C, image)
    bench.memory.fail("put_blob", DeniedError("no"), at=B)

    await bench.deliver(image, layer, *TARGETS)

    events = bench.events.events
    (started,) = [e for e in events if isinstance(e, BlobStarted)]
    assert (started.transfer, started.digest, started.size, started.source) == (1, layer, 256, SOURCE)
    assert set(started.targets) == {A, B}
    assert sum(e.read for e in events if isinstance(e, BlobProgress)) == 256
    assert [e for e in events if isinstance(e, BlobFinished)] == [BlobFinished(transfer=1)]
    assert {e.target: e.outcome for e in events if isinstance(e, BlobSettled)} == {
        A: UPLOADED,
        B: BlobOutcome.FAILED,
        C: EXISTED,
    }


async def test_blob_tells_what_one_read_fed_more_than_once(bench: Bench, image: Content, layer: Digest) -> None:
    bench.memory.add(C, image)

    await bench.deliver(image, layer, *TARGETS)

    settled = {event.target: event for event in bench.events.events if isinstance(event, BlobSettled)}
    assert sorted((settled[A].shared, settled[B].shared)) == [False, True]
    assert not settled[C].shared
    assert {event.host for event in bench.events.events if isinstance(event, BlobProgress)} == {SOURCE.host}


async def test_blob_that_is_read_for_each_target_alone_is_not_shared(
    bench: Bench, image: Content, layer: Digest
) -> None:
    await bench.deliver(image, layer, A)
    bench.fresh()
    await bench.deliver(image, layer, B)

    assert [event.shared for event in bench.events.events if isinstance(event, BlobSettled)] == [False, False]


async def test_blob_for_no_targets_costs_nothing(bench: Bench, image: Content, layer: Digest) -> None:
    assert await bench.deliver(image, layer) == {}
    assert bench.memory.log == []
