"""Artifact Registry, emulated: repositories that must be made beforehand, tag lists with maps, no uploads in chunks.

Source: Google Cloud, artifact-registry docs "docker-api"; go-containerregistry, pkg/v1/google/list.go and walk.go.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.demo.registry.routes import Route, RouteKind
from tests.fakes.api import EmulatedApi
from tests.fakes.profiles import Auth, Blobs, Deletes, Manifests, Names, Profile, Refusal, Uploads
from tests.fakes.tokens import refusal_answer

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

HOST = "europe-docker.pkg.dev"
MADE = "1767225600000"
"""2026-01-01, as tag lists write it."""


class GoogleApi(EmulatedApi):
    """The API of Artifact Registry, and what its registry does differently.

    ``made`` are the repositories of Artifact Registry that exist, ``project/repository`` each; others answer 403.
    ``times`` are the moments that tag lists tell, by digest; ``most_in_a_page`` is how many tags one may hold.
    ``tells_projects``: the tag list of a project tells its repositories. ``format`` is that of the repositories.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.made: set[str] = set()
        self.times: dict[str, str] = {}
        self.most_in_a_page = 10_000
        self.tells_projects = True
        self.maps: object = None
        self.tokens: set[str] = set()
        self.page_entries = 100

    def before(self, request: Request, route: Route) -> Answer | None:
        """Answer for a repository that was not made, a tag list, and a deletion that a referrer forbids."""
        if not route.repository:
            return None
        place = "/".join(route.repository.split("/")[:2])
        if place not in self.made and not (route.kind is RouteKind.TAGS and "/" not in route.repository):
            return self._denied(place, "uploadArtifacts" if request.method != "GET" else "downloadArtifacts")
        if route.kind is RouteKind.TAGS:
            return self._list(request, route.repository)
        if request.method == "DELETE" and route.kind is RouteKind.MANIFEST and ":" in route.reference:
            return self._referred(route)
        return None

    def _denied(self, place: str, right: str) -> Answer:
        project, _, repository = place.partition("/")
        resource = f"projects/{project}/locations/europe/repositories/{repository}"
        message = (
            f'Permission "artifactregistry.repositories.{right}" denied on resource "{resource}" (or it may not exist)'
        )
        return json_answer({"errors": [{"code": "DENIED", "message": message}]}, status=403)

    def _list(self, request: Request, repository: str) -> Answer:
        known = [*self.store.repositories(), *self.made]
        below = {name[len(repository) + 1 :].split("/")[0] for name in known if name.startswith(f"{repository}/")}
        is_project = "/" not in repository
        if is_project and not self.tells_projects:
            return self._denied(repository, "downloadArtifacts")
        tags = self.store.tags(repository)
        rest = [tag for tag in sorted(tags) if tag > (request.query("last") or "")]
        page = rest[: min(int(request.query("n") or self.most_in_a_page), self.most_in_a_page)]
        manifests = {}
        for digest, stored in self.store.manifests(repository).items():
            manifests[str(digest)] = {
                "tag": sorted(tag for tag, found in tags.items() if found == digest),
                "mediaType": stored.media_type,
                "imageSizeBytes": str(len(stored.raw)),
                "timeCreatedMs": self.times.get(str(digest), MADE),
                "timeUploadedMs": MADE,
            }
        maps = manifests if self.maps is None else self.maps
        return json_answer({"child": sorted(below), "manifest": maps, "name": repository, "tags": page})

    def _referred(self, route: Route) -> Answer | None:
        manifests = self.store.manifests(route.repository).values()
        if not any(str(found.subject) == route.reference for found in manifests):
            return None
        return refusal_answer(
            Refusal(
                status=400,
                code="GOOGLE_MANIFEST_REFERRING_MANIFEST",
                message=f"Manifest is still referenced by other manifests: {route.reference}",
            )
        )

    async def answer(self, request: Request) -> Answer:
        """List the repositories of a project, to whoever has an access token."""
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        known = {self.registry.profile.auth.password, *self.tokens}
        if scheme != "Bearer" or token not in known:
            missing = {"error": {"code": 401, "message": "Request is missing required authentication credential."}}
            return json_answer(missing, status=401)
        parts = request.path.split("/")
        if len(parts) != 7 or [parts[1], parts[2], parts[4], parts[5], parts[6]] != [
            "v1",
            "projects",
            "locations",
            "europe",
            "repositories",
        ]:
            return json_answer({"error": {"code": 404, "message": "not found"}}, status=404)
        names = sorted(name.partition("/")[2] for name in self.made if name.startswith(f"{parts[3]}/"))
        start = int(request.query("pageToken") or 0)
        size = min(int(request.query("pageSize") or 100), self.page_entries)
        base = f"projects/{parts[3]}/locations/europe/repositories"
        entries: list[object] = [{"name": f"{base}/{name}", "format": "DOCKER"} for name in names[start : start + size]]
        if start == 0:
            entries.append({"name": f"{base}/wheels", "format": "PYTHON"})
        body: dict[str, object] = {"repositories": entries}
        more = {"nextPageToken": str(start + size)} if start + size < len(names) else {}
        return Answer(
            status=200, headers=(("Content-Type", "application/json"),), body=json.dumps({**body, **more}).encode()
        )


GOOGLE = Profile(
    name="google",
    auth=Auth(
        scheme="bearer",
        user="oauth2accesstoken",
        password="ya29.of-the-test",
        token_path="/v2/token",
        service=HOST,
        repository_challenge="none",
        expires_in=3600,
        life_s=3600.0,
        post=Refusal(status=404, code="NOT_FOUND", message="not found"),
    ),
    uploads=Uploads(
        patch=Refusal(status=405, code="UNSUPPORTED", message="chunked uploads are not supported"), location="absolute"
    ),
    blobs=Blobs(redirect=302),
    manifests=Manifests(strict_accept=True),
    deletes=Deletes(
        manifest_with_tags=Refusal(
            status=400, code="GOOGLE_MANIFEST_DANGLING_TAG", message="Manifest is still referenced by tag"
        ),
        referenced=Refusal(
            status=400,
            code="GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE",
            message="Manifest is still referenced by one or more parent images",
        ),
    ),
    api=GoogleApi,
)
"""Artifact Registry, private. A repository's 401 carries no challenge; the one of ``/v2/`` does."""

NAMES_GOOGLE = Names(registry=HOST, storage="artifacts.googleusercontent.test", api="artifactregistry.googleapis.com")


def api_of(registry: FakeRegistry) -> GoogleApi:
    """Return the API of an emulated Artifact Registry."""
    assert isinstance(registry.api, GoogleApi)
    return registry.api
