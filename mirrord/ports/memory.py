"""What runs remember and ask: proofs, times, places of blobs. Forgetting all of it costs time, never correctness."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.memory import ImageKey, ImageMemory, SeenDigest


class Memory(Protocol):
    """Remembers from run to run. What is kept is queued and written soon; a question sees all that was kept before it.

    No method raises for a store that fails: questions then answer that nothing is known, and the store's owner is told
    by `StateChanged`. So a run never fails for its memory.
    """

    @property
    def remembers(self) -> bool:
        """Whether anything is kept at all, from one run to the next."""
        return True

    async def images(self, rule: str, source: Location) -> Mapping[ImageKey, ImageMemory]:
        """Return what is remembered of a rule's images of one source."""
        ...

    def keep_images(self, rule: str, source: Location, images: Iterable[ImageMemory]) -> None:
        """Remember images, each in place of what was remembered of it."""
        ...

    def drop_images(self, rule: str, source: Location, keys: Iterable[ImageKey]) -> None:
        """Forget images that a rule does not take any more."""
        ...

    def drop_sources(self, rule: str, left: Collection[Location]) -> None:
        """Forget all images of a rule whose source is not among ``left``: their repository is not read any more."""
        ...

    def own(self, rule: str, target: Location, tags: Iterable[Tag], at: datetime) -> None:
        """Remember that a rule created tags on a target: only these may ever be pruned."""
        ...

    async def seen(self, source: Location, tags: Collection[str]) -> Mapping[str, Sequence[SeenDigest]]:
        """Return the digests that tags of a source had, the last `MOST_SEEN` of each, oldest first."""
        ...

    def keep_seen(self, source: Location, seen: Iterable[SeenDigest]) -> None:
        """Remember that a tag was seen with a digest; the moment of the first time stays."""
        ...

    async def created(self, digests: Collection[Digest]) -> Mapping[Digest, datetime | None]:
        """Return when images were created, as they say; None: they do not say. Unknown ones are left out."""
        ...

    def keep_created(self, digest: Digest, created: datetime | None) -> None:
        """Remember what an image says of its creation."""
        ...

    async def holders(self, host: str, digests: Collection[Digest]) -> Mapping[Digest, Sequence[Repository]]:
        """Return repositories of a registry that held blobs, those seen last first: where to mount from."""
        ...

    def keep_holder(self, repository: Repository, digest: Digest, at: datetime) -> None:
        """Remember that a repository holds a blob."""
        ...

    def drop_holder(self, repository: Repository, digest: Digest) -> None:
        """Forget that a repository holds a blob: it contradicted."""
        ...

    async def flush(self) -> None:
        """Return when all that was kept so far is written, or could not be."""
        ...


MOST_SEEN = 20
"""Digests remembered of one tag."""


class NoMemory(Memory):
    """Remembers nothing: for single runs without a state store."""

    @property
    def remembers(self) -> bool:
        """Nothing is kept."""
        return False

    async def images(self, rule: str, source: Location) -> Mapping[ImageKey, ImageMemory]:
        """Know nothing."""
        del rule, source
        return {}

    def keep_images(self, rule: str, source: Location, images: Iterable[ImageMemory]) -> None:
        """Forget."""

    def drop_images(self, rule: str, source: Location, keys: Iterable[ImageKey]) -> None:
        """Do nothing."""

    def drop_sources(self, rule: str, left: Collection[Location]) -> None:
        """Do nothing."""

    def own(self, rule: str, target: Location, tags: Iterable[Tag], at: datetime) -> None:
        """Forget."""

    async def seen(self, source: Location, tags: Collection[str]) -> Mapping[str, Sequence[SeenDigest]]:
        """Know nothing."""
        del source, tags
        return {}

    def keep_seen(self, source: Location, seen: Iterable[SeenDigest]) -> None:
        """Forget."""

    async def created(self, digests: Collection[Digest]) -> Mapping[Digest, datetime | None]:
        """Know nothing."""
        del digests
        return {}

    def keep_created(self, digest: Digest, created: datetime | None) -> None:
        """Forget."""

    async def holders(self, host: str, digests: Collection[Digest]) -> Mapping[Digest, Sequence[Repository]]:
        """Know nothing."""
        del host, digests
        return {}

    def keep_holder(self, repository: Repository, digest: Digest, at: datetime) -> None:
        """Forget."""

    def drop_holder(self, repository: Repository, digest: Digest) -> None:
        """Do nothing."""

    async def flush(self) -> None:
        """Have nothing to write."""


class ReadOnlyMemory(Memory):
    """Knows what another memory knows, and changes nothing there: for plans.

    A plan stands for a run that would remember. So it says that it does, and what is found out about images is known
    for as long as it goes on: else it would read for each rule what a run reads once.
    """

    def __init__(self, known: Memory) -> None:
        """Ask ``known``."""
        self._known = known
        self._created: dict[Digest, datetime | None] = {}

    async def images(self, rule: str, source: Location) -> Mapping[ImageKey, ImageMemory]:
        """Ask."""
        return await self._known.images(rule, source)

    def keep_images(self, rule: str, source: Location, images: Iterable[ImageMemory]) -> None:
        """Change nothing."""

    def drop_images(self, rule: str, source: Location, keys: Iterable[ImageKey]) -> None:
        """Change nothing."""

    def drop_sources(self, rule: str, left: Collection[Location]) -> None:
        """Change nothing."""

    def own(self, rule: str, target: Location, tags: Iterable[Tag], at: datetime) -> None:
        """Change nothing."""

    async def seen(self, source: Location, tags: Collection[str]) -> Mapping[str, Sequence[SeenDigest]]:
        """Ask."""
        return await self._known.seen(source, tags)

    def keep_seen(self, source: Location, seen: Iterable[SeenDigest]) -> None:
        """Change nothing."""

    async def created(self, digests: Collection[Digest]) -> Mapping[Digest, datetime | None]:
        """Ask for what was not found out meanwhile."""
        found = {digest: self._created[digest] for digest in digests if digest in self._created}
        asked = [digest for digest in digests if digest not in found]
        return {**found, **await self._known.created(asked)} if asked else found

    def keep_created(self, digest: Digest, created: datetime | None) -> None:
        """Know it until the end of this plan."""
        self._created[digest] = created

    async def holders(self, host: str, digests: Collection[Digest]) -> Mapping[Digest, Sequence[Repository]]:
        """Ask."""
        return await self._known.holders(host, digests)

    def keep_holder(self, repository: Repository, digest: Digest, at: datetime) -> None:
        """Change nothing."""

    def drop_holder(self, repository: Repository, digest: Digest) -> None:
        """Change nothing."""

    async def flush(self) -> None:
        """Have nothing to write."""
