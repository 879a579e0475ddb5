"""Quay, at quay.io and on one's own hosts: scopes in its words, repositories and digests in bulk by its API.

Sources: quay's endpoints/v2/v2auth.py (scopes), endpoints/v2/manifest.py (deletion), endpoints/v2/catalog.py,
endpoints/api/repository.py and endpoints/api/tag.py; Red Hat Quay's API guide.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from math import isfinite
from typing import Final
from urllib.parse import quote

from mirrord.errors import (
    DeniedError,
    InvalidReferenceError,
    ListingIncompleteError,
    NotFoundError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.reference import Repository, parse_repository_path
from mirrord.planning.listing import ListingTraits, TagPage
from mirrord.ports.events import Noted
from mirrord.registry.call import Answer
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.base import Abilities, Provider
from mirrord.registry.providers.pages import MAX_PAGES, entries_of, json_pages
from mirrord.registry.providers.rows import NewestRows, read_digest
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.scopes import Scopes, push
from mirrord.registry.tags import list_repositories

PUBLIC: Final = "quay.io"
OAUTH_USER: Final = "$oauthtoken"
"""The user name whose password is an OAuth token: what the API takes, unlike robots and users."""

_MOST_MISSING: Final = 4096
_SECONDS: Final = re.compile(r"[0-9]{1,15}")
_REMEDY: Final = f'log in as "{OAUTH_USER}" with an OAuth token of the scope repo:read'


class QuayProvider(Provider):
    """Quay."""

    name = "quay"
    abilities = Abilities(push_makes=True)
    listing = ListingTraits(page_size=100, has_digests=True)

    def matches(self, host: str) -> bool:
        """Match quay.io; one of your own is named in the configuration."""
        return host == PUBLIC

    def token_scopes(self, scopes: Scopes) -> Scopes:
        """Return the scopes in Quay's words: it knows the actions pull, push and ``*`` on repositories, nothing else.

        Whoever may write may delete, and ``*`` is granted to administrators only: both are asked for. A token for the
        catalog has no scope at all.
        """
        return tuple(
            f"{scope.rpartition(':')[0]}:pull,push,*" if "delete" in scope.rpartition(":")[2].split(",") else scope
            for scope in scopes
            if not scope.startswith("registry:")
        )

    def service(self, api: Api) -> RegistryService:
        """Return what speaks to Quay's API."""
        return QuayService(api)


class QuayService(RegistryService):
    """Lists by Quay's API, at the registry's own host: with an OAuth token where there is one, else what is public."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._opened: RegistryHttp | None = None
        self._perhaps_missing: set[str] = set()

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of a namespace that the credential may see, private ones included.

        With an OAuth token or anonymously the API tells all. A robot or user is told by the catalog what it was given,
        and by the API what is public.

        Raises:
            UnsupportedError: no namespace was named at quay.io, which has too many repositories to list.
            UnauthorizedError: the API does not accept the token.
        """
        host = self.api.host
        namespace = prefix.partition("/")[0]
        if host == PUBLIC and not namespace:
            raise UnsupportedError(
                f"the repositories of {host} are listed for one namespace at a time",
                host=host,
                remedy=f'name the namespace in the rule: "{host}/NAMESPACE/*"',
            )
        by_catalog = not namespace or (await self.api.credential() is not None and await self._authorization() is None)
        seen: set[str] = set()
        if by_catalog:
            async for repository in list_repositories(self.api.http, prefix, self.api.listing.page_size):
                seen.add(repository.path)
                yield repository
        if not namespace:
            return
        try:
            async for path in self._of_namespace(namespace):
                if path.startswith(prefix) and path not in seen:
                    seen.add(path)
                    yield Repository(host, path)
        except (UnauthorizedError, DeniedError, NotFoundError) as exc:
            exc.remedy = _REMEDY
            if not by_catalog:
                raise
            text = f"{host}/{namespace}: only repositories that were given to the user are listed: {exc}"
            self.api.events.emit(Noted(what="catalog_only", text=text, host=host))

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags of a repository with their digests.

        Raises:
            UnauthorizedError, DeniedError: the repository is private, and there is no OAuth token that may read it.
            ListingIncompleteError: the pages have no end.
        """
        what = f"list the tags of {self.api.host}/{path} by Quay's API"
        rows: NewestRows[int] = NewestRows()
        now_s = self.api.clock.now().timestamp()
        first = f"/api/v1/repository/{quote(path)}/tag/?onlyActiveTags=true&limit=100&page="
        async for page in json_pages(self._http(), f"{first}1", what, _numbered(first, what)):
            for row in entries_of(page, "tags", what):
                if not _has_ended(row, now_s):
                    digest = read_digest(row.get("manifest_digest"))
                    rows.add(row.get("name"), _moment(row.get("start_ts")) or 0, digest)
            yield rows.page()
        if not rows:
            raise NotFoundError(f"{what}: it tells of no tags", host=self.api.host)

    async def ensure_repository(self, path: str) -> None:
        """Ask for a token for a push where a look was refused: that makes the repository, and reading it works then.

        Raises:
            UnauthorizedError: the token service gives none.
        """
        if path in self._perhaps_missing:
            await self.api.http.authorizer.header(push(path))
            self._perhaps_missing.discard(path)

    async def look_into(self, path: str, refusal: RegistryError) -> None:
        """Return where a repository may be missing: to those who do not administer a namespace Quay says 401 then.

        Whether that is so cannot be asked without making the repository, which a token for a push does.
        """
        by_registry = isinstance(refusal, UnauthorizedError) and refusal.status == 401 and refusal.path  # noqa: PLR2004
        if not by_registry or await self.api.credential() is None:
            raise refusal
        if len(self._perhaps_missing) < _MOST_MISSING:
            self._perhaps_missing.add(path)

    async def _of_namespace(self, namespace: str) -> AsyncIterator[str]:
        what = f"list the repositories of {self.api.host}/{namespace} by Quay's API"
        first = f"/api/v1/repository?namespace={quote(namespace, safe='')}&public=true"
        async for page in json_pages(self._http(), first, what, _by_token(first), most=MAX_PAGES):
            for entry in entries_of(page, "repositories", what):
                try:
                    yield parse_repository_path(f"{entry.get('namespace')}/{entry.get('name')}")
                except InvalidReferenceError:
                    continue

    def _http(self) -> RegistryHttp:
        if self._opened is None:
            scheme = "http" if self.api.settings.plain_http else "https"
            self._opened = self.api.open(f"{scheme}://{self.api.host}", self._authorization, wants=_REMEDY)
        return self._opened

    async def _authorization(self) -> str | None:
        credential = await self.api.credential()
        if credential is None or credential.username != OAUTH_USER or not credential.secret:
            return None
        return f"Bearer {credential.secret}"


def _has_ended(row: Mapping[str, object], now_s: float) -> bool:
    """Say whether a row is one of a tag that was deleted, moved or has expired: such a one says nothing."""
    end = _moment(row.get("end_ts"))
    return end is not None and end <= now_s


def _numbered(first: str, what: str) -> Callable[[Answer, object], str | None]:
    """Return what finds the next of numbered pages."""
    number = 1

    def following(answer: Answer, page: object) -> str | None:  # noqa: ARG001 - the page says it all
        nonlocal number
        if not isinstance(page, dict) or page.get("has_additional") is not True:
            return None
        if not page.get("tags"):
            raise ListingIncompleteError(f"{what}: page {number} is empty, and said not to be the last")
        number += 1
        return f"{first}{number}"

    return following


def _by_token(first: str) -> Callable[[Answer, object], str | None]:
    """Return what finds the next page by the opaque token in the one before."""

    def following(answer: Answer, page: object) -> str | None:  # noqa: ARG001 - the page says it all
        token = page.get("next_page") if isinstance(page, dict) else None
        return f"{first}&next_page={quote(token, safe='')}" if isinstance(token, str) and token else None

    return following


def _moment(seconds: object) -> int | None:
    """Return a moment in seconds since 1970, also where it comes as text; None where it is not told."""
    text = str(int(seconds)) if isinstance(seconds, float) and isfinite(seconds) else str(seconds)
    return int(text) if _SECONDS.fullmatch(text) else None
