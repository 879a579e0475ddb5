"""Bodies on their way up: cut to length, counted, paced, and watched."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mirrord.registry.body import STALL_S, UploadBody
from mirrord.registry.throttle import Pace
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def made(*pieces: bytes, rate: float | None = None) -> tuple[UploadBody, FakeClock]:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    clock = FakeClock()
    size = sum(map(len, pieces))
    return UploadBody(stream(), size=size, bandwidth=Pace(rate, clock), clock=clock), clock


async def taken(body: UploadBody, count: int) -> bytes:
    return b"".join([piece async for piece in body.take(count)])


async def test_body_is_handed_out_in_parts_of_the_wanted_length() -> None:
    body, _ = made(b"abcd", b"ef", b"ghi")

    assert [await taken(body, 3), await taken(body, 3), await taken(body, 10)] == [b"abc", b"def", b"ghi"]
    assert body.sent == 9


async def test_body_of_nothing_is_nothing() -> None:
    body, _ = made()

    assert await taken(body, 0) == b""
    assert await taken(body, 5) == b""


async def test_bandwidth_paces_the_pieces() -> None:
    body, clock = made(*[bytes(1000)] * 11, rate=100.0)
    await taken(body, 11_000)

    assert clock.monotonic() == pytest.approx(100)


async def test_error_of_the_stream_is_remembered() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ConnectionResetError("the source went away")

    clock = FakeClock()
    body = UploadBody(broken(), size=5, bandwidth=Pace(None, clock), clock=clock)
    with pytest.raises(ConnectionResetError):
        await taken(body, 5)

    assert isinstance(body.error, ConnectionResetError)


async def test_registry_counts_as_stalled_when_it_takes_nothing() -> None:
    body, clock = made(b"ab", b"cd")
    pieces = body.take(4)
    assert body.stalled_in_s == STALL_S, "nothing was handed out yet"

    await anext(pieces)
    clock.advance(STALL_S - 1)
    assert body.stalled_in_s == 1
    await anext(pieces)
    assert body.stalled_in_s == pytest.approx(STALL_S)
    clock.advance(STALL_S + 1)
    assert body.stalled_in_s < 0


async def test_registry_gets_time_to_store_what_it_has_got() -> None:
    body, clock = made(*[bytes(MIB)] * 80)
    await taken(body, 80 * MIB)

    clock.advance(STALL_S)
    assert body.stalled_in_s == pytest.approx(10)


async def test_waiting_for_the_source_is_no_stall_of_the_registry() -> None:
    body, clock = made(b"a", b"b")

    async def late() -> AsyncIterator[bytes]:
        yield b"a"
        clock.advance(STALL_S * 10)
        assert body.stalled_in_s == STALL_S
        yield b"b"

    body = UploadBody(late(), size=2, bandwidth=Pace(None, clock), clock=clock)
    assert await taken(body, 2) == b"ab"
