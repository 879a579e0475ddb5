"""What ECR does by the API of AWS: list images and repositories, create, delete.

Sources: AWS API reference of ECR, DescribeImages, DescribeRepositories, CreateRepository, PutLifecyclePolicy and
BatchDeleteImage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import anyio

from mirrord.errors import (
    CredentialError,
    DeniedError,
    InvalidReferenceError,
    ListingIncompleteError,
    NotFoundError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
    quote,
)
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT
from mirrord.oci.reference import Repository, Tag, parse_repository_path
from mirrord.planning.listing import TagEntry, TagPage
from mirrord.ports.events import Noted
from mirrord.registry import scopes
from mirrord.registry.call import Call
from mirrord.registry.errortext import read_error_body
from mirrord.registry.providers.ecr_api import EcrApi
from mirrord.registry.providers.ecr_creation import creation_parameters, lifecycle_policy
from mirrord.registry.providers.pages import entries_of
from mirrord.registry.providers.rows import read_digest, read_tag
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.uploads import try_upload

PAGE_SIZE: Final = 1000
MAX_PAGES: Final = 200
FAILED_FOR_S: Final = 60.0
"""A repository that could not be made is not tried again for so long."""

_NO_TAG = "mirrord-looks-for-the-repository"
"""A tag that nobody has: asking for it tells a missing repository from an empty one, and counts as no pull."""


class EcrService(RegistryService):
    """A private registry of ECR."""

    def __init__(self, api: Api, ecr: EcrApi) -> None:
        """Ask nothing yet."""
        super().__init__(api)
        self._ecr = ecr
        self._existing: set[str] = set()
        self._unfinished: set[str] = set()
        self._failed: dict[str, tuple[RegistryError, float]] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield tags with their digests from DescribeImages; images that are archived are left out by it.

        The time at which an image was pushed is not the one at which it was made, and is not passed on.
        """
        seen: dict[Tag, Digest | None] = {}
        what = f"list the images of {self.api.host}/{path}"
        pages = self._pages(
            "describe_images",
            "imageDetails",
            what=what,
            action="ecr:DescribeImages",
            repositoryName=path,
            filter={"tagStatus": "TAGGED"},
        )
        async for details in pages:
            entries: list[TagEntry] = []
            skipped = 0
            for detail in details:
                digest = read_digest(detail.get("imageDigest"))
                names = detail.get("imageTags")
                for name in names if isinstance(names, list) else ():
                    tag = read_tag(name)
                    if tag is None:
                        skipped += 1
                        continue
                    # A tag that moved while pages were read is told twice: what it points to has to be asked.
                    seen[tag] = digest if seen.get(tag, digest) == digest else None
                    entries.append(TagEntry(tag=tag, digest=seen[tag]))
            yield TagPage(entries=tuple(entries), skipped=skipped)

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories from DescribeRepositories: ECR answers the catalog with 405.

        Raises:
            CredentialError: there is no boto3, or no identity at AWS that can be used.
            RegistryError: AWS refused the call, or could not be asked.
        """
        try:
            async for repository in self._repositories(prefix):
                yield repository
        except UnauthorizedError as exc:
            if isinstance(exc.__cause__, CredentialError):
                raise exc.__cause__ from None
            raise

    async def _repositories(self, prefix: str) -> AsyncIterator[Repository]:
        seen: set[str] = set()
        what = f"list the repositories of {self.api.host}"
        pages = self._pages("describe_repositories", "repositories", what=what, action="ecr:DescribeRepositories")
        async for found in pages:
            for entry in found:
                name = entry.get("repositoryName")
                if not isinstance(name, str) or name in seen or not name.startswith(prefix):
                    continue
                seen.add(name)
                try:
                    yield Repository(self.api.host, parse_repository_path(name))
                except InvalidReferenceError:
                    continue

    async def ensure_repository(self, path: str) -> None:
        """Create a repository that is missing, with what the configuration says of new ones.

        The registry itself is asked first, once a process: one request, for which pushers have the right anyway.
        """
        if path in self._existing:
            return
        async with self._locks.setdefault(path, anyio.Lock()):
            if path in self._existing:
                return
            self._raise_known_failure(path)
            try:
                if path in self._unfinished or not await self._exists(path):
                    await self._create(path)
            except RegistryError as exc:
                self._failed[path] = (exc, self.api.clock.monotonic() + FAILED_FOR_S)
                raise
            self._existing.add(path)
        self._locks.pop(path, None)

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete by BatchDeleteImage: a tag alone, whose image goes with its last tag; or an image with all its tags.

        Raises:
            DeniedError: an index still holds the image (DIGEST_IN_INDEX), or the identity has no right to it.
            RegistryError: AWS says otherwise why not.
        """
        name = f"{self.api.host}/{path}{'@' if isinstance(ref, Digest) else ':'}{ref}"
        what = f"delete {name}"
        image = {"imageDigest": str(ref)} if isinstance(ref, Digest) else {"imageTag": str(ref)}
        try:
            answer = await self._call(
                "batch_delete_image",
                what=what,
                action="ecr:BatchDeleteImage",
                repositoryName=path,
                imageIds=[image],
            )
        except NotFoundError:
            return
        for failure in entries_of({"failures": [], **answer}, "failures", what):
            code, reason = str(failure.get("failureCode", "")), quote(str(failure.get("failureReason", "")))
            if code == "ImageNotFound":
                continue
            if code == "ImageReferencedByManifestList":
                raise DeniedError(
                    f"{what}: an index holds it: {reason}",
                    host=self.api.host,
                    code="DIGEST_IN_INDEX",
                    remedy="delete the index first",
                    error_codes=(code,),
                )
            raise RegistryError(
                f"{what}: {quote(code, 60)}: {reason}", host=self.api.host, code="REQUEST_REFUSED", error_codes=(code,)
            )

    async def _exists(self, path: str) -> bool:
        """Say whether the registry has a repository; one that may not be read is taken to be there: the push will tell.

        ECR answers a missing repository with NAME_UNKNOWN, and a missing tag with MANIFEST_UNKNOWN.
        """
        call = Call(
            method="GET",
            target=f"/v2/{path}/manifests/{_NO_TAG}",
            what=f"look for the repository {self.api.host}/{path}",
            scopes=scopes.pull(path),
            headers={"Accept": ", ".join(ACCEPT)},
            ok=frozenset({200, 404}),
        )
        try:
            answer = await self.api.http.request(call)
        except DeniedError:
            return True
        return "NAME_UNKNOWN" not in read_error_body(answer.body).codes

    async def _create(self, path: str) -> None:
        settings = self.api.settings.create_repositories or {}
        what = f"create the repository {self.api.host}/{path}"
        if path not in self._unfinished:
            try:
                await self._call(
                    "create_repository",
                    what=what,
                    action="ecr:CreateRepository",
                    **creation_parameters(path, settings),
                )
            except RegistryError as exc:
                if "RepositoryAlreadyExistsException" in exc.error_codes:
                    return  # somebody else made it since
                if isinstance(exc, DeniedError | UnauthorizedError) and await self._is_made_by_pushing(path):
                    return
                raise
            text = f"created the repository {self.api.host}/{path}"
            self.api.events.emit(Noted(what="repository_created", text=text, host=self.api.host))
        policy = lifecycle_policy(settings)
        if policy is None:
            return
        self._unfinished.add(path)
        await self._call(
            "put_lifecycle_policy",
            what=f"set the lifecycle policy of {self.api.host}/{path}, which was created just now",
            action="ecr:PutLifecyclePolicy",
            repositoryName=path,
            lifecyclePolicyText=policy,
        )
        self._unfinished.discard(path)

    async def _is_made_by_pushing(self, path: str) -> bool:
        """Say whether the registry opens an upload to a missing repository: a creation template may make it then.

        Source: AWS API_CreateRepositoryCreationTemplate, ``appliedFor`` CREATE_ON_PUSH.
        """
        try:
            async with self.api.http.throttle.place():
                await try_upload(self.api.http, path)
        except RegistryError:
            return False
        return True

    def _raise_known_failure(self, path: str) -> None:
        known, until = self._failed.get(path, (None, 0.0))
        if known is not None and self.api.clock.monotonic() < until:
            raise type(known)(
                known.message, host=known.host, code=known.code, remedy=known.remedy, retryable=False
            ) from known

    async def _pages(
        self, operation: str, key: str, *, what: str, action: str, **parameters: object
    ) -> AsyncIterator[list[dict[str, object]]]:
        """Yield the entries of each page up to the last one, which has no nextToken."""
        tokens: set[str] = set()
        token: str | None = None
        while True:
            more = {} if token is None else {"nextToken": token}
            answer = await self._call(operation, what=what, action=action, maxResults=PAGE_SIZE, **parameters, **more)
            yield entries_of(answer, key, what)
            found = answer.get("nextToken")
            if not found:
                return
            token = str(found)
            if token in tokens or len(tokens) + 1 >= MAX_PAGES:
                reason = "the pages repeat" if token in tokens else f"more than {MAX_PAGES} pages"
                raise ListingIncompleteError(f"{what}: {reason}", host=self.api.host)
            tokens.add(token)

    async def _call(self, operation: str, *, what: str, action: str, **parameters: object) -> Mapping[str, Any]:
        """Call the API for this registry; an identity that cannot be used is a refusal like any other here."""
        try:
            return await self._ecr.call(
                operation, what=what, host=self.api.host, action=action, **self._ecr.place.registry_id, **parameters
            )
        except CredentialError as exc:
            raise UnauthorizedError(exc.message, host=self.api.host, code=exc.code, remedy=exc.remedy) from exc


class EcrPublicService(RegistryService):
    """public.ecr.aws. Its API answers for the caller's own repositories only, so that all goes by the registry."""

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Refuse.

        Raises:
            UnsupportedError: always.
        """
        separator = "@" if isinstance(ref, Digest) else ":"
        raise UnsupportedError(
            f"{self.api.host}/{path}{separator}{ref} is not deleted: ECR Public deletes by its API only, in the "
            "account that owns the repository",
            host=self.api.host,
            remedy="use `aws ecr-public batch-delete-image --region us-east-1`",
        )
