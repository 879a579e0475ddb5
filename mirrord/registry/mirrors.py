"""Reading from mirrors of a registry first. What comes from one is proven by its digest, like everything.

Tags are resolved and listed at the registry itself: a mirror may lag, and mirrord must know what is fresh.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.listing import ListingTraits, TagHints, TagPage
from mirrord.ports.events import EventSink, Noted
from mirrord.ports.registry import ReferrersAnswer, RepositoryReader


class MirroredReader(RepositoryReader):
    """Reads manifests and blobs from the mirrors in their order, then from the registry itself."""

    def __init__(self, origin: RepositoryReader, mirrors: Sequence[RepositoryReader], events: EventSink) -> None:
        """Put mirrors before ``origin``."""
        self._origin = origin
        self._mirrors = tuple(mirrors)
        self._events = events

    @property
    def location(self) -> Location:
        """The repository at the registry itself."""
        return self._origin.location

    @property
    def listing(self) -> ListingTraits:
        """The registry's own."""
        return self._origin.listing

    @property
    def metered(self) -> bool:
        """The registry's own: what a mirror lacks is fetched there."""
        return self._origin.metered

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Take turns at the registry itself."""
        return self._origin.turn()

    @property
    def has_referrers_api(self) -> bool | None:
        """The registry's own."""
        return self._origin.has_referrers_api

    def list_tags(self) -> AsyncIterator[TagPage]:
        """List the registry's own tags."""
        return self._origin.list_tags()

    def bulk_tags(self) -> AsyncIterator[TagPage]:
        """List the registry's own tags."""
        return self._origin.bulk_tags()

    async def tag_hints(self, most_pages: int) -> TagHints:
        """Ask the registry itself."""
        return await self._origin.tag_hints(most_pages)

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Ask the registry itself."""
        return await self._origin.head(ref)

    async def referrers(self, subject: Digest, *, fallback: bool = True) -> ReferrersAnswer:
        """Ask the registry itself."""
        return await self._origin.referrers(subject, fallback=fallback)

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return the manifest of the first that has it."""
        for mirror in self._mirrors:
            try:
                return await mirror.manifest(digest)
            except MirrordError as exc:
                self._note(mirror, exc)
        return await self._origin.manifest(digest)

    def blob(self, blob: Descriptor, *, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the blob at the first that has it; one that breaks off is followed by the registry itself."""
        return self._open(blob, offset)

    @asynccontextmanager
    async def _open(self, blob: Descriptor, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            for mirror in self._mirrors if not offset else ():
                try:
                    pieces = await stack.enter_async_context(mirror.blob(blob))
                except MirrordError as exc:
                    self._note(mirror, exc)
                    continue
                yield pieces
                return
            yield await stack.enter_async_context(self._origin.blob(blob, offset=offset))

    def _note(self, mirror: RepositoryReader, error: MirrordError) -> None:
        self._events.emit(Noted(what="mirror_passed_over", text=str(error), host=mirror.location.host))
