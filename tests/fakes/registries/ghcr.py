"""GitHub Container Registry: its profile, its names, and GitHub's REST API for packages over the same store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.oci.digest import Digest
from tests.fakes.api import EmulatedApi
from tests.fakes.profiles import Auth, Blobs, Deletes, Names, Profile, Refusal, TagList, Uploads

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

MIB = 1024 * 1024
NAMES_GHCR = Names(registry="ghcr.io", storage="pkg-containers.githubusercontent.com", api="api.github.com")
_NOT_FOUND = json_answer({"message": "Not Found", "status": "404"}, status=404)
_LARGEST_PAGE = 100
_NO_API = Refusal(status=405, code="UNSUPPORTED", message="The operation is unsupported.")


@dataclass(slots=True)
class _Package:
    """The numbers of a package's versions: given once, never again."""

    numbers: dict[Digest, int] = field(default_factory=dict)


class GithubApi(EmulatedApi):
    """``/orgs/{org}/packages`` and ``/users/{user}/packages``, with versions and their deletion.

    ``users`` are the owners that are users, all others are organisations. ``scopes`` are those of the token.
    ``admin`` says whether its account may delete. ``hidden`` are digests that the API does not tell yet (it may lag).
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.users: set[str] = set()
        self.scopes = {"read:packages", "delete:packages"}
        self.admin = True
        self.hidden: set[Digest] = set()
        self.page_entries = _LARGEST_PAGE
        self._packages: dict[str, _Package] = {}

    async def answer(self, request: Request) -> Answer:
        if request.header("Authorization") != f"Bearer {self.registry.profile.auth.password}":
            return json_answer({"message": "Requires authentication", "status": "401"}, status=401)
        path = request.target.decode("ascii").partition("?")[0]
        kind, owner, packages, *rest = [unquote(part) for part in path.removeprefix("/api/v3").strip("/").split("/")]
        answer = _NOT_FOUND
        if packages != "packages" or kind != ("users" if owner in self.users else "orgs"):
            return answer
        if "read:packages" not in self.scopes:
            return json_answer({"message": "You need at least read:packages scope to list packages."}, status=403)
        match request.method, rest:
            case "GET", []:
                answer = self._list_packages(request, owner)
            case "GET", ["container", name, "versions"]:
                answer = self._list_versions(request, f"{owner}/{name}")
            case "DELETE", ["container", name, "versions", number] if number.isdigit():
                answer = self._delete(f"{owner}/{name}", int(number))
        return answer

    def _list_packages(self, request: Request, owner: str) -> Answer:
        if request.query("package_type") != "container":
            return json_answer({"message": "package_type is missing"}, status=422)
        paths = [path for path in self.store.repositories() if path.startswith(f"{owner}/")]
        return self._page(request, [{"name": path.removeprefix(f"{owner}/")} for path in paths])

    def _list_versions(self, request: Request, path: str) -> Answer:
        if path not in self.store.repositories():
            return _NOT_FOUND
        numbers = self._numbers(path)
        tags = self.store.tags(path)
        versions = [
            {
                "id": number,
                "name": str(digest),
                "updated_at": (self.clock.moment() + timedelta(seconds=number)).isoformat(),
                "metadata": {"package_type": "container", "container": {"tags": _named(tags, digest)}},
            }
            for digest, number in reversed(numbers.items())
            if digest in self.store.manifests(path) and digest not in self.hidden
        ]
        return self._page(request, versions)

    def _delete(self, path: str, number: int) -> Answer:
        digest = next((digest for digest, known in self._numbers(path).items() if known == number), None)
        if digest is None or self.store.manifest(path, digest) is None:
            return _NOT_FOUND
        if "delete:packages" not in self.scopes:
            return json_answer({"message": "You need at least delete:packages scope."}, status=403)
        if not self.admin:
            return _NOT_FOUND
        tags = self.store.tags(path)
        if tags and set(tags.values()) == {digest}:
            text = "You cannot delete the last tagged version of a package. You must delete the package instead."
            return json_answer({"message": text, "status": "400"}, status=400)
        self.store.remove_manifest(path, digest)
        return Answer(status=204)

    def _numbers(self, path: str) -> dict[Digest, int]:
        package = self._packages.setdefault(path, _Package())
        for digest in self.store.manifests(path):
            package.numbers.setdefault(digest, 1000 + len(package.numbers))
        return package.numbers

    def _page(self, request: Request, entries: Sequence[object]) -> Answer:
        size = min(int(request.query("per_page") or 30), self.page_entries)
        number = int(request.query("page") or 1)
        last = -(-len(entries) // size) or 1
        base = f"{self.registry.scheme}://{self.registry.api_host}{request.target.decode('ascii').partition('?')[0]}"
        kept = [pair for pair in parse_qsl(request.query_string.decode("ascii")) if pair[0] != "page"]
        links = {"next": number + 1, "last": last} if number < last else {}
        text = ", ".join(
            f'<{base}?{urlencode([*kept, ("page", str(page))])}>; rel="{rel}"' for rel, page in links.items()
        )
        headers = (("Content-Type", "application/json; charset=utf-8"), *([("Link", text)] if text else []))
        body = json.dumps(entries[(number - 1) * size : number * size]).encode()
        return Answer(status=200, headers=headers, body=body)


def _named(tags: dict[str, Digest], digest: Digest) -> list[str]:
    return [tag for tag, named in tags.items() if named == digest]


GHCR = Profile(
    name="ghcr",
    auth=Auth(
        scheme="bearer",
        service="ghcr.io",
        ping_scope="repository:user/image:pull",
        repository_challenge="ping",
        refused_scopes=("registry:catalog", ":delete", "/forbidden:"),
        refused_scope_status=403,
    ),
    tags=TagList(page_entries=100),
    uploads=Uploads(max_chunk_bytes=4 * MIB),
    blobs=Blobs(redirect=307),
    referrers=Refusal(
        status=303, headers=(("Location", "https://github.com/-/v2/packages/container/sha256"),), body=b""
    ),
    deletes=Deletes(tag=_NO_API, manifest=_NO_API),
    api=GithubApi,
)
"""ghcr.io: a placeholder for a scope, chunks of at most 4 MiB, no referrers API, deletions by GitHub's API only."""
