"""The tags of repositories, listed at most once a run each: complete, or as an API tells many at once.

The two are kept apart. A complete listing proves that a tag is not there; what an API tells may lack tags, and is for
looks alone. So a complete one stands in for the other kind, never the other way round.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio

from mirrord.errors import MirrordError
from mirrord.oci.reference import Location, Tag
from mirrord.planning.listing import TagEntry, TagPage
from mirrord.ports.registry import RepositoryReader


@dataclass(frozen=True, slots=True, kw_only=True)
class TagIndex:
    """A listing that came to its end. ``skipped`` counts names that are no tags.

    One that is not ``complete`` may lack tags that exist.
    """

    entries: dict[Tag, TagEntry] = field(default_factory=dict)
    skipped: int = 0
    complete: bool = True


class Listings:
    """Lists repositories on demand and remembers for the run what came to its end."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._complete: dict[Location, TagIndex] = {}
        self._told: dict[Location, TagIndex] = {}
        self._failed: set[Location] = set()
        self._locks: dict[tuple[Location, str], anyio.Lock] = {}

    def known(self, location: Location) -> TagIndex | None:
        """Return a listing of a repository, complete or not, if there was one in this run."""
        return self._complete.get(location) or self._told.get(location)

    def forget(self, location: Location) -> None:
        """Forget the listings of a repository that was written to, also those that are under way."""
        self._complete.pop(location, None)
        self._told.pop(location, None)
        self._failed.discard(location)
        for what in ("complete", "told", "try"):
            self._locks.pop((location, what), None)

    def take(self, location: Location, index: TagIndex) -> None:
        """Remember what an API told of a repository."""
        self._told[location] = index

    async def complete(self, reader: RepositoryReader) -> TagIndex:
        """Return every tag of a repository: for deletions, and for all that must know that a tag is not there.

        Raises:
            RegistryError: it could not be listed to its end; a part of a listing is never returned.
        """
        location = reader.location
        lock = self._lock(location, "complete")
        async with lock:
            if (known := self._complete.get(location)) is not None:
                return known
            index = await _index(reader.list_tags())
            if self._lock(location, "complete") is lock:  # else it was forgotten while it was under way
                self._complete[location] = index
            return index

    async def complete_if_possible(self, reader: RepositoryReader) -> TagIndex | None:
        """Return every tag of a repository; None where the listing fails, which is tried once a run."""
        location = reader.location
        async with self._lock(location, "try"):
            if location in self._failed:
                return None
            try:
                return await self.complete(reader)
            except MirrordError:
                self._failed.add(location)
                return None

    async def told(self, reader: RepositoryReader) -> TagIndex:
        """Return the tags of a repository for a look: with their digests, as hints, where these are told at once.

        Raises:
            RegistryError: as with `complete`.
        """
        if not reader.listing.has_digests:
            return await self.complete(reader)
        location = reader.location
        lock = self._lock(location, "told")
        async with lock:
            known = self._complete.get(location)
            if known is not None and any(entry.digest is not None for entry in known.entries.values()):
                return known
            if (told := self._told.get(location)) is not None:
                return told
            told = await _index(reader.bulk_tags())
            if self._lock(location, "told") is lock:  # else it was forgotten while it was under way
                self._told[location] = told
                if told.complete:
                    self._complete[location] = told
            return told

    def _lock(self, location: Location, what: str) -> anyio.Lock:
        return self._locks.setdefault((location, what), anyio.Lock())


async def _index(pages: AsyncIterator[TagPage]) -> TagIndex:
    entries: dict[Tag, TagEntry] = {}
    skipped, complete = 0, True
    async for page in pages:
        entries |= {entry.tag: entry for entry in page.entries}
        skipped += page.skipped
        complete = complete and not page.may_lack
    return TagIndex(entries=entries, skipped=skipped, complete=complete)
