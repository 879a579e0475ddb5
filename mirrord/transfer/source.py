"""A blob's bytes from the source, resumed where a connection broke."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

from mirrord.errors import RegistryError
from mirrord.oci.descriptor import Descriptor
from mirrord.ports.clock import Clock
from mirrord.ports.registry import RepositoryReader

TRIES_WITHOUT_PROGRESS = 4
PROGRESS = 1024 * 1024
_BACKOFF_BASE_S = 0.5
_BACKOFF_CAP_S = 30.0
_LONGEST_WAIT_S = 15 * 60.0


def backoff_s(failures: int, jitter: random.Random) -> float:
    """Return how long to wait after that many failures: full jitter under a doubling bound of 0.5 s to 30 s."""
    return jitter.uniform(0.0, min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2 ** (failures - 1)))


async def resumed(
    reader: RepositoryReader, blob: Descriptor, *, clock: Clock, jitter: random.Random
) -> AsyncGenerator[bytes, None]:
    """Yield a blob's bytes once, asking again with an offset after a broken connection.

    Gives up after four failures without at least 1 MiB between them. The caller verifies the digest over the whole.

    Raises:
        RegistryError: the last failure.
    """
    have = 0
    failures = 0
    while have < blob.size:
        begun_at = have
        try:
            async with reader.blob(blob, offset=have) as pieces:
                async for piece in pieces:
                    have += len(piece)
                    yield piece
        except RegistryError as exc:
            failures = 1 if have - begun_at >= PROGRESS else failures + 1
            if not exc.retryable or failures >= TRIES_WITHOUT_PROGRESS:
                raise
            wait_s = max(backoff_s(failures, jitter), min(exc.retry_after_s or 0.0, _LONGEST_WAIT_S))
        else:
            return
        await clock.sleep(wait_s)
