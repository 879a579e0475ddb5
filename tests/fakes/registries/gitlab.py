"""GitLab's container registry: its profile, its names, and GitLab's REST API over the same store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from tests.fakes.api import EmulatedApi
from tests.fakes.profiles import Auth, Blobs, Names, Profile, Refusal, TagList, Uploads

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

NAMES_GITLAB = Names(
    registry="registry.gitlab.com", tokens="gitlab.com", storage="cdn.registry.gitlab-static.net", api="gitlab.com"
)
JOB_USER = "gitlab-ci-token"
_NOT_FOUND = json_answer({"message": "404 Not Found"}, status=404)


class GitlabApi(EmulatedApi):
    """``/api/v4/{groups|projects}/{id}/registry/repositories``.

    ``projects`` are all there are; what is above them are groups. ``public`` projects are shown to everybody. Deploy
    tokens are for the registry alone: with ``deploy_token`` the credential is one. ``paging`` says how the next page is
    told. ``root`` is the path below which GitLab is installed.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.projects: set[str] = set()
        self.public: set[str] = set()
        self.deploy_token = False
        self.paging: Literal["header", "link"] = "header"
        self.page_entries = 100
        self.root = ""

    async def answer(self, request: Request) -> Answer:
        path = request.target.decode("ascii").partition("?")[0]
        parts = path.removeprefix(self.root).strip("/").split("/")
        if parts[:2] != ["api", "v4"] or parts[4:] != ["registry", "repositories"]:
            return _NOT_FOUND
        known, refused = self._identify(request)
        if refused:
            return json_answer({"message": "401 Unauthorized"}, status=401)
        kind, name = parts[2], unquote(parts[3])
        shown = self.projects if known else self.public
        owners = {project for project in shown if project == name or project.startswith(f"{name}/")}
        if not owners or (name in self.projects) is (kind == "groups"):
            return _NOT_FOUND
        found = [
            path for path in self.store.repositories() if any(f"{path}/".startswith(f"{owner}/") for owner in owners)
        ]
        return self._page(request, path, found)

    def _identify(self, request: Request) -> tuple[bool, bool]:
        """Return whether a credential was accepted, and whether one was refused."""
        auth = self.registry.profile.auth
        expected = (
            ("JOB-TOKEN", auth.password) if auth.user == JOB_USER else ("Authorization", f"Bearer {auth.password}")
        )
        given = [(name, request.header(name)) for name in ("JOB-TOKEN", "PRIVATE-TOKEN", "Authorization")]
        present = [pair for pair in given if pair[1] is not None]
        accepted = present == [expected] and not self.deploy_token
        return accepted, bool(present) and not accepted

    def _page(self, request: Request, path: str, found: list[str]) -> Answer:
        size = min(int(request.query("per_page") or 20), self.page_entries)
        number = int(request.query("page") or 1)
        more = number * size < len(found)
        target = f"{path}?page={number + 1}&per_page={size}"
        url = f"{self.registry.scheme}://{self.registry.api_host}{target}"
        headers: list[tuple[str, str]] = []
        if self.paging == "header":
            headers = [("x-next-page", str(number + 1) if more else "")]
        elif more:
            headers = [("Link", f'<{url}>; rel="next", <{url}>; rel="last"')]
        rows = [
            {"id": number, "name": "", "path": name, "location": f"{self.registry.host}/{name}"}
            for number, name in enumerate(found)
        ]
        body = json.dumps(rows[(number - 1) * size : number * size]).encode()
        return Answer(status=200, headers=(("Content-Type", "application/json"), *headers), body=body)


GITLAB = Profile(
    name="gitlab",
    auth=Auth(scheme="bearer", user="mirror-bot", token_path="/jwt/auth", service="container_registry"),
    tags=TagList(page_entries=100),
    uploads=Uploads(location="absolute"),
    blobs=Blobs(redirect=307),
    referrers="alias",
    catalog=Refusal(status=401, code="UNAUTHORIZED", message="authentication required"),
    api=GitlabApi,
)
"""registry.gitlab.com: tokens of five minutes from gitlab.com, no catalog, no referrers API."""
