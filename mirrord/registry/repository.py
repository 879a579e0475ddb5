"""One repository of one registry, as the core's ports want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from mirrord.errors import DeniedError, RegistryError, UnauthorizedError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.listing import ListingTraits, TagHints, TagPage
from mirrord.ports.events import EventSink
from mirrord.ports.registry import ReferrersAnswer, RepositoryReader, RepositoryWriter
from mirrord.registry.blobs import has_blob, open_blob
from mirrord.registry.bulk import Bulk, BulkHabits
from mirrord.registry.http import RegistryHttp
from mirrord.registry.manifests import get_manifest, head_manifest, put_manifest
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.service import RegistryService
from mirrord.registry.referrers import ReferrersHabits, keep_fallback_tag, list_referrers
from mirrord.registry.uploads import UploadHabits, mount_blob, put_blob


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryHandle:
    """Everything that is shared by all repositories of one registry."""

    http: RegistryHttp
    provider: Provider
    service: RegistryService
    bulk: BulkHabits
    uploads: UploadHabits
    referrers: ReferrersHabits
    events: EventSink


class RegistryRepository(RepositoryReader, RepositoryWriter):
    """Reads and writes one repository over the distribution API."""

    def __init__(self, handle: RegistryHandle, repository: Repository) -> None:
        self._handle = handle
        self._http = handle.http
        self._repository = repository
        self._path = repository.path

    @property
    def location(self) -> Location:
        """The repository."""
        return self._repository

    @property
    def listing(self) -> ListingTraits:
        """What the provider says of its listings."""
        return self._handle.provider.listing

    @property
    def metered(self) -> bool:
        """Whether the registry counts manifests that are fetched."""
        return self._http.metering is not None

    def turn(self) -> AbstractAsyncContextManager[None]:
        """See `mirrord.registry.metering.Metering.turn`."""
        return self._http.metering.turn() if self._http.metering is not None else nullcontext()

    @property
    def has_referrers_api(self) -> bool | None:
        """What was learned so far."""
        return self._handle.referrers.has_api

    def list_tags(self) -> AsyncIterator[TagPage]:
        """See `mirrord.registry.providers.service.RegistryService.list_tags`."""
        return self._handle.service.list_tags(self._path)

    def bulk_tags(self) -> AsyncIterator[TagPage]:
        """See `mirrord.registry.bulk.Bulk.tags`; a plain listing where the registry has nothing better."""
        return self._bulk.tags() if self.listing.has_digests else self.list_tags()

    async def tag_hints(self, most_pages: int) -> TagHints:
        """See `mirrord.registry.bulk.Bulk.hints`."""
        return await self._bulk.hints(most_pages) if self.listing.has_digests else TagHints()

    @property
    def _bulk(self) -> Bulk:
        handle = self._handle
        return Bulk(
            service=handle.service,
            path=self._path,
            habits=handle.bulk,
            clock=self._http.clock,
            events=handle.events,
        )

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """See `mirrord.registry.manifests.head_manifest`; None too where a push would make the repository first."""
        tells_digest = self._handle.provider.abilities.tells_digest
        try:
            return await head_manifest(self._http, self._path, ref, tells_digest=tells_digest)
        except RegistryError as exc:
            await self._handle.service.look_into(self._path, exc)
        return None

    async def manifest(self, digest: Digest) -> AnyManifest:
        """See `mirrord.registry.manifests.get_manifest`."""
        return await get_manifest(self._http, self._path, digest)

    def blob(self, blob: Descriptor, *, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `mirrord.registry.blobs.open_blob`."""
        return open_blob(self._http, self._path, blob, offset, self._handle.provider.limits.longest_read)

    async def referrers(self, subject: Digest, *, fallback: bool = True) -> ReferrersAnswer:
        """See `mirrord.registry.referrers.list_referrers`."""
        handle = self._handle
        return await list_referrers(self._http, self._path, subject, handle.referrers, handle.events, fallback=fallback)

    @property
    def keeps_untagged(self) -> bool:
        """What the provider says."""
        return self._handle.provider.abilities.keeps_untagged

    @property
    def deletes_digests(self) -> bool:
        """What the provider says."""
        return self._handle.provider.abilities.deletes_digests

    async def ensure_exists(self) -> None:
        """See `mirrord.registry.providers.service.RegistryService.ensure_repository`."""
        await self._handle.service.ensure_repository(self._path)

    async def has_blob(self, blob: Descriptor) -> bool:
        """See `mirrord.registry.blobs.has_blob`; false too where a push would make the repository first."""
        try:
            return await has_blob(self._http, self._path, blob)
        except (UnauthorizedError, DeniedError) as exc:
            await self._handle.service.look_into(self._path, exc)
        return False

    async def mount_blob(self, blob: Descriptor, origin: Repository) -> bool:
        """See `mirrord.registry.uploads.mount_blob`."""
        return await mount_blob(self._http, self._path, blob, origin.path, self._handle.uploads)

    async def put_blob(self, blob: Descriptor, body: AsyncIterator[bytes]) -> None:
        """See `mirrord.registry.uploads.put_blob`."""
        await put_blob(self._http, self._path, blob, body, self._handle.uploads)

    async def put_manifest(
        self,
        manifest: AnyManifest,
        tag: Tag | None = None,
        *,
        absent: frozenset[Digest] = frozenset(),  # noqa: ARG002 - the API has no way to say so
    ) -> None:
        """See `mirrord.registry.manifests.put_manifest`; keeps the fallback tag where the registry needs it.

        The answer's OCI-Subject is not believed: ECR sent it before it had the API.
        """
        await put_manifest(self._http, self._path, manifest, tag)
        self._handle.bulk.exists(self._path)
        if manifest.subject is not None:
            await keep_fallback_tag(self._http, self._path, manifest, self._handle.referrers, self._handle.events)

    async def delete(self, ref: Tag | Digest) -> None:
        """See `mirrord.registry.providers.service.RegistryService.delete`."""
        if self._http.metering is not None:
            self._http.metering.manifests.forget(self._path)
        await self._handle.service.delete(self._path, ref)
