"""Manifests that were fetched from a registry that counts it: each is fetched once, whoever needs it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of all manifests that are kept; those not used for the longest time go first."""

_Key = tuple[str, Digest]


class PulledManifests:
    """Keeps verified manifests by repository and digest, up to a number of bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Keep nothing yet."""
        self._most_bytes = most_bytes
        self._known: OrderedDict[_Key, AnyManifest] = OrderedDict()
        self._bytes = 0
        self._locks: dict[_Key, anyio.Lock] = {}

    async def get(self, path: str, digest: Digest, fetch: Callable[[], Awaitable[AnyManifest]]) -> AnyManifest:
        """Return a manifest, fetched by the first who asks while the others wait; a failure is each one's own.

        Raises:
            RegistryError: what ``fetch`` raised.
        """
        key = (path, digest)
        lock = self._locks.setdefault(key, anyio.Lock())
        try:
            async with lock:
                known = self._known.get(key)
                if known is None:
                    known = await fetch()
                    self._keep(key, known)
                if key in self._known:
                    self._known.move_to_end(key)
                return known
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(key, None)

    def forget(self, path: str) -> None:
        """Drop what is known of a repository from which something was deleted."""
        for key in [key for key in self._known if key[0] == path]:
            self._bytes -= len(self._known.pop(key).raw)

    def _keep(self, key: _Key, manifest: AnyManifest) -> None:
        self._known[key] = manifest
        self._bytes += len(manifest.raw)
        while self._bytes > self._most_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= len(oldest.raw)
