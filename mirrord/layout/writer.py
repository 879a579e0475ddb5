"""Writes an image layout directory as if it were a repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio

from mirrord.errors import (
    ContentMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    LayoutError,
    NotFoundError,
)
from mirrord.layout.contents import Contents
from mirrord.layout.directory import LOCK, Directory
from mirrord.layout.disk import Disk
from mirrord.layout.editor import Editor
from mirrord.layout.incoming import IncomingBlob
from mirrord.layout.worker import Worker
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.ports.registry import RepositoryWriter

LOCK_PATIENCE_S = 30.0

_LOCK_POLL_S = 0.02
_BUFFER = 1024 * 1024


class LayoutWriter(RepositoryWriter):
    """An image layout directory as a target. Any failure of the directory itself is a `LayoutError`.

    Whatever is killed or fails at whatever instant, ``index.json`` names no content that is missing, but for the
    children that a sparse index lacks; several processes may write one layout. What is put by digest is listed in
    ``index.json`` without a name, until an index that contains it is put, or a tag; a manifest with a subject stays
    listed, so that its subject finds it again. Blobs are never removed: a layout is made smaller by writing it again.
    No hints are told of its tags: a look costs no request, and proves the bytes.

    Args:
        location: the directory; it and its parents are made when needed.
        limiter: bounds the threads that work; several writers may share one. One of its own if None.
        lock_patience_s: how many seconds to wait for another process that writes the same layout.
        disk: the file calls, for tests.
    """

    def __init__(
        self,
        location: LayoutDirectory,
        *,
        limiter: anyio.CapacityLimiter | None = None,
        lock_patience_s: float = LOCK_PATIENCE_S,
        disk: Disk | None = None,
    ) -> None:
        self._location = location
        self._directory = Directory(location, disk or Disk())
        self._contents = Contents(self._directory)
        self._editor = Editor(self._directory)
        self._worker = Worker(location, limiter)
        self._lock_patience_s = lock_patience_s
        self._ready = False

    @property
    def location(self) -> LayoutDirectory:
        """The directory."""
        return self._location

    async def ensure_exists(self) -> None:
        """Make the layout where there is none, and remove what killed writers left in it.

        Raises:
            LayoutError: the directory holds something else, which is left alone.
        """
        await self._locked("make the layout", self._editor.prepare)
        self._ready = True

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Return what the layout holds under ``ref``; None if it is missing or damaged, so that it is put again."""
        return await self._worker.run(f"look up {ref}", self._intact, ref)

    def _intact(self, ref: Tag | Digest) -> Descriptor | None:
        try:
            return self._contents.describe(ref)
        except (NotFoundError, ContentMismatchError, InvalidManifestError, InvalidDigestError):
            return None

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest by digest, verified; the errors are those of the port."""
        return await self._worker.run(f"read {digest}", self._contents.manifest, digest)

    async def has_blob(self, blob: Descriptor) -> bool:
        """Say whether there is a regular file of this digest and size."""
        return await self._worker.run(f"look for {blob.digest}", self._directory.holds, blob.digest, blob.size)

    async def mount_blob(self, blob: Descriptor, origin: Repository) -> bool:  # noqa: ARG002 - the port's signature
        """Return False: a directory has no other repositories."""
        return False

    async def put_blob(self, blob: Descriptor, body: AsyncIterator[bytes]) -> None:
        """Write a blob from a stream; it appears whole and verified, or not at all.

        Raises:
            ContentMismatchError: the stream does not have the size or digest.
        """
        await self._make_ready()
        action = f"write {blob.digest}"
        incoming = await self._worker.run(action, IncomingBlob, self._directory, blob.digest, blob.size)
        try:
            waiting: list[bytes] = []
            waiting_size = 0
            async for piece in body:
                waiting.append(piece)
                waiting_size += len(piece)
                if waiting_size >= _BUFFER:  # one turn of a thread a mebibyte, however small the pieces
                    await self._worker.run(action, incoming.write, waiting)
                    waiting, waiting_size = [], 0
            await self._worker.run(action, incoming.finish, waiting)
        finally:
            with anyio.CancelScope(shield=True):
                await self._worker.run(action, incoming.discard)

    async def put_manifest(
        self, manifest: AnyManifest, tag: Tag | None = None, *, absent: frozenset[Digest] = frozenset()
    ) -> None:
        """Write a manifest and list it under ``tag``, which is taken from whatever had it, or under no name.

        An index may be sparse: image-spec image-layout.md, "Blobs", lets a layout lack what is referenced.

        Raises:
            MissingContentError: the layout lacks a blob, or a child that is not ``absent``; nothing was written.
            ContentMismatchError: its bytes do not have its digest.
        """
        await self._make_ready()
        await self._locked(f"write {manifest.descriptor.digest}", lambda: self._editor.put(manifest, tag, absent))

    async def delete(self, ref: Tag | Digest) -> None:
        """Take a tag away, or a manifest with all its tags; config and layers stay.

        The file of a manifest goes with it, unless an index that is listed contains it.
        """
        await self._locked(f"delete {ref}", lambda: self._editor.delete(ref))

    async def _make_ready(self) -> None:
        if not self._ready:
            await self.ensure_exists()

    async def _locked(self, action: str, change: Callable[[], bool]) -> None:
        """Make a change once the lock is free. The lock is held inside one call of a thread, never across an await."""
        deadline = anyio.current_time() + self._lock_patience_s
        while not await self._worker.run(action, change):
            if anyio.current_time() >= deadline:
                raise LayoutError(
                    f"{self._location}: cannot {action}: another process has held {LOCK} for "
                    f"{self._lock_patience_s:g} s",
                    code="LAYOUT_BUSY",
                    remedy="wait for the other program that writes this layout, or stop it",
                )
            await anyio.sleep(_LOCK_POLL_S)
