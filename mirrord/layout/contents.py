"""What a layout holds: tags, manifests and referrers, read from the directory when asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mirrord.errors import InvalidDigestError, InvalidManifestError, LayoutError, NotFoundError
from mirrord.layout.directory import INDEX, MAX_INDEX_SIZE, Directory
from mirrord.layout.index import LayoutIndex
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, Manifest, parse_manifest
from mirrord.oci.reference import Tag

_SETTLED_NS = 2_000_000_000
_FALLBACK_HEX = 64

_Stamp = tuple[int, ...]


@dataclass(slots=True)
class _Snapshot:
    """``index.json`` as it was read, and what was learned from it since."""

    index: LayoutIndex
    stamp: _Stamp
    subjects: dict[Digest, dict[Digest, Descriptor]] | None = None


class Contents:
    """Reads a layout. All methods block.

    ``index.json`` is read again when it changed. It is told by the file's identity, times and size; a file that
    changed less than two seconds ago is not trusted to look different after the next change, and is read each time.
    """

    def __init__(self, directory: Directory, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._directory = directory
        self._now_ns = now_ns
        self._kept: _Snapshot | None = None

    def index(self) -> LayoutIndex | None:
        """Return ``index.json``, or None if there is no layout.

        Raises:
            LayoutError: the directory is something else, or is damaged.
        """
        snapshot = self._snapshot()
        return snapshot.index if snapshot else None

    def forget(self) -> None:
        """Read ``index.json`` at the next use, whatever its times say: before it is changed, nothing is assumed."""
        self._kept = None

    def describe(self, ref: Tag | Digest) -> Descriptor | None:
        """Return type, digest and size of a manifest; None if the layout has none of that name.

        Raises:
            NotFoundError: the tag is listed, but its manifest is missing.
            ContentMismatchError: the bytes do not have the digest.
        """
        index = self.index()
        if index is None:
            return None
        listed = index.find(ref) if isinstance(ref, Tag) else index.find_digest(ref)
        if listed is not None:
            raw = self._directory.read_manifest(listed.digest)
            return Descriptor(media_type=listed.media_type, digest=listed.digest, size=len(raw))
        if isinstance(ref, Tag):
            return None
        try:
            return self._unlisted(ref).descriptor
        except (NotFoundError, InvalidManifestError, InvalidDigestError):
            return None  # content that is no manifest: a layer, or a type that is not copied

    def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest, verified; the errors are those of `RepositoryReader.manifest`."""
        index = self.index()
        if index is None:
            raise self._directory.absent(f"{self._directory.location} is no image layout yet")
        listed = index.find_digest(digest)
        return self._parse(digest, listed.media_type) if listed else self._unlisted(digest)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests whose subject is ``subject``: those that name it, and those its fallback tag names.

        Raises:
            ContentMismatchError: a manifest of the layout is damaged, so that its subject is not known.
        """
        snapshot = self._snapshot()
        if snapshot is None:
            return ()
        if snapshot.subjects is None:
            snapshot.subjects = self._subjects(snapshot.index)
        found = dict(snapshot.subjects.get(subject, {}))
        fallback = snapshot.index.find(Tag(f"{subject.algorithm}-{subject.hex[:_FALLBACK_HEX]}"))
        if fallback is not None and fallback.is_index:
            for child in self._parse(fallback.digest, fallback.media_type).children():
                if self._directory.blob_path(child.digest).is_file():
                    found.setdefault(child.digest, child)
        return tuple(found.values())

    def walk(self, roots: Iterable[Descriptor]) -> Iterator[AnyManifest]:
        """Yield the manifests that can be reached from ``roots``, each once.

        What is missing is passed over, as in a sparse index, and so is what is no manifest that mirrord copies.
        The cost is linear in the bytes of the layout, whatever its indexes say.

        Raises:
            ContentMismatchError: a manifest is damaged.
        """
        seen: set[Digest] = set()
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            if node.digest in seen or not (node.is_index or node.is_manifest):
                continue
            seen.add(node.digest)
            try:
                manifest = self._parse(node.digest, node.media_type)
            except (NotFoundError, InvalidManifestError, InvalidDigestError):
                continue
            yield manifest
            waiting.extend(manifest.children())

    def _snapshot(self) -> _Snapshot | None:
        directory = self._directory
        path = directory.path / INDEX
        kept = self._kept
        if kept is not None:
            try:
                if kept.stamp == _stamp(path.stat()):
                    return kept
            except FileNotFoundError:
                self._kept = None
        if not directory.exists():
            return None
        try:
            with directory.opened_file(path) as (fd, size):
                if size > MAX_INDEX_SIZE:
                    raise LayoutError(
                        f"{directory.location}: {INDEX} has {size} bytes; at most {MAX_INDEX_SIZE} are read",
                        code="LAYOUT_TOO_LARGE",
                        remedy="spread the images over several layouts",
                    )
                before = _stamp(os.fstat(fd))
                raw = directory.read_all(fd, size)
                after = _stamp(os.fstat(fd))
        except FileNotFoundError:
            raise LayoutError(
                f"{directory.location} is an image layout without {INDEX}",
                remedy="restore it from a copy, or write the layout again in a new directory",
            ) from None
        snapshot = _Snapshot(LayoutIndex.parse(raw, f"{directory.location}: {INDEX}"), after)
        settled = self._now_ns() - max(after[2:4]) > _SETTLED_NS
        self._kept = snapshot if settled and before == after else None
        return snapshot

    def _subjects(self, index: LayoutIndex) -> dict[Digest, dict[Digest, Descriptor]]:
        found: dict[Digest, dict[Digest, Descriptor]] = {}
        for manifest in self.walk(index.manifests()):
            if manifest.subject is not None:
                found.setdefault(manifest.subject.digest, {})[manifest.descriptor.digest] = _as_referrer(manifest)
        return found

    def _unlisted(self, digest: Digest) -> AnyManifest:
        """Return a manifest that no entry names: a child, whose type its parent may be the only one to know."""
        try:
            return self._parse(digest, "")
        except InvalidManifestError as exc:
            index = self.index()
            if exc.code != "MEDIA_TYPE_MISSING" or index is None:
                raise
            parents = (manifest for manifest in self.walk(index.manifests()) if isinstance(manifest, Index))
            declared = (child for parent in parents for child in parent.children() if child.digest == digest)
            child = next(declared, None)
            if child is None:
                raise
            return self._parse(digest, child.media_type)

    def _parse(self, digest: Digest, media_type: str) -> AnyManifest:
        raw = self._directory.read_manifest(digest)
        return parse_manifest(raw, media_type=media_type, digest=digest, what=f"{self._directory.location}@{digest}")


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def _as_referrer(manifest: AnyManifest) -> Descriptor:
    """Return the descriptor that a registry's referrers API would give.

    Source: distribution-spec v1.1.1 spec.md, "Listing Referrers": the config's type stands in for the artifact type.
    """
    config_type = manifest.config.media_type if isinstance(manifest, Manifest) else ""
    return Descriptor(
        media_type=manifest.descriptor.media_type,
        digest=manifest.descriptor.digest,
        size=manifest.descriptor.size,
        artifact_type=manifest.artifact_type or config_type,
        annotations=manifest.annotations,
    )
