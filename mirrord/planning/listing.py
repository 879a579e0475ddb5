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
    """One page of a listing. ``skipped`` counts names that are no tags and were left out."""

    entries: tuple[TagEntry, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TagHints:
    """What an API told of tags at once, as far as it went; nothing where it would not. ``whole``: it came to its end.

    Even a whole answer may lack tags that exist, and its digests may be old ones.
    """

    entries: tuple[TagEntry, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingTraits:
    """What a listing costs and tells: tags per request, and whether it knows digests and times."""

    page_size: int = 1000
    has_digests: bool = False
    has_times: bool = False
