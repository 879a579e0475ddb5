"""Reads an image layout directory as if it were a repository."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio

from mirrord.errors import ContentMismatchError, MirrordError
from mirrord.layout.contents import Contents
from mirrord.layout.directory import Directory
from mirrord.layout.disk import Disk
from mirrord.layout.worker import Worker
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import LayoutDirectory, Tag
from mirrord.planning.listing import ListingTraits, TagHints, TagPage
from mirrord.ports.registry import ReferrersAnswer, RepositoryReader

PIECE = 1024 * 1024

_LISTING = ListingTraits(page_size=100_000, has_digests=True)


class LayoutReader(RepositoryReader):
    """An image layout directory as a source. Any failure of the directory itself is a `LayoutError`.

    A manifest is found by digest if its file is there, whether or not ``index.json`` leads to it.

    Args:
        location: the directory.
        limiter: bounds the threads that read; several readers may share one. One of its own if None.
        disk: the file calls, for tests.
    """

    def __init__(
        self, location: LayoutDirectory, *, limiter: anyio.CapacityLimiter | None = None, disk: Disk | None = None
    ) -> None:
        self._location = location
        self._directory = Directory(location, disk or Disk())
        self._contents = Contents(self._directory)
        self._worker = Worker(location, limiter)

    @property
    def location(self) -> LayoutDirectory:
        """The directory."""
        return self._location

    @property
    def listing(self) -> ListingTraits:
        """One page tells all tags, with their digests."""
        return _LISTING

    @property
    def has_referrers_api(self) -> bool:
        """True: all manifests are at hand, and no fallback tag is needed."""
        return True

    async def list_tags(self) -> AsyncIterator[TagPage]:
        """Yield the tags, in one page: all names of ``index.json`` that are tags, the others counted."""
        index = await self._worker.run("list the tags", self._contents.index)
        if index is None:
            raise self._directory.absent(f"{self._location}: there is no image layout")
        yield index.tags()

    async def tag_hints(self, most_pages: int) -> TagHints:  # noqa: ARG002 - there is one page
        """Return the tags with their digests; nothing where the listing fails."""
        try:
            entries = [entry async for page in self.list_tags() for entry in page.entries]
        except MirrordError:
            return TagHints()
        return TagHints(entries=tuple(entries), whole=True)

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Return what ``ref`` names, its bytes verified, or None.

        Raises:
            NotFoundError: the tag is there, but its manifest is missing.
            ContentMismatchError: the manifest is damaged.
            LayoutError: the tag stands for two digests (LAYOUT_AMBIGUOUS).
        """
        return await self._worker.run(f"look up {ref}", self._contents.describe, ref)

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest by digest, verified; the errors are those of the port."""
        return await self._worker.run(f"read {digest}", self._contents.manifest, digest)

    @asynccontextmanager
    async def blob(self, blob: Descriptor, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a blob's bytes from ``offset`` on; the errors are those of the port.

        Raises:
            ValueError: ``offset`` lies outside of the blob.
        """
        if not 0 <= offset <= blob.size:
            raise ValueError(f"offset {offset} of a blob of {blob.size} bytes")
        fd, size = await self._worker.run(f"open {blob.digest}", self._directory.open_blob, blob.digest)
        try:
            if size != blob.size:
                raise self._wrong_size(blob, size)
            async with aclosing(self._pieces(fd, blob, offset)) as pieces:
                yield pieces
        finally:
            os.close(fd)

    async def _pieces(self, fd: int, blob: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        read = self._directory.disk.read
        while offset < blob.size:
            piece = await self._worker.run(f"read {blob.digest}", read, fd, min(PIECE, blob.size - offset), offset)
            if not piece:
                raise self._wrong_size(blob, offset)
            offset += len(piece)
            yield piece

    def _wrong_size(self, blob: Descriptor, size: int) -> ContentMismatchError:
        return ContentMismatchError(
            f"{self._location}: {blob.digest} has {size} bytes instead of {blob.size}",
            host=self._location.host,
            code="SIZE_MISMATCH",
        )

    async def referrers(self, subject: Digest, *, fallback: bool = True) -> ReferrersAnswer:  # noqa: ARG002 - a layout has no API
        """Return the manifests that name ``subject`` as theirs, and those that its fallback tag names."""
        found = await self._worker.run("look for referrers", self._contents.referrers, subject)
        return ReferrersAnswer(descriptors=found, from_api=True)
