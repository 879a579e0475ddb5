"""Listings of tags, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class TagEntry:
    """A tag as a listing tells it. ``digest`` is a hint, never pinned; both may be unknown."""

    tag: Tag
    digest: Digest | None = None
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPage:
    """One page of a listing. ``skipped`` counts names that are no tags and were left out.

    ``may_lack``: it was told by an API beside the plain listing, which may lack tags that exist.
    """

    entries: tuple[TagEntry, ...]
    skipped: int = 0
    may_lack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TagHints:
    """What an API told of tags at once, as far as it went; nothing where it would not. ``whole``: it came to its end.

    Even a whole answer may lack tags that exist, and its digests may be old ones.
    """

    entries: tuple[TagEntry, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingTraits:
    """What a listing costs and tells: tags per request, and whether it knows digests and times.

    ``page_size`` is that of plain listings; ``bulk_page_size`` that of the API which tells digests, None: the same.
    ``is_whole``: it is the plain listing itself that tells digests, and so it lacks no tag.
    """

    page_size: int = 1000
    has_digests: bool = False
    has_times: bool = False
    bulk_page_size: int | None = None
    is_whole: bool = False

    def pages(self, tags: int) -> int:
        """Return the requests that a plain listing of ``tags`` takes: one without tags is one page too."""
        return _pages(tags, self.page_size)

    def bulk_pages(self, tags: int) -> int:
        """Return the requests that a listing of ``tags`` with their digests takes; a plain one where none are told."""
        return _pages(tags, self.page_size if self.bulk_page_size is None else self.bulk_page_size)


def _pages(tags: int, size: int) -> int:
    return max(1, -(-tags // max(1, size)))  # a page of no tags would never end
