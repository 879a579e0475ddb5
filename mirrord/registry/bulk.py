"""Tags with their digests, many in one answer, where a registry's own API tells them; else a plain listing.

What such an API says is a hint: it may lag, and it may lack tags. Nothing here makes a run fail: whoever refuses,
breaks off or answers nonsense is left alone for a while, and the tags are listed plainly, or asked for one by one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace

import anyio

from mirrord.errors import ListingIncompleteError, MirrordError, NotFoundError
from mirrord.planning.listing import TagHints, TagPage
from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink, Noted
from mirrord.registry.providers.service import RegistryService
from mirrord.registry.tags import MAX_NAMES

REFUSED_FOR_S = 15 * 60.0
PAGE_PATIENCE_S = 90.0
"""How long a page may take, with all tries and pauses: tag by tag it goes on at once.

An API with a limit for each minute, as Docker Hub's, may make one wait that minute out, and clocks may differ.
"""

_MOST_REFUSALS = 4096


@dataclass(slots=True)
class BulkHabits:
    """What was learned about one registry: repositories whose API refused, and until when it is left alone.

    ``missing`` are those of them that the API does not know (yet); ``pushed`` those of them that were pushed to since.
    """

    refused_until: dict[str, float] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    pushed: set[str] = field(default_factory=set)

    def allows(self, path: str, now_s: float) -> bool:
        """Say whether the API is worth asking for a repository."""
        return self.refused_until.get(path, 0.0) <= now_s

    def refuse(self, path: str, now_s: float, *, missing: bool = False) -> None:
        """Take note that the API refused a repository, or does not know it."""
        if len(self.refused_until) >= _MOST_REFUSALS:
            self.refused_until = {known: until for known, until in self.refused_until.items() if until > now_s}
            self.missing &= self.refused_until.keys()
        if len(self.refused_until) < _MOST_REFUSALS:
            self.refused_until[path] = now_s + REFUSED_FOR_S
            (self.missing.add if missing else self.missing.discard)(path)

    def exists(self, path: str) -> None:
        """Take note that something was pushed: an API that did not know the repository may know it now."""
        if path in self.missing:
            self.missing.discard(path)
            self.refused_until.pop(path, None)
            if len(self.pushed) < _MOST_REFUSALS:
                self.pushed.add(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """What an API beside the distribution API tells of one repository. ``patience_s`` is for each page."""

    service: RegistryService
    path: str
    habits: BulkHabits
    clock: Clock
    events: EventSink
    patience_s: float = PAGE_PATIENCE_S

    async def tags(self) -> AsyncIterator[TagPage]:
        """Yield the tags with digests, or, where the registry's API does not tell, without: the plain listing.

        Raises:
            RegistryError: the plain listing failed too.
        """
        told = await self._ask(None)
        if told is None:
            async for page in self.service.list_tags(self.path):
                yield page
            return
        may_lack = not self.service.api.listing.is_whole
        for page in told.pages or [TagPage(entries=())]:
            yield replace(page, may_lack=may_lack)

    async def hints(self, most_pages: int) -> TagHints:
        """Return what the API tells on its first ``most_pages`` pages; nothing where it refuses."""
        told = await self._ask(most_pages)
        if told is None:
            return TagHints()
        return TagHints(entries=tuple(entry for page in told.pages for entry in page.entries), whole=told.whole)

    async def _ask(self, most_pages: int | None) -> _Told | None:
        """Return what the API tells; None where it is not to be used."""
        if not self.habits.allows(self.path, self.clock.monotonic()):
            return None
        host = self.service.api.host
        try:
            return await self._collect(most_pages)
        except (MirrordError, TimeoutError) as exc:
            missing = isinstance(exc, NotFoundError)
            self.habits.refuse(self.path, self.clock.monotonic(), missing=missing)
            text = f"the digests of {host}/{self.path} are asked for tag by tag: {str(exc) or 'no answer in time'}"
            # A target that is not there before the first push is as it should be; a source, or one pushed to, is not.
            is_normal = missing and most_pages is not None and self.path not in self.habits.pushed
            self.events.emit(Noted(what="bulk_unknown" if is_normal else "bulk_refused", text=text, host=host))
            return None

    async def _collect(self, most_pages: int | None) -> _Told:
        """Return the pages, all of them or the first ones; what breaks off before that is of no use."""
        pages: list[TagPage] = []
        count = 0
        listing = self.service.bulk_tags(self.path)
        try:
            while (page := await self._next(listing)) is not None:
                pages.append(page)
                count += len(page.entries)
                if count > MAX_NAMES:
                    raise ListingIncompleteError(
                        f"{self.service.api.host}/{self.path} lists more than {MAX_NAMES} tags",
                        code="LISTING_TOO_LARGE",
                    )
                if len(pages) == most_pages:
                    return _Told(pages, whole=False)
        finally:
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()
        return _Told(pages, whole=True)

    async def _next(self, listing: AsyncIterator[TagPage]) -> TagPage | None:
        with anyio.fail_after(self.patience_s):
            return await anext(listing, None)


@dataclass(frozen=True, slots=True)
class _Told:
    pages: list[TagPage]
    whole: bool
