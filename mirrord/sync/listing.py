"""The tags of repositories, listed at most once a run each."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from mirrord.oci.reference import Location, Tag
from mirrord.planning.listing import TagEntry
from mirrord.ports.registry import RepositoryReader


@dataclass(frozen=True, slots=True, kw_only=True)
class TagIndex:
    """A complete listing. ``skipped`` counts names that are no tags."""

    entries: dict[Tag, TagEntry] = field(default_factory=dict)
    skipped: int = 0


class Listings:
    """Lists repositories on demand and remembers complete listings for the run."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[Location, TagIndex] = {}
        self._locks: dict[Location, anyio.Lock] = {}

    def known(self, location: Location) -> TagIndex | None:
        """Return the listing of a repository, if it was listed in this run."""
        return self._known.get(location)

    def forget(self, location: Location) -> None:
        """Forget the listing of a repository that was written to, also one that is under way."""
        self._known.pop(location, None)
        self._locks.pop(location, None)

    async def all_tags(self, reader: RepositoryReader) -> TagIndex:
        """Return the complete listing of a repository.

        Raises:
            RegistryError: it could not be listed to its end; a part of a listing is never returned.
        """
        location = reader.location
        lock = self._locks.setdefault(location, anyio.Lock())
        async with lock:
            if (known := self._known.get(location)) is not None:
                return known
            entries: dict[Tag, TagEntry] = {}
            skipped = 0
            async for page in reader.list_tags():
                entries |= {entry.tag: entry for entry in page.entries}
                skipped += page.skipped
            index = TagIndex(entries=entries, skipped=skipped)
            if self._locks.get(location) is lock:  # else it was forgotten while it was under way
                self._known[location] = index
            return index
