"""What the core asks of a registry or of an image layout directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.listing import ListingTraits, TagHints, TagPage


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferrersAnswer:
    """The manifests whose subject is a given digest.

    ``from_api`` is False when they were found by the fallback tag, because the registry has no referrers API.
    """

    descriptors: tuple[Descriptor, ...]
    from_api: bool


class RepositoryReader(Protocol):
    """Reads one repository."""

    @property
    def location(self) -> Location:
        """What is read."""
        ...

    @property
    def listing(self) -> ListingTraits:
        """What a tag listing of this repository costs and tells."""
        ...

    @property
    def metered(self) -> bool:
        """Whether every manifest that is fetched counts against a quota."""
        return False

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Hold what lets one image's manifests be fetched before the next one's, where pulls are few.

        What is left of a quota is so spent on whole images. Elsewhere there is nothing to wait for.
        """
        return nullcontext()

    @property
    def has_referrers_api(self) -> bool | None:
        """Whether referrers are told by an API; None: not known before `referrers` was asked."""
        ...

    def list_tags(self) -> AsyncIterator[TagPage]:
        """Yield the tags in pages; every tag at least once, or an error.

        Raises:
            NotFoundError: the repository does not exist.
            ListingIncompleteError: the listing has no proven end.
        """
        ...

    def bulk_tags(self) -> AsyncIterator[TagPage]:
        """Yield the tags, with their digests where many can be told at once: for looks, never to prove an absence.

        The digests are hints. A tag may lack, or come with a digest that is not the newest: what differs from what is
        known is asked for by `head` before anything is done. Where there is no such listing, or it fails, this is
        `list_tags`, with its errors; only pages that are not of `list_tags` are marked as such that may lack tags.
        """
        return self.list_tags()

    async def tag_hints(self, most_pages: int) -> TagHints:  # noqa: ARG002 - overridden where there is such a listing
        """Return what `bulk_tags` tells, on its first ``most_pages`` pages; nothing where it fails.

        For who can ask for each tag instead: it never fails, and never falls back to a plain listing.
        """
        return TagHints()

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Return type, digest and size of a manifest without fetching it; None if there is none of that name.

        A registry that does not tell the digest is asked for the manifest itself, whose bytes are then hashed.
        """
        ...

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest by digest, verified.

        Raises:
            NotFoundError: there is none.
            ContentMismatchError: the bytes do not have the digest.
            InvalidManifestError: the bytes are no manifest that mirrord copies.
        """
        ...

    def blob(self, blob: Descriptor, *, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob's bytes from ``offset`` on, in pieces of at most 1 MiB. The caller verifies the digest.

        One exchange with the registry: a broken connection raises a retryable error from the iteration.
        The stream ends after exactly ``blob.size - offset`` bytes, or raises. Runs under slots held by the caller.

        Raises:
            NotFoundError: there is no such blob.
            ContentMismatchError: the content is longer or shorter than the descriptor says.
        """
        ...

    async def referrers(self, subject: Digest, *, fallback: bool = True) -> ReferrersAnswer:
        """Return the manifests that refer to ``subject``, by the referrers API or by the fallback tag.

        With ``fallback`` False a fallback tag is not looked for: the caller knows that there is none.
        """
        ...


class RepositoryWriter(Protocol):
    """Writes one repository."""

    @property
    def location(self) -> Location:
        """What is written."""
        ...

    @property
    def keeps_untagged(self) -> bool:
        """Whether a manifest stays when its last tag is deleted; where not, it goes at once."""
        return True

    @property
    def deletes_digests(self) -> bool:
        """Whether a manifest can be deleted by its digest; where not, tags alone are."""
        return True

    @property
    def listing(self) -> ListingTraits:
        """What a tag listing of this repository costs and tells: without digests where a look costs no more."""
        return ListingTraits()

    async def tag_hints(self, most_pages: int) -> TagHints:  # noqa: ARG002 - overridden where there is such a listing
        """Return digests of tags that an API tells at once; the same as a reader's."""
        return TagHints()

    async def ensure_exists(self) -> None:
        """Make the repository where a registry wants that before the first push; nothing elsewhere."""
        ...

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Return what the target holds under ``ref``, or None; the same as a reader's."""
        ...

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest that the target holds; the same as a reader's."""
        ...

    async def has_blob(self, blob: Descriptor) -> bool:
        """Say whether the repository holds a blob of this digest and size."""
        ...

    async def mount_blob(self, blob: Descriptor, origin: Repository) -> bool:
        """Make a blob of another repository of the same registry available here; False if the registry won't.

        True only after the registry confirmed that the blob is there. Never fails because of the mount itself.
        """
        ...

    async def put_blob(self, blob: Descriptor, body: AsyncIterator[bytes]) -> None:
        """Upload a blob from a stream that can be read once. Runs under slots held by the caller.

        An upload that fails is cancelled at the registry where that is possible. When the answer to the last
        request was lost, the registry is asked whether it has the blob before the error is raised.
        """
        ...

    async def put_manifest(
        self, manifest: AnyManifest, tag: Tag | None = None, *, absent: frozenset[Digest] = frozenset()
    ) -> None:
        """Put a manifest's bytes, by digest, or by ``tag``; keeps the fallback tag of its subject in step.

        Args:
            manifest: what to put.
            tag: its name; None for none.
            absent: children that are left out on purpose. A registry judges by itself whether it does without them.

        Raises:
            MissingContentError: the registry lacks a blob or child of this manifest, and wants it.
        """
        ...

    async def delete(self, ref: Tag | Digest) -> None:
        """Delete a tag or a manifest. What is not there counts as deleted."""
        ...


class RegistryGateway(Protocol):
    """Opens repositories and layout directories, wherever they are."""

    def reader(self, location: Location) -> RepositoryReader:
        """Return a reader of ``location``; no request is made."""
        ...

    def writer(self, location: Location) -> RepositoryWriter:
        """Return a writer of ``location``; no request is made."""
        ...

    def repositories(self, host: str, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of a registry whose path begins with ``prefix``."""
        ...


class Places(Protocol):
    """Places held at the source and at some targets of one copy. Each can be given back before the others."""

    @property
    def targets(self) -> frozenset[str]:
        """The hosts among the targets that got a place."""
        ...

    def source_done(self) -> None:
        """Give back the place at the source: nothing more is read. Doing it again changes nothing."""
        ...

    def target_done(self, host: str) -> None:
        """Give back the place at a target: nothing more is written there. Doing it again changes nothing."""
        ...


class Slots(Protocol):
    """Places at several registries at once, so that two copies can never wait for each other."""

    def hold(self, *, source: str, targets: Collection[str], patience_s: float) -> AbstractAsyncContextManager[Places]:
        """Hold one place at ``source`` and at each of ``targets``; a host that is both takes one place.

        Targets that have no place within ``patience_s`` seconds are left out, but never all of them: where all are
        busy, nothing is held until one of them is free. What was not given back before is given back at the end.
        """
        ...
