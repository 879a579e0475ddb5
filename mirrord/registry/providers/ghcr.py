"""GitHub Container Registry: repositories, digests in bulk and deletions by GitHub's REST API for packages.

Sources: GitHub's documentation, "Working with the Container registry" and "REST API endpoints for packages"; reports of
the registry's habits (chunks of at most 4 MiB, delays inside messages, 303 for referrers) in public issue trackers.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn
from urllib.parse import parse_qs, quote, urlsplit

from mirrord.errors import (
    DeniedError,
    InvalidReferenceError,
    ListingIncompleteError,
    NotFoundError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag, parse_repository_path
from mirrord.planning.listing import ListingTraits, TagPage
from mirrord.registry.call import Answer, Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import linked, next_link
from mirrord.registry.manifests import head_manifest
from mirrord.registry.providers.base import MIB, Limits, Provider
from mirrord.registry.providers.pages import MAX_PAGES, items_of, json_pages
from mirrord.registry.providers.rows import NewestRows, read_digest
from mirrord.registry.providers.service import Api, RegistryService

PUBLIC: Final = "ghcr.io"
BULK_PAGES: Final = 20
"""Pages of 100 versions after which one look at each tag is cheaper: children of indexes are versions without tags."""

REFUSED_FOR_S: Final = 15 * 60.0
"""A token that may not see an owner's packages is not tried there again for so long."""

_MOST_REFUSALS: Final = 1024
_DATA_RESIDENCY: Final = re.compile(r"containers\.([a-z0-9-]+)\.ghe\.com")
_SERVER: Final = re.compile(r"containers\.([a-z0-9.-]+)(?::\d+)?")
_HEADERS: Final = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_DELETED: Final = frozenset({200, 204, 404})
_OWNERS: Final = ("orgs", "users")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_READ_REMEDY: Final = "give the registry a classic token with the scope read:packages, by an account that may see them"
_DELETE_REMEDY: Final = "give the registry a classic token with read:packages and delete:packages, by an administrator"


class GhcrProvider(Provider):
    """GitHub Container Registry. A password configured for it is a GitHub token, which GitHub's API takes too."""

    name = "ghcr"
    limits = Limits(chunk_size=4 * MIB)
    listing = ListingTraits(page_size=1000, has_digests=True, bulk_page_size=100)

    def matches(self, host: str) -> bool:
        """Match ghcr.io and GitHub's clouds with data residency; one's own server is named in the configuration."""
        return host == PUBLIC or _DATA_RESIDENCY.fullmatch(host) is not None

    def service(self, api: Api) -> RegistryService:
        """Return what speaks to GitHub's API."""
        return GhcrService(api)


@dataclass(frozen=True, slots=True)
class Base:
    """Where GitHub's API is: its origin, and what all paths begin with."""

    url: str
    prefix: str = ""


def api_base(host: str) -> Base | None:
    """Return where the API beside a registry is, None where that is not known.

    GitHub Enterprise Server has its registry at ``containers.HOST`` and its API at ``HOST``.
    """
    if host == PUBLIC:
        return Base("https://api.github.com")
    if (match := _DATA_RESIDENCY.fullmatch(host)) is not None:
        return Base(f"https://api.{match[1]}.ghe.com")
    if (match := _SERVER.fullmatch(host)) is not None:
        return Base(f"https://{match[1]}", "/api/v3")
    return None


class GhcrService(RegistryService):
    """Lists and deletes packages and their versions: a repository is a package, a manifest is a version of it."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._base = api_base(api.host)
        self._opened: RegistryHttp | None = None
        self._kinds: dict[str, str] = {}
        self._refused: dict[tuple[str, str], float] = {}

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the container packages of the owner with which ``prefix`` begins.

        Raises:
            UnsupportedError: the prefix names no owner, and nobody lists the packages of all owners.
            UnauthorizedError, DeniedError: there is no token, or it may not list packages.
        """
        host = self.api.host
        owner = prefix.partition("/")[0]
        if not owner:
            raise UnsupportedError(
                f"the repositories of {host} are listed for one owner at a time",
                host=host,
                remedy=f'name the owner in the rule: "{host}/OWNER/*"',
            )
        what = f"list the repositories of {host}/{owner}"
        await self._key(what)
        seen: set[str] = set()
        try:
            async for page in self._pages(owner, "packages?package_type=container&per_page=100", what, MAX_PAGES):
                for package in items_of(page, what):
                    try:
                        path = parse_repository_path(f"{owner}/{package.get('name')}")
                    except InvalidReferenceError:
                        continue
                    if path.startswith(prefix) and path not in seen:  # pages shift when a package is made meanwhile
                        seen.add(path)
                        yield Repository(host, path)
        except (UnauthorizedError, DeniedError, NotFoundError) as exc:
            _explain(exc, _READ_REMEDY)

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags of a package with their digests, unless its versions are too many to be worth it.

        Raises:
            UnauthorizedError, DeniedError, NotFoundError: there is no token that may read the package's versions.
            ListingIncompleteError: there are more than `BULK_PAGES` pages of versions.
        """
        owner, name = _owner_and_package(path)
        what = f"list the versions of {self.api.host}/{path}"
        known = (owner, await self._key(what))
        now_s = self.api.clock.monotonic()
        if self._refused.get(known, 0.0) > now_s:
            raise DeniedError(f"{what}: GitHub refused this token a moment ago", host=self.api.host)
        rows: NewestRows[datetime] = NewestRows()
        try:
            async for page in self._versions(owner, name, what, BULK_PAGES):
                for version in page:
                    updated, digest = _time(version.get("updated_at")), read_digest(version.get("name"))
                    for tag in _tags(version):
                        rows.add(tag, updated, digest)
                yield rows.page()
        except (UnauthorizedError, DeniedError):
            if len(self._refused) >= _MOST_REFUSALS:
                self._refused.clear()
            self._refused[known] = now_s + REFUSED_FOR_S
            raise
        if not rows:
            raise NotFoundError(f"{what}: GitHub tells of no tags", host=self.api.host)

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete the version of a digest, with all its tags.

        Raises:
            UnsupportedError: a tag alone, which GitHub does not delete; or a version that it keeps (the last one with a
                tag, or one that is public and was pulled more than 5,000 times).
            UnauthorizedError, DeniedError: there is no token that may delete.
        """
        name = f"{self.api.host}/{path}"
        if isinstance(ref, Tag):
            raise UnsupportedError(
                f"delete {name}:{ref}: GitHub deletes no tag alone, but a version with all its tags",
                host=self.api.host,
                method="DELETE",
                status=405,
                remedy="delete the digest, which takes all its tags with it",
            )
        what = f"delete {name}@{ref}"
        await self._key(what)
        try:
            await self._delete_version(path, ref, what)
        except (UnauthorizedError, DeniedError, NotFoundError) as exc:
            _explain(exc, _DELETE_REMEDY)
        except RegistryError as exc:
            if exc.status != 400:  # noqa: PLR2004 - Bad Request: GitHub's words say why
                raise
            raise UnsupportedError(
                exc.message,
                host=exc.host,
                status=exc.status,
                remedy="delete the whole package on GitHub, or leave the version there",
            ) from exc

    async def _delete_version(self, path: str, digest: Digest, what: str) -> None:
        owner, name = _owner_and_package(path)
        number: str | None = None
        async for page in self._versions(owner, name, what, MAX_PAGES):
            numbers = [str(version.get("id")) for version in page if version.get("name") == str(digest)]
            number = next((found for found in numbers if found.isascii() and found.isdecimal()), None)
            if number is not None:
                break
        if number is None:
            return
        target = self._target(self._kinds[owner], owner, f"packages/container/{quote(name, safe='')}/versions/{number}")
        call = Call(method="DELETE", target=target, what=what, scopes=(), headers=_HEADERS, ok=_DELETED, follow=False)
        answer = await self._http().request(call)
        # 404 says that it is gone, or that the account is no administrator of the package.
        if answer.status == 404 and await head_manifest(self.api.http, path, digest) is not None:  # noqa: PLR2004
            raise DeniedError(f"{what}: GitHub does not let this token delete it", host=self.api.host, status=404)

    async def _versions(self, owner: str, name: str, what: str, most: int) -> AsyncIterator[list[dict[str, object]]]:
        rest = f"packages/container/{quote(name, safe='')}/versions?state=active&per_page=100"
        async for page in self._pages(owner, rest, what, most):
            yield items_of(page, what)

    async def _pages(self, owner: str, rest: str, what: str, most: int) -> AsyncIterator[object]:
        """Yield the pages of what an owner has; whether it is an organisation or a user is tried once."""
        known = self._kinds.get(owner)
        for kind in (known,) if known else _OWNERS:
            first = self._target(kind, owner, rest)
            begun = False
            try:
                async for page in json_pages(
                    self._http(), first, what, _following(what, most), headers=_HEADERS, most=most
                ):
                    self._kinds[owner] = kind
                    begun = True
                    yield page
            except NotFoundError:
                if begun or known or kind == _OWNERS[-1]:
                    raise
            else:
                return

    def _target(self, kind: str, owner: str, rest: str) -> str:
        prefix = self._base.prefix if self._base is not None else ""
        return f"{prefix}/{kind}/{quote(owner, safe='')}/{rest}"

    def _http(self) -> RegistryHttp:
        if self._base is None:
            raise UnsupportedError(
                f"where GitHub's API is for {self.api.host} is not known",
                host=self.api.host,
                remedy='use the registry by the name that GitHub Enterprise Server gives it, "containers.HOST"',
            )
        if self._opened is None:
            self._opened = self.api.open(self._base.url, self._authorization, wants=_READ_REMEDY)
        return self._opened

    async def _authorization(self) -> str | None:
        credential = await self.api.credential()
        return f"Bearer {credential.secret}" if credential is not None and credential.secret else None

    async def _key(self, what: str) -> str:
        """Return what tells the token from others.

        Raises:
            UnauthorizedError: there is none; GitHub's API would refuse public packages, too.
        """
        credential = await self.api.credential()
        if credential is None or not credential.secret:
            raise UnauthorizedError(
                f"{what}: GitHub tells this only to those who have a token, and none is configured for {self.api.host}",
                host=self.api.host,
                remedy=_READ_REMEDY,
            )
        return credential.key


def _owner_and_package(path: str) -> tuple[str, str]:
    owner, slash, name = path.partition("/")
    if not slash:
        raise UnsupportedError(f'"{path}" names no package: names at GitHub are OWNER/NAME')
    return owner, name


def _following(what: str, most: int) -> Callable[[Answer, object], str | None]:
    """Return what finds the next page, and gives up on the first one if it says that there are too many."""

    def following(answer: Answer, page: object) -> str | None:  # noqa: ARG001 - Link says it all
        links = answer.headers.get_list("link")
        last = _page_number(linked(links, "last"))
        if last > most:
            raise ListingIncompleteError(f"{what}: there are {last} pages, and no more than {most} are read")
        return next_link(links, answer.url)

    return following


def _page_number(url: str | None) -> int:
    """Return the number of the page that a URL names, 0 if it names none."""
    try:
        numbers = parse_qs(urlsplit(url or "").query).get("page", [""])
    except ValueError:  # a bracket without its like
        return 0
    return int(numbers[0]) if re.fullmatch(r"[0-9]{1,9}", numbers[0]) else 0


def _tags(version: Mapping[str, object]) -> list[str]:
    metadata = version.get("metadata")
    container = metadata.get("container") if isinstance(metadata, dict) else None
    tags = container.get("tags") if isinstance(container, dict) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _time(text: object) -> datetime:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else _LONG_AGO
    except ValueError:
        return _LONG_AGO
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _explain(error: RegistryError, remedy: str) -> NoReturn:
    error.remedy = remedy
    raise error
