"""Changes of a layout that must not meet each other: each is made whole, under the layout's lock.

The order inside each change keeps the layout consistent at every instant: ``index.json`` names a manifest only after
the manifest, its blobs and its children are on the disk, and stops naming it before its file goes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mirrord.errors import (
    ContentMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    LayoutError,
    MissingContentError,
    NotFoundError,
)
from mirrord.layout.contents import Contents
from mirrord.layout.directory import BLOBS, INDEX, LOCK, MARK, MAX_INDEX_SIZE, UPLOADS, VERSION, Directory
from mirrord.layout.incoming import Incoming, IncomingBlob, sweep
from mirrord.layout.index import LayoutIndex
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index
from mirrord.oci.reference import Tag

_MARK_TEXT = f'{{"imageLayoutVersion":"{VERSION}"}}'.encode()
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK


class Editor:
    """Changes a layout directory. All methods block; one that returns False found the lock held and did nothing."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._disk = directory.disk
        self._contents = Contents(directory)

    def prepare(self) -> bool:
        """Make the directory a layout where it is none yet, and remove what killed writers left.

        Raises:
            LayoutError: it is something else, and is left alone.
        """
        directory = self._directory
        if not directory.exists():
            self._make_parents(directory.path)
            directory.make(UPLOADS, mode=0o700)
            with self._locked() as locked:
                if not locked:
                    return False
                directory.make(BLOBS)
                # The mark comes last: a directory without it is taken up again where it was left.
                if not os.path.lexists(directory.path / INDEX):
                    self._place(INDEX, LayoutIndex.empty().to_bytes())
                self._place(MARK, _MARK_TEXT)
        directory.make(UPLOADS, mode=0o700)
        directory.make(BLOBS)
        with directory.opened(BLOBS):  # a link is refused now, not after the first gigabyte
            sweep(directory)
        return True

    def put(self, manifest: AnyManifest, tag: Tag | None, absent: Collection[Digest] = ()) -> bool:
        """Write a manifest and list it; ``absent`` are children that need not be there.

        Raises:
            MissingContentError: a blob, or another child of it, is not in the layout.
            ContentMismatchError: its bytes do not have its digest.
        """
        with self._locked() as locked:
            if not locked:
                return False
            self._require_content(manifest, absent)
            self._store(manifest)
            before = self._index()
            after = before.with_tag(tag, manifest.descriptor) if tag else before.with_bare(manifest.descriptor)
            if isinstance(manifest, Index):
                children = {child.digest for child in manifest.children() if before.lists_bare(child.digest)}
                after = after.without_bare({child for child in children if not self._has_subject(child)})
            if tag:
                after = self._keep_referrers(before, after, tag)
            self._save(before, after)
        return True

    def delete(self, ref: Tag | Digest) -> bool:
        """Take a tag away; or a manifest, with its tags, and its file unless another manifest needs that."""
        if self._contents.index() is None:
            return True
        with self._locked() as locked:
            if not locked:
                return False
            before = self._index()
            if isinstance(ref, Tag):
                self._save(before, self._keep_referrers(before, before.without_tag(ref), ref))
                return True
            listed = before.lists(ref)
            after = before.without_digest(ref)
            self._save(before, after)
            if (listed or self._is_manifest(ref)) and not self._is_needed(ref, after):
                with suppress(FileNotFoundError), self._directory.opened(BLOBS, ref.algorithm) as folder:
                    self._disk.remove(ref.hex, dir_fd=folder)
                    self._disk.sync(folder)
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the layout's lock; yields False if somebody else does.

        The file stays: removing it would let two writers lock two files of one name. BuildKit does remove it, so the
        name is looked up again after locking.
        """
        with ExitStack() as stack:
            root = stack.enter_context(self._directory.opened())
            fd = self._disk.open(LOCK, _LOCK_FLAGS, dir_fd=root)
            stack.callback(os.close, fd)
            if not self._disk.lock(fd):
                yield False
                return
            try:
                current = os.stat(LOCK, dir_fd=root, follow_symlinks=False)
            except FileNotFoundError:
                yield False
                return
            yield os.path.samestat(current, os.fstat(fd))

    def _index(self) -> LayoutIndex:
        self._contents.forget()
        index = self._contents.index()
        if index is None:
            raise LayoutError(
                f"{self._directory.location} was removed while it was written",
                code="LAYOUT_CHANGED",
                remedy="leave the directory in place while mirrord uses it, and run again",
            )
        return index

    def _require_content(self, manifest: AnyManifest, absent: Collection[Digest]) -> None:
        children = [child for child in manifest.children() if child.digest not in absent]
        needed: list[tuple[str, Descriptor]] = [("the child", child) for child in children]
        # What the spec allows to be kept elsewhere need not be here, as with registries.
        needed += [("the blob", blob) for blob in manifest.blobs() if not blob.is_foreign]
        for what, content in needed:
            if not self._directory.holds(content.digest, content.size):
                raise MissingContentError(
                    f"{self._directory.location} lacks {what} {content.digest} ({content.size} bytes) of "
                    f"{manifest.descriptor.digest}",
                    host=self._directory.location.host,
                    remedy="write it first",
                )

    def _store(self, manifest: AnyManifest) -> None:
        descriptor = manifest.descriptor
        with suppress(NotFoundError, ContentMismatchError, InvalidManifestError):
            if self._directory.read_manifest(descriptor.digest) == manifest.raw:
                return
        incoming = IncomingBlob(self._directory, descriptor.digest, descriptor.size)
        try:
            incoming.finish((manifest.raw,))
        finally:
            incoming.discard()

    def _keep_referrers(self, before: LayoutIndex, after: LayoutIndex, tag: Tag) -> LayoutIndex:
        """Return ``after`` with what ``tag`` listed listed without a name, if it refers to something."""
        for target in before.named(tag):
            if self._has_subject(target.digest):
                after = after.with_bare(target)
        return after

    def _has_subject(self, digest: Digest) -> bool:
        try:
            return self._contents.manifest(digest).subject is not None
        except (NotFoundError, ContentMismatchError, InvalidManifestError, InvalidDigestError):
            return False

    def _is_manifest(self, digest: Digest) -> bool:
        try:
            self._contents.manifest(digest)
        except ContentMismatchError:
            return True  # damaged: nobody can use it as anything else
        except (NotFoundError, InvalidManifestError, InvalidDigestError):
            return False
        return True

    def _is_needed(self, digest: Digest, index: LayoutIndex) -> bool:
        try:
            return any(
                digest in {content.digest for content in (*manifest.children(), *manifest.blobs())}
                for manifest in self._contents.walk(index.manifests())
            )
        except ContentMismatchError:
            return True  # what a damaged index needs is not known

    def _save(self, before: LayoutIndex, after: LayoutIndex) -> None:
        if after is before:
            return
        raw = after.to_bytes()
        if len(raw) > MAX_INDEX_SIZE:
            raise LayoutError(
                f"{self._directory.location}: {INDEX} would have {len(raw)} bytes; at most {MAX_INDEX_SIZE} are read",
                code="LAYOUT_TOO_LARGE",
                remedy="spread the images over several layouts",
            )
        self._place(INDEX, raw)

    def _place(self, name: str, raw: bytes) -> None:
        incoming = Incoming(self._directory)
        try:
            incoming.write((raw,))
            incoming.place(name)
        finally:
            incoming.discard()

    def _make_parents(self, path: Path) -> None:
        missing: list[Path] = []
        while not path.is_dir() and path != path.parent:
            missing.append(path)
            path = path.parent
        for path in reversed(missing):
            with suppress(FileExistsError):
                self._disk.make_directory(path)
            parent = self._disk.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._disk.sync(parent)
            finally:
                os.close(parent)
