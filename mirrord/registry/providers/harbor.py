"""Harbor: repositories stand in projects, and its API at ``/api/v2.0`` shares the registry's name.

A project must exist before the first push; repositories below it are made by pushing. The API takes user and password
(Basic), while the registry takes tokens of Harbor's token service. Source: harbor, api/v2.0/swagger.yaml;
src/server/registry; src/server/middleware.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from urllib.parse import quote

import anyio

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
from mirrord.ports.events import Noted
from mirrord.registry.call import Answer, Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import next_link
from mirrord.registry.manifests import head_manifest
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.pages import items_of, json_pages
from mirrord.registry.providers.rows import NewestRows, read_digest
from mirrord.registry.providers.service import Api, RegistryService

PAGE_SIZE = 100
ABSENT_FOR_S = 30.0
"""For so long a project that was not there is not looked for again, while nobody makes it."""

_API = "/api/v2.0"
_PAGES = f"page=1&page_size={PAGE_SIZE}"
_LISTING_TRIES = 3
_MOST_PROJECTS = 4096
_IMMUTABLE_TAGS = {
    "action": "immutable",
    "template": "immutable_template",
    "disabled": False,
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
    "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
}


class HarborProvider(Provider):
    """Harbor."""

    name = "harbor"
    listing = ListingTraits(has_digests=True, bulk_page_size=PAGE_SIZE)

    def matches(self, host: str) -> bool:  # noqa: ARG002 - never told by its host
        """Match no host: a Harbor has a name of its own, and is named in the configuration."""
        return False

    def service(self, api: Api) -> RegistryService:
        """Return what asks Harbor's API."""
        return HarborService(api)


class HarborService(RegistryService):
    """One Harbor. Projects that are known to exist, or not to, are remembered."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self._client: RegistryHttp | None = None
        self._projects: set[str] = set()
        self._absent_until: dict[str, float] = {}
        self._locks: dict[str, anyio.Lock] = {}

    # Listing

    async def list_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags of a repository; where its project does not exist, the error says so."""
        try:
            async for page in super().list_tags(path):
                yield page
        except RegistryError as exc:
            if await self._is_project_missing(path, exc):
                raise self._no_project(path, exc) from exc
            raise

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield all tags with their digests, by the artifacts API. A tag that is told twice has its newest digest.

        An artifact's time is that of its push, by whomever; when the image was made is not told.
        """
        what = f"list the artifacts of {self.api.host}/{path}"
        target = f"{_repository(self.api.host, path)}/artifacts?{_PAGES}&with_tag=true&q=tags=*"
        rows: NewestRows[str] = NewestRows()
        for artifact in await self._all(target, what, key="digest"):
            tags = artifact.get("tags")
            for row in tags if isinstance(tags, list) else []:
                name, pushed = (row.get("name"), row.get("push_time")) if isinstance(row, dict) else (None, None)
                rows.add(name, pushed if isinstance(pushed, str) else "", read_digest(artifact.get("digest")))
        yield rows.page()

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories that the user may see; by the catalog, which administrators see, if the API refuses.

        Raises:
            RegistryError: neither of them can be listed; the error is that of the API.
        """
        try:
            names = await self._repository_names(prefix)
        except RegistryError as exc:
            text = f"the repositories of {self.api.host} are listed by its catalog: {exc}"
            self.api.events.emit(Noted(what="bulk_refused", text=text, host=self.api.host))
            try:
                found = [repository async for repository in super().repositories(prefix)]
            except RegistryError:
                raise exc from None
        else:
            found = [Repository(self.api.host, name) for name in names if name.startswith(prefix)]
        for repository in found:
            yield repository

    async def _repository_names(self, prefix: str) -> list[str]:
        project, slash, _ = prefix.partition("/")
        what = f"list the repositories of {self.api.host}"
        if slash:
            try:
                rows = await self._all(f"{_API}/projects/{project}/repositories?{_PAGES}", what, key="name")
            except NotFoundError:
                return []
        else:
            rows = await self._all_repositories(what)
        names = []
        for row in rows:
            with suppress(InvalidReferenceError):
                names.append(parse_repository_path(str(row.get("name", ""))))
        return sorted(set(names))

    async def _all_repositories(self, what: str) -> list[dict[str, object]]:
        """Return the repositories of all projects; project by project where Harbor is older than 2.2."""
        try:
            return await self._all(f"{_API}/repositories?{_PAGES}", what, key="name")
        except NotFoundError:
            projects = await self._all(f"{_API}/projects?{_PAGES}&with_detail=false", what, key="name")
        rows = []
        for project in projects:
            name = quote(str(project.get("name", "")), safe="")
            rows += await self._all(f"{_API}/projects/{name}/repositories?{_PAGES}", what, key="name")
        return rows

    async def _all(self, first: str, what: str, *, key: str) -> list[dict[str, object]]:
        """Return all entries of a listing whose pages are counted off: what changes meanwhile shifts between them.

        Raises:
            ListingIncompleteError: it does not come together to the number that Harbor tells.
        """
        for _ in range(_LISTING_TRIES):
            totals: set[str] = set()

            def following(answer: Answer, _page: object, totals: set[str] = totals) -> str | None:
                totals.add(answer.headers.get("x-total-count", ""))
                return next_link(answer.headers.get_list("link"), answer.url)

            rows: list[dict[str, object]] = []
            async for page in json_pages(self._api(), first, what, following):
                rows += items_of(page, what)
            if totals == {""} or totals == {str(len({str(row.get(key)) for row in rows}))}:
                return rows
        raise ListingIncompleteError(
            f"{what}: it changes while it is read, or does not have as many entries as it says", host=self.api.host
        )

    # Projects

    async def look_into(self, path: str, refusal: RegistryError) -> None:
        """Tell whether a project is what is missing: Harbor answers 401 then, as to a stranger."""
        if not await self._is_project_missing(path, refusal):
            raise refusal
        if self.api.settings.create_repositories is None:
            raise self._no_project(path, refusal) from refusal

    async def ensure_repository(self, path: str) -> None:
        """Make the project of a repository, if the configuration says that mirrord shall."""
        if self.api.settings.create_repositories is None:
            return
        project = _project(self.api.host, path)
        if project in self._projects:
            return
        async with self._locks.setdefault(project, anyio.Lock()):
            if project not in self._projects and not await self._has_project(project):
                await self._create(project)
            self._know(project)

    async def _create(self, project: str) -> None:
        wishes = self.api.settings.create_repositories or {}
        metadata = {"public": "false"} | ({"auto_scan": "true"} if wishes.get("scan_on_push") else {})
        what = f'create the project "{project}" of {self.api.host}'
        body = {"project_name": project, "metadata": metadata}
        await self._change("POST", f"{_API}/projects", what, body=body, ok={201, 409})
        if wishes.get("tag_immutability"):
            target = f"{_API}/projects/{project}/immutabletagrules"
            what = f'make the tags of the new project "{project}" of {self.api.host} immutable'
            await self._change("POST", target, what, body=_IMMUTABLE_TAGS, ok={201, 409})

    async def _has_project(self, project: str) -> bool:
        what = f'look for the project "{project}" of {self.api.host}'
        answer = await self._change("HEAD", f"{_API}/projects?project_name={project}", what, ok={200, 404})
        return answer.status == 200  # noqa: PLR2004 - OK

    async def _is_project_missing(self, path: str, refusal: RegistryError) -> bool:
        """Say whether the registry refused because there is no such project; False too where that cannot be told."""
        if refusal.status not in (401, 403, 404):
            return False
        project = path.partition("/")[0]
        async with self._locks.setdefault(project, anyio.Lock()):
            if self._absent_until.get(project, 0.0) > self.api.clock.monotonic():
                return True
            try:
                exists = await self._has_project(project)
            except RegistryError:
                return False
            if not exists:
                self._projects.discard(project)
                self._forget_some()
                self._absent_until[project] = self.api.clock.monotonic() + ABSENT_FOR_S
        return not exists

    def _know(self, project: str) -> None:
        self._forget_some()
        self._projects.add(project)
        self._absent_until.pop(project, None)

    def _forget_some(self) -> None:
        """Keep what is remembered within bounds; what is forgotten is asked for again."""
        if len(self._projects) + len(self._absent_until) >= _MOST_PROJECTS:
            self._projects.clear()
            self._absent_until.clear()
            self._locks = {name: lock for name, lock in self._locks.items() if lock.locked()}

    def _no_project(self, path: str, refusal: RegistryError) -> NotFoundError:
        project = path.partition("/")[0]
        return NotFoundError(
            f'{self.api.host} has no project "{project}" for the repository {path}',
            host=self.api.host,
            status=refusal.status,
            remedy=f'create it, or let mirrord do so: registries."{self.api.host}".create_repositories: {{}}',
        )

    # Deleting

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete one tag by the API, since the registry refuses to; a manifest, with all its tags, by the registry."""
        if isinstance(ref, Digest):
            await super().delete(path, ref)
            return
        what = f"delete {self.api.host}/{path}:{ref}"
        target = f"{_repository(self.api.host, path)}/artifacts/{ref}/tags/{ref}"
        answer = await self._change("DELETE", target, what, ok={200, 202, 204, 404, 412})
        if answer.status == 412:  # noqa: PLR2004 - Precondition Failed
            raise DeniedError(
                f"{what}: a rule of the project makes the tag immutable",
                host=self.api.host,
                status=answer.status,
                code="TAG_IMMUTABLE",
                remedy="exempt the tag from immutability in Harbor",
            )
        # A proxy that decodes paths makes every repository with a slash unknown to the API.
        if answer.status == 404 and await head_manifest(self.api.http, path, ref) is not None:  # noqa: PLR2004
            raise UnsupportedError(
                f"{what}: Harbor's API knows no such tag, and the registry still has it",
                host=self.api.host,
                status=answer.status,
                remedy="let the proxy before Harbor pass paths on as they are, %252F included",
            )

    # Requests

    def _api(self) -> RegistryHttp:
        if self._client is None:
            scheme = "http" if self.api.settings.plain_http else "https"
            wants = (
                f'set username and password for "{self.api.host}" under registries: a member of the project, or a '
                "robot account with the permission to list its repositories and artifacts"
            )
            self._client = self.api.open(f"{scheme}://{self.api.host}", self._authorization, wants=wants)
        return self._client

    async def _authorization(self) -> str | None:
        credential = await self.api.credential()
        if credential is None or not credential.secret:
            return None
        pair = f"{credential.username}:{credential.secret}"
        return "Basic " + base64.b64encode(pair.encode()).decode("ascii")

    async def _change(self, method: str, target: str, what: str, *, ok: Collection[int], body: object = None) -> Answer:
        """Carry out one request that is no listing, and say what Harbor wants where it does not let us."""
        call = Call(
            method=method,
            target=target,
            what=what,
            scopes=(),
            headers={"Content-Type": "application/json"} if body is not None else {},
            content=json.dumps(body).encode() if body is not None else b"",
            ok=ok,
            follow=False,
        )
        try:
            return await self._api().request(call)
        except UnauthorizedError as exc:
            raise UnauthorizedError(
                f"{what}: Harbor's API wants the user and password of somebody who may do this",
                host=self.api.host,
                status=exc.status,
                remedy=f'set username and password for "{self.api.host}" under registries: a user, or a robot account',
            ) from exc
        except DeniedError as exc:
            raise DeniedError(
                exc.message,
                host=self.api.host,
                status=exc.status,
                code=exc.code,
                remedy="give the user or robot account this right in Harbor, or have an administrator do it",
            ) from exc


def _project(host: str, path: str) -> str:
    """Return the project of a repository.

    Raises:
        UnsupportedError: the path is that of a project alone.
    """
    project, _, rest = path.partition("/")
    if not rest:
        raise UnsupportedError(
            f"{host}/{path} is no repository of a Harbor: each stands in a project",
            host=host,
            remedy=f"write {host}/PROJECT/{path}",
        )
    return project


def _repository(host: str, path: str) -> str:
    """Return the path of a repository in the API; slashes of its name are encoded twice, as Harbor wants them.

    Raises:
        UnsupportedError: as with `_project`.
    """
    project = _project(host, path)
    name = path.removeprefix(f"{project}/")
    return f"{_API}/projects/{project}/repositories/{quote(quote(name, safe=''), safe='')}"
