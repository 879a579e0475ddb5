"""The tags of a repository, and what filters make of them."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.rule import TagSelector
from mirrord.planning.select import Selection, select_tags
from mirrord.sync.context import Context
from mirrord.sync.dating import dated


@dataclass(frozen=True, slots=True, kw_only=True)
class TagList:
    """Every tag of a repository with the filter that took or refused it.

    ``digests`` are those that the listing itself told, which are hints; ``skipped`` counts names that are no tags.
    """

    location: Location
    selection: Selection
    digests: dict[Tag, Digest]
    skipped: int = 0


async def list_tags(context: Context, location: Location, selector: TagSelector) -> TagList:
    """Return all tags of a repository, and which of them ``selector`` takes.

    It is the complete listing: what an API tells at once may lack tags. Costs the listing, and three requests a tag
    that passes the name filters where the choice depends on their age.

    Raises:
        NotFoundError: there is no such repository.
        ListingIncompleteError: the listing has no proven end.
    """
    reader = context.gateway.reader(location)
    index = await context.listings.complete(reader)
    entries = dict(index.entries)
    if selector.needs_times:
        entries |= (await dated(context, reader, selector, entries)).entries
    return TagList(
        location=location,
        selection=select_tags(selector, tuple(entries.values()), context.clock.now()),
        digests={tag: entry.digest for tag, entry in index.entries.items() if entry.digest is not None},
        skipped=index.skipped,
    )
