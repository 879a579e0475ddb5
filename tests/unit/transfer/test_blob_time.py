"""What time does to blobs. trio's clock jumps to the next deadline whenever nothing else is left to do."""

from __future__ import annotations

import anyio
import pytest
import trio.testing

from mirrord.errors import UnavailableError
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import BlobOutcome
from mirrord.transfer.asked import PATIENCE_S
from mirrord.transfer.blob import DEADLINE_BASE_S, SLOWEST_BYTES_PER_S
from mirrord.transfer.tee import LAG_BUDGET_S
from tests.fakes.clock import FakeClock
from tests.fakes.images import Content, make_image
from tests.unit.transfer.bench import SOURCE, TARGETS, A, B, Bench, C, Ends, make_job

pytestmark = pytest.mark.anyio


class LoopClock(FakeClock):
    """Tells the time of the event loop, which trio lets jump."""

    def monotonic(self) -> float:
        return anyio.current_time()


UPLOADED = BlobOutcome.UPLOADED


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def image() -> Content:
    return make_image("app", layers=1)


@pytest.fixture
def bench(image: Content) -> Bench:
    bench = Bench()
    bench.memory.add(SOURCE, image)
    return bench


async def deliver(bench: Bench, image: Content, ends: Ends) -> None:
    writers = [bench.memory.writer(target) for target in TARGETS]
    await bench.mover.deliver(image.manifest.layers[0], bench.memory.reader(SOURCE), writers, settle=ends.__setitem__)


async def test_blob_is_not_held_up_by_a_target_that_answers_late(bench: Bench, image: Content) -> None:
    trap = bench.memory.hold("has_blob", at=B)
    ends: Ends = {}

    async with anyio.create_task_group() as group:
        group.start_soon(deliver, bench, image, ends)
        await anyio.sleep(PATIENCE_S + 0.1)
        assert ends == {A: UPLOADED, C: UPLOADED}
        trap.open()

    assert ends == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 2


async def test_blob_is_not_read_before_any_target_needs_it(bench: Bench, image: Content) -> None:
    bench.memory.add(A, image)
    bench.memory.add(C, image)
    trap = bench.memory.hold("has_blob", at=B)
    ends: Ends = {}

    async with anyio.create_task_group() as group:
        group.start_soon(deliver, bench, image, ends)
        await anyio.sleep(PATIENCE_S * 5)
        assert bench.memory.count("blob") == 0
        trap.open()

    assert ends == {A: BlobOutcome.EXISTED, B: UPLOADED, C: BlobOutcome.EXISTED}
    assert bench.memory.count("blob") == 1


@pytest.mark.covers("C28")
async def test_blob_that_stands_still_ends_at_its_deadline(bench: Bench, image: Content) -> None:
    bench.memory.hold("put_blob", at=B)
    ends: Ends = {}
    started = anyio.current_time()

    await deliver(bench, image, ends)

    waited_s = anyio.current_time() - started
    assert (ends[A], ends[C]) == (UPLOADED, UPLOADED)
    error = ends[B]
    assert isinstance(error, UnavailableError)
    assert error.code == "BLOB_DEADLINE"
    assert waited_s == pytest.approx(DEADLINE_BASE_S + 256 / SLOWEST_BYTES_PER_S)


@pytest.mark.covers("C28")
async def test_blob_of_a_source_that_stands_still_ends_at_its_deadline(bench: Bench, image: Content) -> None:
    bench.memory.hold("piece", nth=2)
    ends: Ends = {}

    await deliver(bench, image, ends)

    assert {getattr(end, "code", None) for end in ends.values()} == {"BLOB_DEADLINE"}
    assert bench.memory.bodies == {SOURCE.host: 0, A.host: 0, B.host: 0, C.host: 0}


@pytest.mark.covers("D99")
async def test_blob_larger_than_a_window_drops_a_stuck_target_and_reads_for_it_alone() -> None:
    bench = Bench(clock=LoopClock())
    image = make_image("large", layers=1, layer_size=9 * 1024 * 1024)
    bench.memory.piece = 32 * 1024  # hashed without a thread: the clock would not wait for one
    bench.memory.add(SOURCE, image)
    bench.memory.hold("take", at=B, times=1)
    ends: Ends = {}

    await deliver(bench, image, ends)

    assert ends == dict.fromkeys(TARGETS, UPLOADED)
    assert bench.memory.count("blob") == 2
    assert anyio.current_time() >= LAG_BUDGET_S


@pytest.mark.covers("C39", "D99")
@pytest.mark.parametrize("stuck", [A, B, C], ids=["first", "middle", "last"])
@pytest.mark.parametrize("layers", [5, 100], ids=["few layers", "many layers"])
async def test_image_reaches_the_others_while_every_place_of_one_target_is_stuck(layers: int, stuck: Location) -> None:
    bench = Bench.limited(2, SOURCE.host, *(target.host for target in TARGETS))
    image = bench.memory.add(SOURCE, make_image("app", layers=layers, layer_size=8))
    trap = bench.memory.hold("put_blob", at=stuck)

    async with anyio.create_task_group() as group:
        group.start_soon(bench.copy, make_job(image, *TARGETS))
        await anyio.sleep(3 * PATIENCE_S)
        assert {target for target in TARGETS if bench.memory.at(target).tags} == {*TARGETS} - {stuck}
        trap.open()

    assert bench.memory.at(stuck).tags == {Tag("1.0"): image.digest}
    assert bench.memory.count("blob") <= 2 * (layers + 1)
