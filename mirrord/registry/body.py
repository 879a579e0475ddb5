"""A body on its way up: counted, kept to the bandwidth, and watched for stalls."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mirrord.ports.clock import Clock
from mirrord.registry.throttle import Pace

STALL_S = 60.0
"""A registry that takes no byte for this long, while there are bytes for it, is not answering."""

_ANSWER_BYTES_PER_S = 8 * 1024 * 1024


class UploadBody:
    """Hands out a stream that can be read once; remembers an error of the stream itself."""

    def __init__(self, stream: AsyncIterator[bytes], *, size: int, bandwidth: Pace, clock: Clock) -> None:
        """Make a body of ``size`` bytes."""
        self.sent = 0
        self.error: Exception | None = None
        self._stream = stream
        self._size = size
        self._bandwidth = bandwidth
        self._clock = clock
        self._rest = b""
        self._waiting_for_source = False
        self._given_at = clock.monotonic()

    async def begin(self) -> None:
        """Wait for the first piece.

        Raises:
            Exception: what the stream raised.
        """
        if self._size and not self._rest:
            self._rest = await self._next()
            self._waiting_for_source = False
            self._given_at = self._clock.monotonic()

    async def take(self, count: int) -> AsyncIterator[bytes]:
        """Yield exactly ``count`` more bytes, or fewer where the stream ends."""
        left = count
        while left > 0:
            piece = self._rest or await self._next()
            if not piece:
                break
            self._rest = piece[left:] if len(piece) > left else b""
            piece = piece[:left] if self._rest else piece
            left -= len(piece)
            await self._bandwidth.take(len(piece))
            self._waiting_for_source = False
            self._given_at = self._clock.monotonic()
            self.sent += len(piece)
            yield piece
        self._waiting_for_source = False
        self._given_at = self._clock.monotonic()

    @property
    def stalled_in_s(self) -> float:
        """Seconds until the registry counts as stalled, if it takes nothing and says nothing until then.

        Once all was sent it gets a while longer to store what it got.
        """
        if self._waiting_for_source:
            return STALL_S
        patience_s = STALL_S + (self._size / _ANSWER_BYTES_PER_S if self.sent >= self._size else 0.0)
        return self._given_at + patience_s - self._clock.monotonic()

    async def _next(self) -> bytes:
        self._waiting_for_source = True
        try:
            return await anext(self._stream, b"")
        except Exception as exc:
            self.error = exc
            raise
