"""One source stream into several targets, through memory, with bounded lag.

Every piece is hashed once. The last one is held back until the digest is proven, so that no target can complete wrong
bytes. A target that fails leaves alone; one that spent its lag budget is dropped; a source that fails ends the tee.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import anyio
import anyio.to_thread

from mirrord.errors import ContentMismatchError, TransferError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Verifier
from mirrord.ports.clock import Clock
from mirrord.transfer.window import Windows

LAG_BUDGET_S = 10.0
_READ_AHEAD = 2
_HASH_INLINE = 64 * 1024

Sink = Callable[[AsyncIterator[bytes]], Awaitable[None]]
"""Takes the whole stream, as `RepositoryWriter.put_blob` does."""


class SpentLagError(TransferError):
    """A target was so much slower than the others that it has to read alone."""

    default_code = "TARGET_LAGS"


class SourceFailedError(TransferError):
    """The source stream ended in an error, the cause; all targets of the tee are in the same position."""

    default_code = "SOURCE_FAILED"


async def tee(
    blob: Descriptor,
    source: AsyncIterator[bytes],
    sinks: Sequence[Sink],
    *,
    windows: Windows,
    clock: Clock,
    lag_budget_s: float = LAG_BUDGET_S,
    settled: Callable[[int, Exception | None], None] = lambda _index, _error: None,
) -> list[Exception | None]:
    """Feed ``source`` to all ``sinks`` and return how each ended: None, or its error.

    Args:
        blob: what the stream should be: its size and digest are checked.
        source: the pieces; closed at the end where it can be.
        sinks: one a target.
        windows: the share of memory.
        clock: measures lag.
        lag_budget_s: seconds that the reader may wait for one target while another one is ready.
        settled: called with a sink's position as soon as it ended, while others may still run.

    Returns:
        One entry a sink, in order. `SourceFailedError` stands for an error of the source, mismatch included.
    """
    change = _Change()
    feeds = [_Feed(windows, change) for _ in sinks]
    ends: list[Exception | None] = [None] * len(sinks)

    async def drain(index: int) -> None:
        feed = feeds[index]
        try:
            with feed.scope:
                async with aclosing(feed.pieces()) as pieces:
                    await sinks[index](pieces)
        except Exception as exc:  # noqa: BLE001 - one target's failure is not the others'
            ends[index] = exc
        if feed.scope.cancelled_caught:
            ends[index] = feed.error
        feed.leave()
        settled(index, ends[index])

    with windows.tee():
        async with anyio.create_task_group() as outer:
            for index in range(len(sinks)):
                outer.start_soon(drain, index)
            try:
                await _distribute(blob, source, feeds, change=change, clock=clock, lag_budget_s=lag_budget_s)
            except Exception as exc:  # noqa: BLE001 - the source's failure becomes that of every target
                failure = exc if isinstance(exc, SourceFailedError) else SourceFailedError(str(exc), side="source")
                failure.__cause__ = failure.__cause__ or exc
                for feed in feeds:
                    feed.fail(failure)
    return ends


async def _distribute(
    blob: Descriptor,
    source: AsyncIterator[bytes],
    feeds: Sequence[_Feed],
    *,
    change: _Change,
    clock: Clock,
    lag_budget_s: float,
) -> None:
    """Read, hash and hand out all pieces; raises where the source is not what it should be."""
    verifier = blob.digest.verifier()
    position = 0
    send, receive = anyio.create_memory_object_stream[bytes](_READ_AHEAD)
    async with anyio.create_task_group() as group:
        reading = _Reading()
        group.start_soon(_read, source, send, reading)
        async with receive:
            async for piece in receive:
                position += len(piece)
                await _hash(verifier, piece)
                if position > blob.size or (position == blob.size and not verifier.matches()):
                    break
                if not await _hand_out(piece, feeds, change, clock, lag_budget_s):
                    group.cancel_scope.cancel()  # nobody is left to read for
                    return
        group.cancel_scope.cancel()
    if reading.error is not None:
        raise SourceFailedError(str(reading.error), side="source", operation="read") from reading.error
    _check(blob, position, verifier)
    for feed in feeds:
        feed.finish()


def _check(blob: Descriptor, position: int, verifier: Verifier) -> None:
    if position != blob.size:
        raise ContentMismatchError(
            f"the blob {blob.digest} has {'at least ' if position > blob.size else ''}{position} bytes; "
            f"its manifest says {blob.size}",
            code="SIZE_MISMATCH",
        )
    if not verifier.matches():
        raise ContentMismatchError(f"the blob {blob.digest} came with the digest {verifier.actual()}")


class _Reading:
    """How reading ended: an error of the source, kept out of the task group."""

    error: Exception | None = None


async def _read(source: AsyncIterator[bytes], send: anyio.abc.ObjectSendStream[bytes], reading: _Reading) -> None:
    async with send:
        try:
            if hasattr(source, "aclose"):
                async with aclosing(source):  # type: ignore[type-var]  # has aclose, as just seen
                    async for piece in source:
                        await send.send(piece)
            else:
                async for piece in source:
                    await send.send(piece)
        except anyio.BrokenResourceError:
            return
        except Exception as exc:  # noqa: BLE001 - handed to the reader's other half, which raises it
            reading.error = exc


async def _hash(verifier: Verifier, piece: bytes) -> None:
    if len(piece) <= _HASH_INLINE:
        verifier.update(piece)
    else:
        await anyio.to_thread.run_sync(verifier.update, piece)


async def _hand_out(piece: bytes, feeds: Sequence[_Feed], change: _Change, clock: Clock, lag_budget_s: float) -> bool:
    """Give a piece to every target still there, and wait until all have room; say whether any target is left."""
    for feed in feeds:
        feed.put(piece)
    while True:
        live = [feed for feed in feeds if feed.is_live]
        full = [feed for feed in live if feed.is_full]
        if not full:
            return bool(live)
        if len(full) == len(live):
            await change.wait()
            continue
        started = clock.monotonic()
        with anyio.move_on_after(max(0.0, min(lag_budget_s - feed.lag_s for feed in full))):
            await change.wait()
        waited_s = clock.monotonic() - started
        for feed in full:
            feed.lag_s += waited_s
            if feed.lag_s >= lag_budget_s and feed.is_full:
                feed.fail(SpentLagError("slower than the other targets; it reads alone", side="target"))


class _Change:
    """Wakes the reader when any target took a piece or left."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def tell(self) -> None:
        self._event.set()
        self._event = anyio.Event()


class _Feed:
    """The window of one target: pieces that were handed out and not yet taken.

    ``scope`` is what the target works in: one that is stuck takes no pieces, so that raising ``error`` to it would
    not end it.
    """

    def __init__(self, windows: Windows, change: _Change) -> None:
        self.lag_s = 0.0
        self.scope = anyio.CancelScope()
        self.error: Exception | None = None
        self._windows = windows
        self._change = change
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._left = False
        self._more = anyio.Event()

    @property
    def is_live(self) -> bool:
        return not self._left and self.error is None

    @property
    def is_full(self) -> bool:
        return self._buffered >= self._windows.bytes_each

    def put(self, piece: bytes) -> None:
        if self.is_live:
            self._pieces.append(piece)
            self._buffered += len(piece)
            self._more.set()

    def finish(self) -> None:
        self._ended = True
        self._more.set()

    def fail(self, error: Exception) -> None:
        if self.is_live:
            self.error = error
            self._pieces.clear()
            self._more.set()
            self.scope.cancel()

    def leave(self) -> None:
        self._left = True
        self._pieces.clear()
        self._change.tell()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while True:
            if self.error is not None:
                raise self.error
            if self._pieces:
                piece = self._pieces.popleft()
                self._buffered -= len(piece)
                self._change.tell()
                yield piece
            elif self._ended:
                return
            else:
                self._more = anyio.Event()
                await self._more.wait()
