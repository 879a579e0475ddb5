from __future__ import annotations

import random
from contextlib import aclosing

import pytest

from mirrord.errors import DeniedError, RegistryError, UnavailableError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import Repository
from mirrord.transfer.source import PROGRESS, TRIES_WITHOUT_PROGRESS, backoff_s, resumed
from tests.fakes.clock import FakeClock
from tests.fakes.images import content, describe
from tests.fakes.memory import Memory

pytestmark = pytest.mark.anyio

SOURCE = Repository("source.test", "app")


class Reading:
    """A blob at the source, and everything that reading it needs."""

    def __init__(self, size: int, piece: int = 64) -> None:
        self.memory = Memory(piece=piece)
        self.raw = content("blob", size)
        self.blob: Descriptor = describe(self.raw, "application/octet-stream")
        self.memory.at(SOURCE).blobs[self.blob.digest] = self.raw
        self.clock = FakeClock()
        self.got = b""

    def breaks(self, *, nth: int = 1, times: int | None = 1, error: RegistryError | None = None) -> None:
        self.memory.fail("piece", error or UnavailableError("the connection broke"), nth=nth, times=times)

    async def read(self) -> bytes:
        stream = resumed(self.memory.reader(SOURCE), self.blob, clock=self.clock, jitter=random.Random(1))
        async for piece in stream:
            self.got += piece
        return self.got

    @property
    def offsets(self) -> list[int]:
        return [int(operation.detail) for operation in self.memory.log if operation.verb == "blob"]


async def test_source_is_read_once_where_nothing_breaks() -> None:
    reading = Reading(200)

    assert await reading.read() == reading.raw
    assert reading.offsets == [0]
    assert reading.clock.slept == []


async def test_source_is_not_asked_for_an_empty_blob() -> None:
    reading = Reading(0)

    assert await reading.read() == b""
    assert reading.offsets == []


@pytest.mark.covers("D1")
@pytest.mark.parametrize(("nth", "offset"), [(1, 0), (2, 64), (4, 192)], ids=["first byte", "within", "last piece"])
async def test_source_is_asked_again_from_where_it_broke(nth: int, offset: int) -> None:
    reading = Reading(200)
    reading.breaks(nth=nth)

    assert await reading.read() == reading.raw
    assert reading.offsets == [0, offset]
    assert len(reading.clock.slept) == 1


async def test_source_is_given_up_after_four_failures_without_progress() -> None:
    reading = Reading(200)
    reading.breaks(nth=2, times=None)

    with pytest.raises(UnavailableError, match="the connection broke"):
        await reading.read()

    assert reading.got == reading.raw[:64]
    assert reading.offsets == [0, *[64] * (TRIES_WITHOUT_PROGRESS - 1)]


async def test_source_that_gets_on_may_break_any_number_of_times() -> None:
    reading = Reading(10 * PROGRESS, piece=PROGRESS)
    for nth in range(2, 20, 2):
        reading.breaks(nth=nth)

    assert await reading.read() == reading.raw
    assert reading.offsets == [i * PROGRESS for i in range(10)]


async def test_source_that_gets_on_by_less_than_a_mebibyte_makes_no_progress() -> None:
    reading = Reading(10 * 1024, piece=1024)
    for nth in range(2, 20, 2):
        reading.breaks(nth=nth)

    with pytest.raises(UnavailableError):
        await reading.read()

    assert reading.offsets == [0, 1024, 2048, 3072]


async def test_source_that_refuses_is_asked_once() -> None:
    reading = Reading(200)
    reading.breaks(error=DeniedError("no"))

    with pytest.raises(DeniedError):
        await reading.read()

    assert reading.offsets == [0]


async def test_source_is_not_asked_again_before_it_allows_that() -> None:
    reading = Reading(200)
    reading.breaks(error=UnavailableError("busy", retry_after_s=120.0))

    assert await reading.read() == reading.raw
    assert reading.clock.slept == [120.0]


async def test_source_is_not_waited_for_longer_than_a_quarter_of_an_hour() -> None:
    reading = Reading(200)
    reading.breaks(error=UnavailableError("busy", retry_after_s=86_400.0))

    assert await reading.read() == reading.raw
    assert reading.clock.slept == [900.0]


async def test_source_is_closed_when_its_reader_stops() -> None:
    reading = Reading(200)
    stream = resumed(reading.memory.reader(SOURCE), reading.blob, clock=reading.clock, jitter=random.Random(1))

    async with aclosing(stream):
        async for _ in stream:
            break

    assert reading.memory.bodies[SOURCE.host] == 0


def test_backoff_grows_to_thirty_seconds_with_full_jitter() -> None:
    jitter = random.Random(7)
    longest = [max(backoff_s(failures, jitter) for _ in range(500)) for failures in range(1, 10)]

    assert all(
        bound * 0.9 <= found <= bound for found, bound in zip(longest, [0.5, 1, 2, 4, 8, 16, 30, 30, 30], strict=True)
    )
