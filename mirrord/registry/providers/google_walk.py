"""Which repositories there are at Google.

Tag lists name what is below a path; the API of Artifact Registry names the repositories of a project, where a tag list
does not.

Sources: go-containerregistry, pkg/v1/google/walk.go; Google Cloud, Artifact Registry REST,
projects.locations.repositories.list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote as percent

import anyio

from mirrord.errors import (
    InvalidReferenceError,
    ListingIncompleteError,
    NotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.oci.reference import Repository, parse_repository_path
from mirrord.registry import scopes
from mirrord.registry.call import Answer
from mirrord.registry.http import RegistryHttp
from mirrord.registry.links import next_link
from mirrord.registry.providers.google_credentials import OAUTH_USER
from mirrord.registry.providers.pages import entries_of, json_pages
from mirrord.registry.providers.service import Api

MOST_NODES: Final = 20_000
AT_ONCE: Final = 8
API: Final = "https://artifactregistry.googleapis.com"

_PAGE_SIZE = 1000
_KEYS = frozenset({"child", "manifest", "tags"})
"""A tag list has one of them at least; else it is something else, and no proof that a path is empty."""
_RIGHT: Final = "allow artifactregistry.repositories.list to the credential (roles/artifactregistry.reader)"
_OAUTH_USERS = frozenset({OAUTH_USER, "_token", "_dcgcloud_token"})


@dataclass(frozen=True, slots=True)
class _Node:
    """A path: whether it holds images itself, and what is below it."""

    path: str
    holds_images: bool
    below: tuple[str, ...]


class Walk:
    """Walks down from a path, a few paths at a time."""

    def __init__(self, api: Api) -> None:
        """Ask nothing yet."""
        self._api = api
        self._rest: RegistryHttp | None = None

    async def below(self, start: str, prefix: str, *, project: str, location: str) -> AsyncIterator[Repository]:
        """Yield the repositories at and below ``start`` whose path begins with ``prefix``.

        Args:
            start: where to begin.
            prefix: what the paths begin with.
            project: the project that ``start`` is, where its repositories may have to be asked for by the API.
            location: where the project's repositories are.

        Raises:
            UnsupportedError: nobody tells what is in the project.
            ListingIncompleteError: there are too many paths.
        """
        roots: list[str] = [start]
        if project:
            roots = await self._of_project(start, project, location)
        waiting, seen = roots, set(roots)
        while waiting:
            batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            for node in await self._look(batch):
                if node.holds_images and node.path.startswith(prefix):
                    yield Repository(self._api.host, node.path)
                fresh = [path for path in node.below if path not in seen and _leads_to(path, prefix)]
                seen.update(fresh)
                waiting += fresh
            if len(seen) > MOST_NODES:
                raise ListingIncompleteError(
                    f"there are more than {MOST_NODES} paths below {self._api.host}/{start}",
                    code="LISTING_TOO_LARGE",
                    host=self._api.host,
                )

    async def _of_project(self, start: str, project: str, location: str) -> list[str]:
        """Return the repositories of a project: as its tag list tells them, else as the API does."""
        try:
            node = await self._node(start)
        except (UnavailableError, RateLimitedError, ListingIncompleteError):
            raise
        except RegistryError:
            node = None
        if node is not None and node.below:
            return list(node.below)
        try:
            return [f"{start}/{name}" async for name in self._names(project, location)]
        except RegistryError as exc:
            raise UnsupportedError(
                f"the repositories of {self._api.host}/{start} cannot be listed: {exc.message}",
                host=self._api.host,
                status=exc.status,
                remedy="allow artifactregistry.repositories.list to the credential (roles/artifactregistry.reader for "
                f'the project), or name one repository: "{self._api.host}/{start}/REPOSITORY/*"',
            ) from exc

    async def _names(self, project: str, location: str) -> AsyncIterator[str]:
        """Yield the names of a project's Docker repositories, by the API of Artifact Registry."""
        what = f"list the repositories of the project {project} in {location}"
        place = f"/v1/projects/{percent(project, safe='')}/locations/{location}/repositories?pageSize={_PAGE_SIZE}"

        def following(_: Answer, page: object) -> str | None:
            token = page.get("nextPageToken") if isinstance(page, dict) else None
            return f"{place}&pageToken={percent(str(token), safe='')}" if token else None

        http = self._rest = self._rest or self._api.open(API, self._authorization, wants=_RIGHT)
        async for page in json_pages(http, place, what, following):
            if page == {}:
                continue  # none at all
            for entry in entries_of(page, "repositories", what):
                name = entry.get("name")
                if entry.get("format") == "DOCKER" and isinstance(name, str):
                    yield name.rpartition("/")[2]

    async def _authorization(self) -> str | None:
        """Return the access token, where the credential is one; the API takes no key of a service account."""
        credential = await self._api.credential()
        if credential is None or credential.username not in _OAUTH_USERS:
            return None
        return f"Bearer {credential.secret}"

    async def _look(self, paths: list[str]) -> list[_Node]:
        """Return what is at several paths; one that is gone is left out."""
        found: dict[str, _Node] = {}
        failures: list[RegistryError] = []

        async def look(path: str) -> None:
            try:
                found[path] = await self._node(path)
            except NotFoundError:
                pass
            except RegistryError as exc:
                failures.append(exc)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for path in paths:
                group.start_soon(look, path)
        if failures:
            raise failures[0]
        return [found[path] for path in paths if path in found]

    async def _node(self, path: str) -> _Node:
        what = f"look for repositories below {self._api.host}/{path}"
        target = f"/v2/{path}/tags/list?n={self._api.listing.page_size}"
        holds_images = False
        below: dict[str, None] = {}

        def following(answer: Answer, _: object) -> str | None:
            return next_link(answer.headers.get_list("link"), answer.url)

        async for page in json_pages(self._api.http, target, what, following, access=scopes.pull(path)):
            if not isinstance(page, dict):
                raise ProtocolViolationError(f"{what}: the answer is no object", code="LISTING_INVALID")
            if not page.keys() & _KEYS:
                raise ProtocolViolationError(f"{what}: the answer is no tag list", code="LISTING_INVALID")
            holds_images = holds_images or bool(page.get("tags")) or bool(page.get("manifest"))
            children = page.get("child")
            for name in children if isinstance(children, list) else ():
                try:
                    below[parse_repository_path(f"{path}/{name}")] = None
                except InvalidReferenceError:
                    continue
        return _Node(path, holds_images, tuple(below))


def _leads_to(path: str, prefix: str) -> bool:
    """Say whether a path, or anything below it, may begin with ``prefix``."""
    return path.startswith(prefix) or prefix.startswith(f"{path}/")
