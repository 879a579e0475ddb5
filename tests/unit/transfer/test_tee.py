from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import anyio
import pytest

from mirrord.errors import ContentMismatchError, DeniedError, UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.transfer.tee import Sink, SourceFailedError, SpentLagError, tee
from mirrord.transfer.window import SMALLEST_WINDOW, Windows
from tests.fakes.clock import FakeClock
from tests.fakes.images import content, describe

pytestmark = pytest.mark.anyio

PIECE = 16
RAW = content("blob", 160)
KIB = 1024


class Source:
    """A stream that counts what was taken of it, and notices that it was closed."""

    def __init__(self, raw: bytes = RAW, *, piece: int = PIECE, error: Exception | None = None) -> None:
        self.raw = raw
        self.taken = 0
        self.closed = False
        self._piece = piece
        self._error = error

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            for start in range(0, len(self.raw), self._piece):
                await anyio.lowlevel.checkpoint()
                piece = self.raw[start : start + self._piece]
                self.taken += len(piece)
                yield piece
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


class Target:
    """A sink that keeps what it was given; it can wait at a gate, fail or return after some bytes."""

    def __init__(
        self,
        *,
        stuck_at: int | None = None,
        fails_at: int | None = None,
        returns_at: int | None = None,
        on_piece: Callable[[], object] = lambda: None,
    ) -> None:
        self.got = b""
        self.complete = False
        self.gate = anyio.Event()
        self._stuck_at = stuck_at
        self._fails_at = fails_at
        self._returns_at = returns_at
        self._on_piece = on_piece

    async def put(self, body: AsyncIterator[bytes]) -> None:
        async for piece in body:
            self.got += piece
            self._on_piece()
            if self._stuck_at is not None and len(self.got) > self._stuck_at:
                await self.gate.wait()
            if self._fails_at is not None and len(self.got) > self._fails_at:
                raise DeniedError("the target does not want it")
            if self._returns_at is not None and len(self.got) > self._returns_at:
                return
        self.complete = True


async def run(
    source: Source,
    *targets: Target,
    blob: Descriptor | None = None,
    windows: Windows | None = None,
    clock: FakeClock | None = None,
    lag_budget_s: float = 10.0,
    settled: Callable[[int, Exception | None], None] = lambda _index, _error: None,
) -> list[Exception | None]:
    sinks: list[Sink] = [target.put for target in targets]
    return await tee(
        blob or describe(RAW, "application/octet-stream"),
        source.stream(),
        sinks,
        windows=windows or Windows(),
        clock=clock or FakeClock(),
        lag_budget_s=lag_budget_s,
        settled=settled,
    )


class TinyWindows(Windows):
    """Windows of a few pieces."""

    def __init__(self, size: int = 3 * PIECE) -> None:
        super().__init__()
        self._size = size

    @property
    def bytes_each(self) -> int:
        return self._size


@pytest.mark.parametrize("count", [1, 2, 3, 8])
async def test_tee_gives_every_target_every_byte(count: int) -> None:
    source, targets = Source(), [Target() for _ in range(count)]

    ends = await run(source, *targets)

    assert ends == [None] * count
    assert all(target.got == RAW and target.complete for target in targets)
    assert source.taken == len(RAW)
    assert source.closed


async def test_tee_takes_a_source_that_cannot_be_closed() -> None:
    class Plain:
        def __init__(self) -> None:
            self._pieces = iter([RAW[:100], RAW[100:]])

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> bytes:
            for piece in self._pieces:
                return piece
            raise StopAsyncIteration

    target = Target()
    blob = describe(RAW, "application/octet-stream")

    assert await tee(blob, Plain(), [target.put], windows=Windows(), clock=FakeClock()) == [None]
    assert target.got == RAW


async def test_tee_gives_an_empty_blob_as_an_empty_stream() -> None:
    target = Target()

    ends = await run(Source(b""), target, blob=describe(b"", "application/octet-stream"))

    assert ends == [None]
    assert target.got == b""
    assert target.complete


async def test_tee_hashes_large_pieces_too() -> None:
    raw = content("large", 600 * KIB)
    target = Target()

    ends = await run(Source(raw, piece=256 * KIB), target, blob=describe(raw, "application/octet-stream"))

    assert ends == [None]
    assert target.got == raw


@pytest.mark.covers("D4", "D46")
@pytest.mark.parametrize("at", [0, 100, len(RAW) - 1], ids=["first", "middle", "last"])
async def test_tee_holds_back_the_last_piece_of_wrong_bytes(at: int) -> None:
    wrong = bytearray(RAW)
    wrong[at] ^= 1
    targets = [Target(), Target()]

    ends = await run(Source(bytes(wrong)), *targets)

    for end, target in zip(ends, targets, strict=True):
        assert isinstance(end, SourceFailedError)
        assert isinstance(end.__cause__, ContentMismatchError)
        assert end.__cause__.code == "DIGEST_MISMATCH"
        assert len(target.got) <= len(RAW) - PIECE
        assert not target.complete


@pytest.mark.covers("D2", "D3")
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(RAW[:-1], "has 159 bytes", id="short by a byte"),
        pytest.param(b"", "has 0 bytes", id="empty"),
        pytest.param(RAW + b"x", "has at least 161 bytes", id="long by a byte"),
        pytest.param(RAW * 2, "has at least", id="twice"),
    ],
)
async def test_tee_completes_no_blob_of_another_size(raw: bytes, said: str) -> None:
    targets = [Target(), Target()]

    ends = await run(Source(raw), *targets)

    for end, target in zip(ends, targets, strict=True):
        assert isinstance(end, SourceFailedError)
        assert isinstance(end.__cause__, ContentMismatchError)
        assert end.__cause__.code == "SIZE_MISMATCH"
        assert said in str(end.__cause__)
        assert not target.complete


async def test_tee_stops_reading_what_is_longer_than_the_blob() -> None:
    source = Source(RAW * 1_000)

    await run(source, Target())

    assert source.taken < 2 * len(RAW)
    assert source.closed


async def test_tee_tells_every_target_that_the_source_failed() -> None:
    cause = UnavailableError("the connection broke")
    targets = [Target(), Target()]

    ends = await run(Source(RAW[:100], error=cause), *targets)

    assert [type(end) for end in ends] == [SourceFailedError, SourceFailedError]
    assert all(end is not None and end.__cause__ is cause for end in ends)
    assert not any(target.complete for target in targets)


async def test_tee_does_not_wait_for_a_stuck_target_when_the_source_failed() -> None:
    cause = UnavailableError("the connection broke")

    ends = await run(Source(RAW[:100], error=cause), Target(stuck_at=0), Target())

    assert [type(end) for end in ends] == [SourceFailedError, SourceFailedError]


async def test_tee_lets_a_failing_target_leave_alone() -> None:
    good, bad = Target(), Target(fails_at=40)

    ends = await run(Source(), bad, good)

    assert isinstance(ends[0], DeniedError)
    assert ends[1] is None
    assert good.got == RAW


async def test_tee_stops_reading_when_every_target_failed() -> None:
    source = Source(RAW * 1_000)
    bad = [Target(fails_at=0), Target(fails_at=20)]

    ends = await run(source, *bad, blob=describe(source.raw, "application/octet-stream"), windows=TinyWindows())

    assert [type(end) for end in ends] == [DeniedError, DeniedError]
    assert source.taken < 20 * PIECE
    assert source.closed


async def test_tee_takes_a_target_that_returns_early_for_done() -> None:
    early, patient = Target(returns_at=20), Target()

    ends = await run(Source(), early, patient)

    assert ends == [None, None]
    assert patient.got == RAW


async def test_tee_stops_reading_when_every_target_returned_early() -> None:
    source = Source(RAW * 1_000)

    ends = await run(source, Target(returns_at=20), blob=describe(source.raw, "application/octet-stream"))

    assert ends == [None]
    assert source.taken < 20 * PIECE


@pytest.mark.covers("D99")
async def test_tee_drops_a_stuck_target_once_its_lag_is_spent() -> None:
    clock = FakeClock()
    stuck = Target(stuck_at=0)
    quick = Target(on_piece=lambda: clock.advance(11))

    ends = await run(Source(), stuck, quick, windows=TinyWindows(), clock=clock)

    assert isinstance(ends[0], SpentLagError)
    assert ends[1] is None
    assert quick.got == RAW
    assert not stuck.complete


async def test_tee_drops_a_stuck_target_while_the_other_waits_for_bytes() -> None:
    stuck, quick = Target(stuck_at=0), Target()

    ends = await run(Source(), stuck, quick, windows=TinyWindows(), clock=FakeClock(), lag_budget_s=0)

    assert isinstance(ends[0], SpentLagError)
    assert ends[1] is None
    assert quick.got == RAW


async def test_tee_forgives_a_target_that_is_slow_within_its_budget() -> None:
    clock = FakeClock()
    slow = Target(stuck_at=0)

    def tick() -> None:
        clock.advance(1)
        if clock.monotonic() >= 4:
            slow.gate.set()

    quick = Target(on_piece=tick)

    ends = await run(Source(), slow, quick, windows=TinyWindows(), clock=clock)

    assert ends == [None, None]
    assert slow.got == quick.got == RAW


async def test_tee_drops_nobody_where_every_target_is_stuck() -> None:
    clock = FakeClock()
    targets = [Target(stuck_at=0), Target(stuck_at=20)]
    ends: list[Exception | None] = []

    async def work() -> None:
        ends.extend(await run(Source(), *targets, windows=TinyWindows(), clock=clock))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        clock.advance(3_600)
        await anyio.wait_all_tasks_blocked()
        for target in targets:
            target.gate.set()

    assert ends == [None, None]
    assert all(target.got == RAW for target in targets)


async def test_tee_settles_a_quick_target_while_another_is_stuck() -> None:
    stuck, quick = Target(stuck_at=0), Target()
    settled: list[tuple[int, Exception | None]] = []

    def note(index: int, error: Exception | None) -> None:
        settled.append((index, error))

    async def work() -> None:
        await run(Source(), stuck, quick, settled=note)

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        assert settled == [(1, None)]
        stuck.gate.set()

    assert settled == [(1, None), (0, None)]


@pytest.mark.covers("C37")
@pytest.mark.parametrize("window", [1, PIECE, 3 * PIECE, 5 * PIECE + 1])
async def test_tee_holds_at_most_a_window_and_a_piece(window: int) -> None:
    source, stuck = Source(RAW * 100), Target(stuck_at=0)
    read_ahead = 4 * PIECE  # two in the stream, one being sent, one being handed out

    async with anyio.create_task_group() as group:

        async def work() -> None:
            await run(source, stuck, blob=describe(source.raw, "application/octet-stream"), windows=TinyWindows(window))

        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        assert window <= source.taken - len(stuck.got) <= window + PIECE + read_ahead
        group.cancel_scope.cancel()


async def test_tee_counts_itself_in_for_as_long_as_it_runs() -> None:
    windows, stuck = Windows(), Target(stuck_at=0)

    async with anyio.create_task_group() as group:

        async def work() -> None:
            for _ in range(32):
                group.start_soon(one)

        async def one() -> None:
            await run(Source(), stuck, windows=windows)

        await work()
        await anyio.wait_all_tasks_blocked()
        assert windows.bytes_each == SMALLEST_WINDOW
        stuck.gate.set()

    assert windows.bytes_each > SMALLEST_WINDOW


@pytest.mark.parametrize("stuck", [False, True], ids=["source waits", "target waits"])
async def test_tee_ends_at_once_when_it_is_cancelled(stuck: bool) -> None:
    source, target, cleaned = Source(), Target(stuck_at=0 if stuck else None), anyio.Event()
    never = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        async with aclosing(source.stream()) as pieces:
            async for piece in pieces:
                yield piece
                await never.wait()

    async def put(body: AsyncIterator[bytes]) -> None:
        try:
            await target.put(body)
        finally:
            cleaned.set()

    async with anyio.create_task_group() as group:

        async def work() -> None:
            stream = source.stream() if stuck else slow()
            blob = describe(RAW, "application/octet-stream")
            await tee(blob, stream, [put], windows=TinyWindows(), clock=FakeClock())

        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()

    assert cleaned.is_set()
    assert not target.complete
