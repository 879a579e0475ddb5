"""When the tags of a source were created: by what listings tell, what is remembered, and else what the images say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mirrord.errors import (
    ContentMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    MirrordError,
    NotFoundError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.rule import TagSelector
from mirrord.planning.select import name_candidates
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.created import creation_time
from mirrord.sync.looking import ask_source, source_hint
from mirrord.sync.remembered import Remembered
from mirrord.transfer.side import each

_UNREADABLE = (ContentMismatchError, InvalidDigestError, InvalidManifestError, NotFoundError)
"""The source answered, and what it holds says nothing. Any other error may hide a creation time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """What came of asking when tags were created.

    ``missing`` are tags that do not exist, ``troubles`` those that could not be asked for.
    """

    entries: dict[Tag, TagEntry] = field(default_factory=dict)
    missing: set[Tag] = field(default_factory=set)
    troubles: dict[Tag, MirrordError] = field(default_factory=dict)


async def dated(
    context: Context,
    reader: RepositoryReader,
    selector: TagSelector,
    entries: Mapping[Tag, TagEntry],
    remembered: Remembered | None = None,
) -> Dates:
    """Return the entries that passed the filters by name, with the times that their images tell.

    A digest whose time is remembered is not read again; where a listing told such a digest, nothing is asked at all.
    """
    wanted = [tag for tag in name_candidates(selector, entries) if entries[tag].created is None]
    dates = Dates()
    if not wanted:
        return dates
    digests = await _known_digests(context, reader.location, wanted, remembered)
    await _resolve(context, reader, [tag for tag in wanted if tag not in digests], digests, dates)
    dates.entries.update({tag: TagEntry(tag=tag, digest=entries[tag].digest) for tag in dates.entries})
    times = dict(await context.memory.created(set(digests.values())))
    troubles = await _read(context, reader, [d for d in dict.fromkeys(digests.values()) if d not in times], times)
    for tag, digest in digests.items():
        if digest in troubles:
            dates.troubles[tag] = troubles[digest]
        else:
            dates.entries[tag] = TagEntry(tag=tag, digest=entries[tag].digest, created=times[digest])
    return dates


async def _known_digests(
    context: Context, source: Location, tags: Sequence[Tag], remembered: Remembered | None
) -> dict[Tag, Digest]:
    """Return the digests of tags that are not asked for: they never move, or were told and dated before."""
    known = {tag: digest for tag in tags if remembered is not None and (digest := remembered.settled(tag)) is not None}
    told = {tag: hint for tag in tags if tag not in known and (hint := source_hint(context, source, tag)) is not None}
    if told and context.memory.remembers:
        times = await context.memory.created(set(told.values()))
        known |= {tag: digest for tag, digest in told.items() if digest in times}
    return known


async def _resolve(
    context: Context, reader: RepositoryReader, tags: Sequence[Tag], digests: dict[Tag, Digest], dates: Dates
) -> None:
    """Ask for the digests of tags; those that are not there, or cannot be asked for, are noted in ``dates``."""

    async def resolve(tag: Tag) -> None:
        try:
            head = await ask_source(context, reader, tag)
        except _UNREADABLE:
            dates.entries[tag] = TagEntry(tag=tag)
        except MirrordError as exc:
            dates.troubles[tag] = exc
        else:
            if head is None:
                dates.missing.add(tag)
            else:
                digests[tag] = head.digest

    await each(tags, resolve, LOOKS_AT_ONCE)


async def _read(
    context: Context, reader: RepositoryReader, digests: Sequence[Digest], times: dict[Digest, datetime | None]
) -> dict[Digest, MirrordError]:
    """Read from images when they were created, and remember that; return those that could not be asked for."""
    troubles: dict[Digest, MirrordError] = {}

    async def read(digest: Digest) -> None:
        try:
            times[digest] = await creation_time(reader, context.slots, digest)
        except _UNREADABLE:
            times[digest] = None  # not remembered: what is damaged may be repaired
        except MirrordError as exc:
            troubles[digest] = exc
        else:
            context.memory.keep_created(digest, times[digest])

    await each(digests, read, LOOKS_AT_ONCE)
    return troubles
