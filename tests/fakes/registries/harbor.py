"""Harbor, emulated: projects, a token service and the API under the registry's own name.

Source: harbor, api/v2.0/swagger.yaml; src/server/middleware/v2auth/auth.go; src/server/registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.oci.digest import Digest
from tests.fakes.api import EmulatedApi, read_body
from tests.fakes.profiles import Auth, Deletes, Manifests, Names, Profile, Refusal, TagList
from tests.fakes.tokens import basic_credential

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

T = TypeVar("T")

MOST_IN_A_PAGE = 100
PUSHED = "2026-01-01T00:00:00.000Z"


class HarborApi(EmulatedApi):
    """Projects, repositories and artifacts. A robot account is as good as a user.

    ``pushed`` tells when a tag was pushed, ``duplicates`` are rows that are told beside the true ones. ``lacks`` are
    routes that an older Harbor does not have. ``rules`` are the immutability rules of projects, ``immutable`` the tags
    that one of them holds fast, by ``project/repository:tag``.
    """

    prefixes = ("/api/v2.0/",)

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.may_create = True
        self.total_off_by = 0
        self.lacks: set[str] = set()
        self.pushed: dict[str, str] = {}
        self.duplicates: list[object] = []
        self.immutable: set[str] = set()
        self.created: list[dict[str, object]] = []
        self.rules: dict[str, list[object]] = {}

    async def answer(self, request: Request) -> Answer:
        """Route a request as Harbor does: the path is decoded once, names of repositories once more."""
        raw = request.target.partition(b"?")[0].decode("latin-1").removeprefix("/api/v2.0/")
        parts = [unquote(part) for part in raw.split("/")]
        user = basic_credential(request.header("Authorization"))
        if request.header("Authorization") is not None and user != (self._auth.user, self._auth.password):
            return _error(401, "UNAUTHORIZED", "unauthorized")
        if any("/" in part for part in parts):
            return _error(404, "NOT_FOUND", "the path was not found")
        return await self._route(request, [unquote(part) for part in parts], is_user=user is not None)

    @property
    def _auth(self) -> Auth:
        return self.registry.profile.auth

    async def _route(self, request: Request, parts: list[str], *, is_user: bool) -> Answer:  # noqa: PLR0911 - one a route
        match request.method, parts:
            case ("HEAD", ["projects"]) if is_user:
                known = request.query("project_name") in self.registry.switches.projects()
                return Answer(status=200 if known else 404)
            case ("POST", ["projects"]) if is_user:
                return self._create(json.loads(await read_body(request)))
            case ("POST", ["projects", project, "immutabletagrules"]) if is_user:
                self.rules.setdefault(project, []).append(json.loads(await read_body(request)))
                return Answer(status=201)
            case "GET", ["projects"]:
                return self._page(request, sorted(self.registry.switches.projects()), lambda name: {"name": name})
            case ("GET", ["repositories"]) if "repositories" not in self.lacks:
                return self._page(request, self.store.repositories(), lambda name: {"name": name})
            case "GET", ["projects", project, "repositories"]:
                if project not in self.registry.switches.projects():
                    return _error(404, "NOT_FOUND", f"project {project} not found")
                names = [name for name in self.store.repositories() if name.startswith(f"{project}/")]
                return self._page(request, names, lambda name: {"name": name})
            case "GET", ["projects", project, "repositories", name, "artifacts"]:
                return self._artifacts(request, f"{project}/{name}")
            case ("DELETE", ["projects", project, "repositories", name, "artifacts", reference, "tags", tag]) if (
                is_user
            ):
                return self._delete(f"{project}/{name}", reference, tag)
            case (("HEAD" | "POST" | "DELETE"), _) if not is_user:
                return _error(401, "UNAUTHORIZED", "unauthorized")
        return _error(404, "NOT_FOUND", "the path was not found")

    def _create(self, wanted: dict[str, object]) -> Answer:
        name = str(wanted["project_name"])
        if not self.may_create:
            return _error(403, "FORBIDDEN", "forbidden")
        if name in self.registry.switches.projects():
            return _error(409, "CONFLICT", f"The project named {name} already exists")
        self.registry.switches.created.add(name)
        self.created.append(wanted)
        return Answer(status=201, headers=(("Location", f"/api/v2.0/projects/{len(self.created)}"),))

    def _artifacts(self, request: Request, repository: str) -> Answer:
        if repository not in self.store.repositories():
            return _error(404, "NOT_FOUND", f"repository {repository} not found")
        by_digest: dict[Digest, list[str]] = {digest: [] for digest in self.store.manifests(repository)}
        for tag, digest in self.store.tags(repository).items():
            by_digest.setdefault(digest, []).append(tag)
        tagged_only = request.query("q") == "tags=*"
        digests = [digest for digest, tags in by_digest.items() if tags or not tagged_only]

        def row(digest: Digest) -> object:
            stored = self.store.manifest(repository, digest)
            tags = [{"name": tag, "push_time": self.pushed.get(tag, PUSHED)} for tag in by_digest[digest]]
            return {
                "digest": str(digest),
                "manifest_media_type": stored.media_type if stored is not None else "",
                "push_time": PUSHED,
                "size": len(stored.raw) if stored is not None else 0,
                "tags": tags or None,
            }

        return self._page(request, digests, row, self.duplicates)

    def _delete(self, repository: str, reference: str, tag: str) -> Answer:
        if f"{repository}:{tag}" in self.immutable:
            return _error(412, "PRECONDITION", f"the tag {tag} configured as immutable, cannot be deleted")
        tags = self.store.tags(repository)
        digest = tags.get(reference) or (Digest.parse(reference) if ":" in reference else None)
        if digest is None or tags.get(tag) != digest:
            return _error(404, "NOT_FOUND", f"tag {tag} attached to artifact {reference} not found")
        self.store.untag(repository, tag)
        return Answer(status=200)

    def _page(
        self, request: Request, entries: Sequence[T], row: Callable[[T], object], extra: Sequence[object] = ()
    ) -> Answer:
        page, size = int(request.query("page") or 1), int(request.query("page_size") or 10)
        if not 0 < size <= MOST_IN_A_PAGE:
            return _error(422, "UNPROCESSABLE_ENTITY", "page_size in query should be at most 100")
        rows = [*(row(entry) for entry in entries), *extra]
        headers = [("X-Total-Count", str(len(rows) + self.total_off_by))]
        if page * size < len(rows):
            others = "&".join(part for part in request.query_string.decode().split("&") if not part.startswith("page="))
            path = request.target.partition(b"?")[0].decode("latin-1")
            headers.append(("Link", f'<{path}?page={page + 1}&{others}>; rel="next"'))
        return json_answer(rows[(page - 1) * size : page * size], headers=headers)


def _error(status: int, code: str, message: str) -> Answer:
    return json_answer({"errors": [{"code": code, "message": message}]}, status=status)


HARBOR = Profile(
    name="harbor",
    auth=Auth(
        scheme="bearer",
        user="robot$mirror",
        service="harbor-registry",
        token_path="/service/token",
        repository_challenge="flip",
        expires_in=1800,
        life_s=1800.0,
        issued_at_skew_s=0.0,
        anonymous_pull=True,
    ),
    tags=TagList(),
    manifests=Manifests(
        create_on_push=False,
        projects=True,
        unknown_repository=Refusal(
            status=401,
            code="UNAUTHORIZED",
            message="project not found",
            headers=(("WWW-Authenticate", ""),),
        ),
        size_cap_bytes=4 * 1024 * 1024,
    ),
    deletes=Deletes(tag=Refusal(status=400, message="only digest is supported")),
    api=HarborApi,
)
"""A Harbor. Its tags are immutable where a test says so: ``Manifests(immutable_tags=IMMUTABLE)``."""

IMMUTABLE = Refusal(status=412, code="PRECONDITION", message="the tag is configured as immutable, cannot be updated")
PROXY_CACHE = Refusal(status=403, code="DENIED", message="can not push artifact to a proxy project: cache")
POLICY = Refusal(
    status=412, code="PROJECTPOLICYVIOLATION", message='current image with "1 high" cannot be pulled due to the policy'
)
QUOTA = Refusal(
    status=403,
    code="DENIED",
    message="adding 1.0 MiB of storage resource, which when updated to current usage of 9.5 MiB "
    "will exceed the configured upper limit of 10.0 MiB.",
)
NO_SOURCE_PROJECT = Refusal(
    status=401, code="UNAUTHORIZED", message="project base not found", headers=(("WWW-Authenticate", ""),)
)
NAMES_HARBOR = Names(registry="harbor.test", storage="s3.harbor.test")
