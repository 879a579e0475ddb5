"""The container registry of GitLab: tokens by the GitLab that it belongs to, repositories by that GitLab's REST API.

Sources: GitLab's documentation, "Container registry API", "REST API authentication" and "Deploy tokens".
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from mirrord.errors import (
    DeniedError,
    InvalidReferenceError,
    NotFoundError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.reference import Repository, parse_repository_path
from mirrord.planning.listing import ListingTraits
from mirrord.registry.call import Answer
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import next_link
from mirrord.registry.origin import Origin
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.pages import items_of, json_pages
from mirrord.registry.providers.service import Api, RegistryService

PUBLIC: Final = "registry.gitlab.com"
JOB_USER: Final = "gitlab-ci-token"
"""The user name whose password is the token of a CI job."""

_TOKEN_PATH: Final = "/jwt/auth"  # noqa: S105 - where tokens are given, no secret
_MOST_LEVELS: Final = 4
_PAGE: Final = re.compile(r"[0-9]{1,9}")
_REMEDY: Final = (
    "use a personal, group or project access token with the scopes read_registry and read_api: deploy tokens are not "
    "taken by GitLab's API; or name the repositories in the rules"
)


class GitlabProvider(Provider):
    """GitLab's container registry. Tokens come from the GitLab beside it."""

    name = "gitlab"
    listing = ListingTraits(page_size=1000)

    def matches(self, host: str) -> bool:
        """Match registry.gitlab.com; one of your own is named in the configuration."""
        return host == PUBLIC

    def auth_hosts(self, host: str) -> tuple[str, ...]:
        """Return where the GitLab of a registry is by GitLab's own conventions.

        That is ``gitlab.com`` for registry.gitlab.com, ``HOST`` for ``registry.HOST``, whose names ``HOST`` gives away,
        and ``HOST`` at the port of https for ``HOST:5050``. Any other one is listed in the configuration.
        """
        if host.startswith("["):
            return ()  # an IPv6 address has no conventions
        name, _, port = host.partition(":")
        found = [name] if port else []
        parent = name.removeprefix("registry.")
        if parent != name and "." in parent:
            found.append(parent)
        return tuple(found)

    def service(self, api: Api) -> RegistryService:
        """Return what speaks to GitLab's API."""
        return GitlabService(api)


class GitlabService(RegistryService):
    """Lists the repositories of a group or project by the API of the GitLab that gives the registry's tokens."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._opened: RegistryHttp | None = None
        self._prefix = ""

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of the group or project that ``prefix`` names, those of subgroups too.

        Raises:
            UnsupportedError: the prefix names nothing, or the registry's tokens come from no GitLab.
            NotFoundError: there is no such group or project, or the token may not see it.
            UnauthorizedError, DeniedError: the API does not accept the token.
        """
        host, place = self.api.host, prefix.rstrip("/")
        if not place:
            raise UnsupportedError(
                f"the repositories of {host} are listed for one group or project at a time",
                host=host,
                remedy=f'name it in the rule: "{host}/GROUP/**"',
            )
        what = f"list the repositories of {host}/{place}"
        http = await self._http(what)
        seen: set[str] = set()
        async for entry in self._entries(http, place, what):
            try:
                path = parse_repository_path(str(entry.get("path")))
            except InvalidReferenceError:
                continue
            if path.startswith(prefix) and path not in seen:
                seen.add(path)
                yield Repository(host, path)

    async def _entries(self, http: RegistryHttp, place: str, what: str) -> AsyncIterator[Mapping[str, object]]:
        """Yield what the API tells of a group, of a project, or of the project above: which of these a name is."""
        headers = await self._headers()
        for owner in _owners(place):
            first = f"{self._prefix}/api/v4/{owner}/registry/repositories?per_page=100"

            def following(answer: Answer, page: object, first: str = first) -> str | None:  # noqa: ARG001
                number = answer.headers.get("x-next-page")
                if number is None:
                    return next_link(answer.headers.get_list("link"), answer.url)
                return f"{first}&page={number}" if _PAGE.fullmatch(number) else None

            begun = False
            try:
                async for page in json_pages(http, first, what, following, headers=headers):
                    begun = True
                    for entry in items_of(page, what):
                        yield entry
            except NotFoundError:
                if begun:
                    raise
                continue
            except (UnauthorizedError, DeniedError) as exc:
                exc.remedy = _REMEDY
                raise
            return
        raise NotFoundError(
            f"{what}: GitLab has no such group or project, or does not show it to this credential",
            host=self.api.host,
            remedy=f"name a group or project (of a user's projects each one alone); {_REMEDY}",
        )

    async def _http(self, what: str) -> RegistryHttp:
        if self._opened is None:
            realm = await self.api.http.token_service()
            path = urlsplit(realm).path
            if not path.endswith(_TOKEN_PATH):
                raise UnsupportedError(
                    f"{what}: the registry's tokens do not come from a GitLab, so that there is none to ask",
                    host=self.api.host,
                    remedy="name the repositories in the rules",
                )
            self._prefix = path.removesuffix(_TOKEN_PATH)
            self._opened = self.api.open(str(Origin.parse(realm)), self._authorization, wants=_REMEDY)
        return self._opened

    async def _authorization(self) -> str | None:
        credential = await self.api.credential()
        if credential is None or not credential.secret or credential.username == JOB_USER:
            return None
        return f"Bearer {credential.secret}"

    async def _headers(self) -> Mapping[str, str]:
        credential = await self.api.credential()
        if credential is None or credential.username != JOB_USER:
            return {}
        return {"JOB-TOKEN": credential.secret}


def _owners(place: str) -> Iterator[str]:
    """Yield what may have the repositories below a place, as the API names it: a project has two parts at least."""
    yield f"groups/{quote(place, safe='')}"
    parts = place.split("/")
    for count in range(len(parts), max(len(parts) - _MOST_LEVELS, 1), -1):
        yield f"projects/{quote('/'.join(parts[:count]), safe='')}"
