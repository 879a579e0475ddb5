"""Where blobs were in earlier runs: places to mount from, and never a proof that a blob is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository
from mirrord.ports.clock import Clock
from mirrord.ports.memory import Memory


class Origins:
    """The repositories of each registry that held a blob, as far as a run asked its memory for them."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        """Know nothing yet."""
        self._memory = memory
        self._clock = clock
        self._known: dict[tuple[str, Digest], Sequence[Repository]] = {}

    async def recall(self, targets: Iterable[Location], digests: Iterable[Digest]) -> None:
        """Ask for what is remembered of blobs at the targets' registries: one question a registry."""
        if not self._memory.remembers:
            return
        wanted = list(digests)
        for host in dict.fromkeys(target.host for target in targets if isinstance(target, Repository)):
            fresh = [digest for digest in wanted if (host, digest) not in self._known]
            found = await self._memory.holders(host, fresh) if fresh else {}
            self._known.update({(host, digest): found.get(digest, ()) for digest in fresh})

    def of(self, host: str, digest: Digest) -> Sequence[Repository]:
        """Return the repositories of a registry that held a blob, those seen last first."""
        return self._known.get((host, digest), ())

    def keep(self, location: Location, digest: Digest) -> None:
        """Remember that a repository holds a blob."""
        if isinstance(location, Repository):
            self._memory.keep_holder(location, digest, self._clock.now())

    def refused(self, origin: Repository, digest: Digest) -> None:
        """Forget a place that was remembered: the blob is not there any more, or is not given to others."""
        if origin in self.of(origin.host, digest):
            self._memory.drop_holder(origin, digest)

    def drop(self, location: Location, digest: Digest) -> None:
        """Forget that a repository holds a blob: it turned out not to."""
        if isinstance(location, Repository):
            self._memory.drop_holder(location, digest)
