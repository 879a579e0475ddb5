"""Digests that listings told, and what a run makes of them: a look spared where both sides agree, and no more.

A hint is believed only where it is the digest that the other side has. It is dropped when the run writes its tag, and
when the registry itself says something else; that is counted. In its turn each tag is asked for all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import anyio

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.listing import TagEntry, TagHints
from mirrord.planning.rotation import is_due, is_listing_due
from mirrord.planning.survey import Survey, choose_look
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.transfer.job import CopyJob

BULK_DIFFERS = "bulk_differs"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Told:
    """What a listing told of one repository; ``pages`` were asked for at most, None: all."""

    digests: dict[Tag, Digest | None]
    whole: bool
    pages: int | None


class Hints:
    """What listings told in this run, by repository, whichever side of a rule it is on."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._told: dict[Location, _Told] = {}
        self._written: dict[Location, set[Tag]] = {}
        self._wrong: dict[Location, set[Tag]] = {}
        self._unsaid: dict[Location, list[Tag]] = {}
        self._locks: dict[Location, anyio.Lock] = {}
        self._moment: datetime | None = None

    def begin(self, clock: Clock) -> None:
        """Take the moment for that of the whole run, however long it takes: it says whose turn it is."""
        self._moment = self._moment or clock.now()

    def learn(
        self, location: Location, entries: Iterable[TagEntry], *, whole: bool = True, pages: int | None = None
    ) -> None:
        """Take in what a listing told."""
        self._told[location] = _Told({entry.tag: entry.digest for entry in entries}, whole, pages)

    async def ask(self, repository: RepositoryReader | RepositoryWriter, most_pages: int) -> TagHints | None:
        """Ask an API for hints, unless enough was told before; return what it told now, None if nothing was asked."""
        location = repository.location
        async with self._locks.setdefault(location, anyio.Lock()):
            told = self._told.get(location)
            if told is not None and (told.whole or told.pages is None or told.pages >= most_pages):
                return None
            hints = await repository.tag_hints(most_pages)
            self.learn(location, hints.entries, whole=hints.whole, pages=most_pages)
            return hints

    async def gather(self, writer: RepositoryWriter, count: int) -> None:
        """Learn what a target holds at once, where that costs fewer requests than a look at ``count`` tags."""
        told = self._told.get(writer.location)
        known = len(told.digests) if told is not None and told.whole else None
        if choose_look(count, writer.listing, known) is Survey.LIST:
            await self.ask(writer, count)

    def believed(self, location: Location, tag: Tag, clock: Clock) -> Digest | None:
        """Return the digest that a listing told, to compare with what the other side has; None: ask for it."""
        moment = self._moment or clock.now()
        if self._is_dropped(location, tag) or is_due(location, tag, moment):
            return None
        told = self._told.get(location)
        return told.digests.get(tag) if told is not None else None

    def told(self, location: Location, tag: Tag) -> Digest | None:
        """Return the digest that a listing told, whether it is believed or not; None where nothing was told."""
        told = self._told.get(location)
        return told.digests.get(tag) if told is not None and not self._is_dropped(location, tag) else None

    def is_open(self, location: Location, tag: Tag, *, in_turn: bool, clock: Clock) -> bool:
        """Say whether a tag is to be asked for, whatever is remembered of it.

        That is where this run wrote it, where a listing was found wrong about it, and with ``in_turn`` in its turn.
        """
        return self._is_dropped(location, tag) or (in_turn and is_due(location, tag, self._moment or clock.now()))

    def is_listing_due(self, location: Location, clock: Clock) -> bool:
        """Say whether it is the turn of a repository to be listed plainly as well."""
        return is_listing_due(location, self._moment or clock.now())

    def check(self, location: Location, tag: Tag, head: Descriptor | None, events: EventSink) -> None:
        """Compare what the registry itself says with what was told; a difference is counted, and the hint dropped."""
        told = self._told.get(location)
        if told is None or self._is_dropped(location, tag):
            return
        hint = told.digests.get(tag)
        if hint is None and (tag in told.digests or not told.whole or not any(told.digests.values())):
            return  # nothing was said of this tag
        digest = head.digest if head is not None else None
        if digest == hint:
            return
        self._wrong.setdefault(location, set()).add(tag)
        self._unsaid.setdefault(location, []).append(tag)
        text = f"{location}:{tag} is {digest or 'not there'}, and its listing told {hint or 'nothing of it'}"
        events.emit(Noted(what=BULK_DIFFERS, text=text, host=location.host))

    def wrote(self, location: Location, tag: Tag) -> None:
        """Drop the hint of a tag that this run writes, before it does; no later listing brings one back."""
        self._written.setdefault(location, set()).add(tag)

    def note_job(self, job: CopyJob) -> None:
        """Drop the hints of all tags that carrying out a job may write."""
        graphs = [job.graph, *(attachment.graph for attachment in job.attachments)]
        subjects = [manifest.subject for graph in graphs for manifest in graph.manifests]
        attached = [attachment.tag for attachment in job.attachments if attachment.tag is not None]
        attached += [fallback_tag(subject.digest) for subject in subjects if subject is not None]
        for order in job.orders:
            own = [tag.target_tag for tag in order.target.changes if tag.target_tag is not None]
            for tag in (*own, *attached):
                self.wrote(order.target.target, tag)

    def written(self, location: Location) -> frozenset[Tag]:
        """Return the tags of a repository that this run wrote, or began to: a listing may not tell of them yet."""
        return frozenset(self._written.get(location, ()))

    def warnings(self, locations: Collection[Location]) -> list[str]:
        """Return what is to be told about listings that were wrong; each difference is told once."""
        lines = []
        for location in dict.fromkeys(locations):
            if tags := sorted(self._unsaid.pop(location, [])):
                names = ", ".join(map(str, tags[:_SHOWN])) + (", ..." if len(tags) > _SHOWN else "")
                lines.append(
                    f"{location}: the listing of {location.host} told something else than the registry itself about "
                    f"{len(tags)} {'tags' if len(tags) > 1 else 'tag'} ({names}); what the registry says was taken"
                )
        return lines

    def _is_dropped(self, location: Location, tag: Tag) -> bool:
        return tag in self._written.get(location, ()) or tag in self._wrong.get(location, ())
