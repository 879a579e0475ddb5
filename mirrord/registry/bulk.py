"""Tags with their digests, many in one answer, where a registry's own API tells them; else a plain listing.

What such an API says is a hint: it may lag, and it may lack tags. Nothing here makes a run fail: whoever refuses,
breaks off or answers nonsense is left alone for a while, and the tags are listed plainly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from mirrord.errors import ListingIncompleteError, RegistryError
from mirrord.planning.listing import TagPage
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.registry.providers.service import RegistryService
from mirrord.registry.tags import MAX_NAMES

REFUSED_FOR_S = 15 * 60.0
_MOST_REFUSALS = 4096


@dataclass(slots=True)
class BulkHabits:
    """What was learned about one registry: repositories whose API refused, and until when it is left alone."""

    refused_until: dict[str, float] = field(default_factory=dict)

    def allows(self, path: str, now_s: float) -> bool:
        """Say whether the API is worth asking for a repository."""
        return self.refused_until.get(path, 0.0) <= now_s

    def refuse(self, path: str, now_s: float) -> None:
        """Take note that the API refused a repository."""
        if len(self.refused_until) >= _MOST_REFUSALS:
            self.refused_until = {known: until for known, until in self.refused_until.items() if until > now_s}
        if len(self.refused_until) < _MOST_REFUSALS:
            self.refused_until[path] = now_s + REFUSED_FOR_S


async def bulk_tags(
    service: RegistryService, path: str, habits: BulkHabits, *, clock: Clock, events: EventSink
) -> AsyncIterator[TagPage]:
    """Yield the tags of a repository with digests, or, where the registry's API does not tell, without.

    Raises:
        RegistryError: the plain listing failed too.
    """
    if habits.allows(path, clock.monotonic()):
        try:
            pages = await _whole(service, path)
        except RegistryError as exc:
            habits.refuse(path, clock.monotonic())
            text = f"{service.api.host}/{path} is listed tag by tag: {exc}"
            events.emit(Noted(what="bulk_refused", text=text, host=service.api.host))
        else:
            for page in pages:
                yield page
            return
    async for page in service.list_tags(path):
        yield page


async def _whole(service: RegistryService, path: str) -> list[TagPage]:
    """Return all pages: what breaks off in the middle is of no use."""
    pages: list[TagPage] = []
    count = 0
    async for page in service.bulk_tags(path):
        pages.append(page)
        count += len(page.entries)
        if count > MAX_NAMES:
            raise ListingIncompleteError(
                f"{service.api.host}/{path} lists more than {MAX_NAMES} tags", code="LISTING_TOO_LARGE"
            )
    return pages
