"""Quay: its profile, its names, and its REST API over the same store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from tests.fakes.api import EmulatedApi
from tests.fakes.profiles import Auth, Blobs, Names, Profile, Refusal, TagList, Uploads

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

NAMES_QUAY = Names(registry="quay.io", storage="cdn01.quay.io")
OAUTH_USER = "$oauthtoken"
_NOT_FOUND = json_answer({"error_type": "not_found", "detail": "Not Found", "status": 404}, status=404)
_LARGEST_PAGE = 100


class QuayApi(EmulatedApi):
    """``/api/v1/repository``: repositories of a namespace, and the tags of one.

    ``public`` are the repositories that everybody may see. Whoever logs in as `OAUTH_USER` sees all, and nobody else
    is accepted. Without ``anonymous`` all others are refused. ``dead`` are rows of tags as they once were, by
    repository.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.public: set[str] = set()
        self.anonymous = True
        self.dead: dict[str, list[dict[str, object]]] = {}
        self.page_entries = _LARGEST_PAGE

    async def answer(self, request: Request) -> Answer:
        authorization, auth = request.header("Authorization"), self.registry.profile.auth
        known = auth.user == OAUTH_USER and authorization == f"Bearer {auth.password}"
        if not known and (authorization is not None or not self.anonymous):
            return _unauthorized()
        path = request.path.removeprefix("/api/v1/repository")
        if path == "":
            return self._list_repositories(request, everything=known)
        if request.method != "GET" or not path.endswith("/tag/"):
            return _NOT_FOUND
        name = path.removeprefix("/").removesuffix("/tag/")
        if not known and name not in self.public:
            return _unauthorized()
        return self._list_tags(request, name)

    def _list_repositories(self, request: Request, *, everything: bool) -> Answer:
        namespace = request.query("namespace")
        if not namespace or request.query("public") != "true":
            return json_answer({"error_type": "invalid_request", "status": 400}, status=400)
        paths = [path for path in self.store.repositories() if path.startswith(f"{namespace}/")]
        paths = [path for path in paths if everything or path in self.public]
        start = int((request.query("next_page") or "token+/0").removeprefix("token+/"))
        page = paths[start : start + self.page_entries]
        fields: dict[str, object] = {
            "repositories": [{"namespace": namespace, "name": path.partition("/")[2], "kind": "image"} for path in page]
        }
        if start + self.page_entries < len(paths):
            fields["next_page"] = f"token+/{start + self.page_entries}"
        return json_answer(fields)

    def _list_tags(self, request: Request, name: str) -> Answer:
        if name not in self.store.repositories():
            return _NOT_FOUND
        size = min(int(request.query("limit") or 50), self.page_entries)
        number = int(request.query("page") or 1)
        began = int(self.clock.moment().timestamp()) - 3600
        rows: list[dict[str, object]] = [
            {"name": tag, "manifest_digest": str(digest), "start_ts": began, "size": 1, "is_manifest_list": False}
            for tag, digest in self.store.tags(name).items()
        ]
        if request.query("onlyActiveTags") != "true":
            rows += self.dead.get(name, [])
        page = rows[(number - 1) * size : number * size]
        body = {"tags": page, "page": number, "has_additional": number * size < len(rows)}
        return Answer(status=200, headers=(("Content-Type", "application/json"),), body=json.dumps(body).encode())


def _unauthorized() -> Answer:
    fields = {"error_type": "invalid_token", "detail": "Requires authentication", "status": 401}
    challenge = ("WWW-Authenticate", 'Bearer realm="quay.io" error="invalid_token"')
    return json_answer(fields, status=401, headers=[challenge])


QUAY = Profile(
    name="quay",
    auth=Auth(
        scheme="bearer",
        user="acme+mirror",
        token_path="/v2/auth",
        service="quay.io",
        expires_in=None,
        life_s=3600.0,
        granted=frozenset({"pull", "push"}),
        refused_scopes=("registry:", ":delete", ",delete", "/nested/"),
        push_creates=True,
        delete_action="push",
        catalog_scope=False,
    ),
    tags=TagList(page_entries=100, link="absolute"),
    uploads=Uploads(location="absolute", range_header="off-by-one"),
    blobs=Blobs(redirect=302),
    referrers="api-without-subject-header",
    referrers_unknown=Refusal(status=400, code="MANIFEST_INVALID", message="manifest invalid"),
    api=QuayApi,
)
"""quay.io: no life of a token said, repositories made by tokens for a push, and a robot that administers nothing."""
