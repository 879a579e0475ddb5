"""Google Artifact Registry, which answers for Container Registry too.

Sources: Google Cloud, artifact-registry docs: "docker-api" (no uploads in chunks), "quotas" (9.9 GB in a request,
10,000 entries in a page), "transition/gcr-repositories"; go-containerregistry, pkg/v1/google/list.go (what a tag list
holds there); harbor, the adapter googlegcr (in which order is deleted).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn

import anyio

from mirrord.errors import (
    DeniedError,
    InvalidDigestError,
    NotFoundError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag, parse_repository_path
from mirrord.planning.listing import ListingTraits, TagPage
from mirrord.ports.credentials import CredentialProvider
from mirrord.registry.manifests import delete_manifest, head_manifest
from mirrord.registry.providers.base import Abilities, Limits, Provider
from mirrord.registry.providers.google_credentials import GoogleCredentials
from mirrord.registry.providers.google_walk import Walk
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.tags import TagHint, list_tags
from mirrord.registry.uploads import try_upload

PAGE_SIZE: Final = 10_000
LONGEST_READ: Final = 9 * 1000**3
"""Bytes. Google sends at most 9.9 GB in answer to one request."""
REFUSED_FOR_S: Final = 60.0

_GCR_LOCATIONS: Final = {"gcr.io": "us", "us.gcr.io": "us", "eu.gcr.io": "europe", "asia.gcr.io": "asia"}
_DOCKER_HOST: Final = "-docker.pkg.dev"
_LATEST_MS: Final = 253_402_300_800_000
_DAY_MS: Final = 24 * 3600 * 1000
_CODE_TAGS: Final = "GOOGLE_MANIFEST_DANGLING_TAG"
_CODE_PARENT: Final = "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE"
_CODE_REFERRER: Final = "GOOGLE_MANIFEST_REFERRING_MANIFEST"


@dataclass(frozen=True, slots=True)
class Place:
    """The repository of Artifact Registry that an image's path lies in; images below it need no making."""

    project: str
    location: str
    repository: str

    @classmethod
    def of(cls, host: str, path: str) -> Place | None:
        """Return the place of a path at one of Google's hosts; None for a path that is too short, or another host.

        Projects of a domain, ``example.com:project``, are written with a slash in paths.
        """
        parts = path.split("/")
        owner = 2 if "." in parts[0] else 1
        project = ":".join(parts[:owner])
        if host in _GCR_LOCATIONS:
            return cls(project, _GCR_LOCATIONS[host], host) if len(parts) > owner else None
        if not host.endswith(_DOCKER_HOST) or len(parts) <= owner:
            return None
        return cls(project, host.removesuffix(_DOCKER_HOST), parts[owner])

    @property
    def command(self) -> str:
        """What makes it."""
        return (
            f"gcloud artifacts repositories create {self.repository} --repository-format=docker "
            f"--location={self.location} --project={self.project}"
        )


class GoogleProvider(Provider):
    """gcr.io, its regions, and the Docker hosts of Artifact Registry."""

    name = "google"
    abilities = Abilities(whole_only=True)
    limits = Limits(longest_read=LONGEST_READ)
    listing = ListingTraits(page_size=PAGE_SIZE, has_digests=True, has_times=True, is_whole=True)

    def matches(self, host: str) -> bool:
        """Match gcr.io, its regions, and the Docker hosts of Artifact Registry."""
        return host == "gcr.io" or host.endswith((".gcr.io", _DOCKER_HOST))

    def service(self, api: Api) -> RegistryService:
        """Return what knows Google's tag lists, and its refusals."""
        return GoogleService(api)


class GoogleService(RegistryService):
    """One of Google's registries."""

    def __init__(self, api: Api) -> None:
        """Ask nothing yet."""
        super().__init__(api)
        self._walk = Walk(api)
        self._known: set[Place] = set()
        self._refused: dict[Place, tuple[RegistryError, float]] = {}
        self._locks: dict[Place, anyio.Lock] = {}

    def credentials(self) -> CredentialProvider:
        """Return application default credentials."""
        return GoogleCredentials(self.api)

    async def list_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags with digests and the moments at which their images were made: the list tells all that."""
        pages = list_tags(self.api.http, path, self.api.listing.page_size, hints=read_hints, doubts_full_pages=True)
        try:
            async for page in pages:
                yield page
        except DeniedError as exc:
            _raise(self._explained(path, exc), exc)

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories below a project, or at and below a path in it.

        A prefix without a slash at its end is a place too: ``project`` or ``project/repository``. Only what is below a
        repository of Artifact Registry can be told by the beginning of its name.

        Raises:
            UnsupportedError: ``prefix`` names no project, or the credential cannot list what is in it.
        """
        start, _, rest = prefix.rpartition("/")
        if rest and Place.of(self.api.host, start) is None:
            start = parse_repository_path(prefix)
        if not start:
            raise UnsupportedError(
                f"the repositories of {self.api.host} can be listed by project only",
                host=self.api.host,
                remedy=f'name the project: "{self.api.host}/PROJECT/*"',
            )
        is_project = Place.of(self.api.host, start) is None
        project = start.replace("/", ":") if is_project and self.api.host.endswith(_DOCKER_HOST) else ""
        location = self.api.host.removesuffix(_DOCKER_HOST)
        async for repository in self._walk.below(start, prefix, project=project, location=location):
            yield repository

    async def look_into(self, path: str, refusal: RegistryError) -> None:
        """Say that a repository may not exist: Google answers 403 then, as it does where a right lacks."""
        raise self._explained(path, refusal)

    async def ensure_repository(self, path: str) -> None:
        """Try once whether the repository of Artifact Registry takes uploads, before anything is read for it.

        It cannot be made by the rights of a registry, and without it each image would fail on its own.
        """
        place = Place.of(self.api.host, path)
        if place is None or place in self._known:
            return
        async with self._locks.setdefault(place, anyio.Lock()):
            if place in self._known:
                return
            self._raise_known_refusal(place)
            try:
                async with self.api.http.throttle.place():
                    await try_upload(self.api.http, path)
            except (DeniedError, NotFoundError) as exc:
                error = self._explained(path, exc)
                self._refused[place] = (error, self.api.clock.monotonic() + REFUSED_FOR_S)
                _raise(error, exc)
            self._known.add(place)

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete a tag; or a manifest, after all of its tags: Google keeps a manifest that has any.

        Raises:
            DeniedError: an index or a referrer still needs the manifest.
        """
        try:
            await delete_manifest(self.api.http, path, ref)
        except RegistryError as exc:
            if not isinstance(ref, Digest) or _CODE_TAGS not in exc.error_codes:
                _raise(self._kept(exc), exc)
            await self._untag(path, ref)
            try:
                await delete_manifest(self.api.http, path, ref)
            except RegistryError as again:
                _raise(self._kept(again), again)

    async def _untag(self, path: str, digest: Digest) -> None:
        """Delete all tags of a manifest; each is looked at first, since a list may be old."""
        tags = [entry.tag async for page in self.list_tags(path) for entry in page.entries if entry.digest == digest]
        for tag in tags:
            held = await head_manifest(self.api.http, path, tag)
            if held is not None and held.digest == digest:
                await delete_manifest(self.api.http, path, tag)

    def _kept(self, refusal: RegistryError) -> RegistryError:
        """Return what the refusal of a deletion means."""
        reasons = {
            _CODE_PARENT: ("an index holds it", "delete the index first"),
            _CODE_REFERRER: ("another manifest refers to it", "delete what refers to it first (signatures, SBOMs)"),
            _CODE_TAGS: ("it was tagged again meanwhile", "delete that tag first"),
        }
        for code, (reason, remedy) in reasons.items():
            if code in refusal.error_codes:
                return DeniedError(
                    f"{refusal.message} ({reason})",
                    host=self.api.host,
                    method="DELETE",
                    status=refusal.status,
                    error_codes=refusal.error_codes,
                    remedy=remedy,
                )
        return refusal

    def _explained(self, path: str, refusal: RegistryError) -> RegistryError:
        """Return what a refusal means: in the same words for all images of a place, with what would make it."""
        place = Place.of(self.api.host, path)
        missing = isinstance(refusal, NotFoundError) and "NAME_UNKNOWN" in refusal.error_codes
        if place is None or not (isinstance(refusal, DeniedError) or missing) or refusal.code == "TAG_IMMUTABLE":
            return refusal
        remedy = f"give the credential the right, or create the repository: {place.command}"
        return DeniedError(
            f"the repository {place.repository} in {place.location} of the project {place.project} does not exist, "
            f"or the credential has no right to it: {self.api.host} answered {refusal.status}",
            host=self.api.host,
            method=refusal.method,
            status=refusal.status,
            error_codes=refusal.error_codes,
            remedy=remedy if refusal.remedy in _OWN_REMEDIES else f"{refusal.remedy}; or {remedy}",
        )

    def _raise_known_refusal(self, place: Place) -> None:
        known, until = self._refused.get(place, (None, 0.0))
        if known is not None and self.api.clock.monotonic() < until:
            raise type(known)(
                known.message, host=known.host, status=known.status, code=known.code, remedy=known.remedy
            ) from known


_OWN_REMEDIES: Final = (DeniedError.default_remedy, NotFoundError.default_remedy, UnauthorizedError.default_remedy)


def _raise(error: RegistryError, refusal: RegistryError) -> NoReturn:
    """Raise what a refusal means; where that is the refusal itself, it must not become its own cause."""
    if error is refusal:
        raise error
    raise error from refusal


def read_hints(page: Mapping[str, object]) -> dict[str, TagHint]:
    """Return what a tag list tells of its tags, under ``manifest``; whatever is odd there tells nothing."""
    manifests = page.get("manifest")
    hints: dict[str, TagHint] = {}
    if not isinstance(manifests, dict):
        return hints
    for text, facts in manifests.items():
        tags = facts.get("tag") if isinstance(facts, dict) else None
        try:
            digest = Digest.parse(text)
        except InvalidDigestError:
            continue
        for tag in tags if isinstance(tags, list) else ():
            if isinstance(tag, str):
                told_twice = tag in hints
                hints[tag] = TagHint() if told_twice else TagHint(digest, _moment(facts.get("timeCreatedMs")))
    return hints


def _moment(milliseconds: object) -> datetime | None:
    """Return the moment of a count since 1970, which comes as text; those of the first day mean that it is unknown."""
    text = str(milliseconds)
    if not text.isascii() or not text.isdecimal() or not _DAY_MS <= int(text[:20]) < _LATEST_MS:
        return None
    return datetime.fromtimestamp(int(text) / 1000, UTC)
