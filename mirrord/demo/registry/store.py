"""What the registry holds: repositories with their blobs, manifests, tags and upload sessions, all in memory.

The store judges nothing: whether a manifest may be put, and with which answer, is decided by the routes. So a test
or a demo can lay down any state directly, broken states among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mirrord.demo.registry.upload import Upload
from mirrord.errors import InvalidDigestError, InvalidManifestError
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Manifest, parse_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest or index as it was put. ``artifact_type`` falls back to the type of the config, as the spec says."""

    digest: Digest
    media_type: str
    raw: bytes = field(repr=False)
    subject: Digest | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False, hash=False)


@dataclass(slots=True)
class _Contents:
    """One repository. ``tagged`` stays true when its last tag is gone: it is then known, with an empty list."""

    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, StoredManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    tagged: bool = False


class Store:
    """Repositories by name. Blobs are kept once and linked per repository, so a blob of one is not seen in another."""

    def __init__(self) -> None:
        self._repositories: dict[str, _Contents] = {}
        self._content: dict[Digest, bytes] = {}
        self._links: dict[Digest, int] = {}
        self._opened = 0

    def repositories(self) -> list[str]:
        """Return the names of the repositories that hold or held something, sorted; uploads alone do not count."""
        return sorted(
            name for name, found in self._repositories.items() if found.tagged or found.blobs or found.manifests
        )

    def knows(self, repository: str) -> bool:
        """Say whether the repository ever had a tag, which is what makes its tag list exist."""
        found = self._repositories.get(repository)
        return found is not None and found.tagged

    def tags(self, repository: str) -> dict[str, Digest]:
        """Return a copy of the tags of a repository, in the order in which they were first put."""
        return dict(self._look(repository).tags)

    def manifests(self, repository: str) -> dict[Digest, StoredManifest]:
        """Return a copy of the manifests and indexes of a repository."""
        return dict(self._look(repository).manifests)

    def blobs(self, repository: str) -> frozenset[Digest]:
        """Return the digests of the blobs linked to a repository."""
        return frozenset(self._look(repository).blobs)

    def uploads(self, repository: str) -> tuple[Upload, ...]:
        """Return the open upload sessions of a repository, oldest first."""
        return tuple(self._look(repository).uploads.values())

    def manifest(self, repository: str, reference: str | Digest) -> StoredManifest | None:
        """Return the manifest that a tag (text) or a digest names, or None."""
        found = self._look(repository)
        digest = found.tags.get(reference) if isinstance(reference, str) else reference
        return found.manifests.get(digest) if digest is not None else None

    def blob(self, repository: str, digest: Digest) -> bytes | None:
        """Return the content of a blob that is linked to the repository, or None."""
        return self._content[digest] if digest in self._look(repository).blobs else None

    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:
        """Return the manifests of a repository that name ``subject``, which need not exist, in the order of puts."""
        return [found for found in self._look(repository).manifests.values() if found.subject == subject]

    def add_blob(self, repository: str, content: bytes, digest: Digest | None = None) -> Digest:
        """Link ``content`` to a repository and return its digest (sha256 if None is given; a given one is trusted)."""
        digest = digest or Digest.of(content)
        self._content.setdefault(digest, content)
        self._link(repository, digest)
        return digest

    def mount(self, repository: str, source: str, digest: Digest) -> bool:
        """Link a blob of the repository ``source``; return False if it is not there."""
        if digest not in self._look(source).blobs:
            return False
        self._link(repository, digest)
        return True

    def remove_blob(self, repository: str, digest: Digest) -> bool:
        """Take away the link, and the content with its last link; return False if there was none."""
        found = self._look(repository)
        if digest not in found.blobs:
            return False
        found.blobs.remove(digest)
        self._links[digest] -= 1
        if not self._links[digest]:
            del self._links[digest], self._content[digest]
        return True

    def add_manifest(
        self, repository: str, raw: bytes, media_type: str, *, tags: Iterable[str] = (), digest: Digest | None = None
    ) -> Digest:
        """Put a manifest without any check, tag it, and return its digest (sha256 if None is given)."""
        manifest = _described(raw, media_type, digest or Digest.of(raw))
        self._open(repository).manifests[manifest.digest] = manifest
        for tag in tags:
            self.tag(repository, tag, manifest.digest)
        return manifest.digest

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Let ``tag`` name ``digest``, whether that is there or not."""
        found = self._open(repository)
        found.tags[tag] = digest
        found.tagged = True

    def untag(self, repository: str, tag: str) -> bool:
        """Remove the tag alone; return False if there was none."""
        return self._look(repository).tags.pop(tag, None) is not None

    def remove_manifest(self, repository: str, digest: Digest) -> bool:
        """Remove a manifest and every tag that names it; return False if there was none."""
        found = self._look(repository)
        if found.manifests.pop(digest, None) is None:
            return False
        for tag in [tag for tag, named in found.tags.items() if named == digest]:
            del found.tags[tag]
        return True

    def open_upload(self, repository: str) -> Upload:
        """Begin an upload session."""
        self._opened += 1
        upload = Upload(repository, self._opened)
        self._open(repository).uploads[upload.id] = upload
        return upload

    def upload(self, repository: str, upload_id: str) -> Upload | None:
        """Return an open upload session, or None."""
        return self._look(repository).uploads.get(upload_id)

    def commit_upload(self, upload: Upload, digest: Digest) -> bool:
        """Close the session; link its content if it has ``digest``, else return False. The session is gone anyway."""
        self.cancel_upload(upload)
        if not upload.has_digest(digest):
            return False
        self.add_blob(upload.repository, upload.content(), digest)
        return True

    def cancel_upload(self, upload: Upload) -> None:
        """Forget the session and what it received."""
        self._look(upload.repository).uploads.pop(upload.id, None)

    def _look(self, repository: str) -> _Contents:
        return self._repositories.get(repository) or _Contents()

    def _open(self, repository: str) -> _Contents:
        return self._repositories.setdefault(repository, _Contents())

    def _link(self, repository: str, digest: Digest) -> None:
        found = self._open(repository)
        if digest not in found.blobs:
            found.blobs.add(digest)
            self._links[digest] = self._links.get(digest, 0) + 1


def _described(raw: bytes, media_type: str, digest: Digest) -> StoredManifest:
    """Return the manifest with what its referrers entry needs; nothing of that where the bytes cannot be read."""
    view: AnyManifest | None
    try:
        view = parse_manifest(raw, media_type=media_type, digest=digest)
    except (InvalidManifestError, InvalidDigestError):
        view = None
    if view is None:
        return StoredManifest(digest=digest, media_type=media_type, raw=raw)
    artifact_type = view.artifact_type
    if not artifact_type and isinstance(view, Manifest):
        artifact_type = view.config.media_type
    return StoredManifest(
        digest=digest,
        media_type=media_type,
        raw=raw,
        subject=view.subject.digest if view.subject else None,
        artifact_type=artifact_type,
        annotations=view.annotations,
    )
