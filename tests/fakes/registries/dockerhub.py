"""Docker Hub: its profile, its names, and the Hub API over the same store.

Source: docker/docs, content/reference/api/hub/latest.yaml and content/manuals/docker-hub/usage/pulls.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.oci.digest import Digest
from tests.fakes.api import EmulatedApi, read_body
from tests.fakes.profiles import Auth, Blobs, Deletes, Names, Profile, Rate, Refusal, TagList, Uploads

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

HOST = "docker.io"
NAMES_DOCKERHUB = Names(
    registry="registry-1.docker.io",
    tokens="auth.docker.io",
    storage="production.cloudflare.docker.com",
    api="hub.docker.com",
)
PULL_LIMIT_TEXT = (
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"  # as it is said
)
_UNSUPPORTED = Refusal(status=405, code="UNSUPPORTED", message="The operation is unsupported.")
Form = Literal["documented", "older"]
_LARGEST_PAGE = 100
_LIFE_S = 600.0
_NOT_FOUND = json_answer({"message": "object not found", "errinfo": {}}, status=404)


@dataclass(frozen=True, slots=True)
class _Path:
    """What a path of the API names. ``form`` says in which of the two ways."""

    form: Form
    namespace: str
    repository: str = ""
    listing: bool = False
    tag: str = ""


class HubApi(EmulatedApi):
    """``/v2/namespaces/{ns}/repositories``, its tags, their deletion, and ``/v2/auth/token``.

    ``private`` are repositories that only the account sees. ``forms`` are the ways of writing paths that are known.
    ``rows`` change the fields of tags by their names; ``more_rows`` are put before all others as they are. ``hidden``
    are tags that the listing does not tell. ``plugins`` are repositories of another kind than images. ``limit`` is the
    number of requests a minute, and ``next_host`` where the next page is said to be.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.private: set[str] = set()
        self.plugins: set[str] = set()
        self.forms = {"documented", "older"}
        self.rows: dict[str, Mapping[str, object]] = {}
        self.more_rows: list[Mapping[str, object]] = []
        self.hidden: set[str] = set()
        self.page_entries = _LARGEST_PAGE
        self.may_delete = True
        self.limit: int | None = None
        self.next_host = ""
        self.logins = 0
        self._tokens: dict[str, float] = {}
        self._asked: list[float] = []

    def tokens_issued(self) -> list[str]:
        """Return the tokens that are good, or were until their end."""
        return [known.removeprefix("Bearer ") for known in self._tokens]

    def revoke_all(self) -> None:
        """Let every token issued so far be refused from now on."""
        self._tokens.clear()

    async def answer(self, request: Request) -> Answer:
        limited = self._limited()
        if limited is not None:
            return limited
        answer = await self._log_in(request) if request.path == "/v2/auth/token" else self._answer(request)
        return self._with_limit(answer)

    def _answer(self, request: Request) -> Answer:
        known = _parse(request.path)
        if known is None or known.form not in self.forms:
            return _NOT_FOUND
        authorization = request.header("Authorization")
        member = authorization is not None and self._tokens.get(authorization, 0.0) > self.clock.now_s
        if authorization is not None and not member:
            return json_answer({"message": "unauthorized", "detail": "bad token"}, status=401)
        full = f"{known.namespace}/{known.repository}"
        if known.repository and (not self.store.knows(full) or (full in self.private and not member)):
            return _NOT_FOUND
        if request.method == "DELETE":
            return self._delete(full, known.tag, member=member)
        rows = self._tag_rows(full) if known.listing else self._repository_rows(known.namespace, member=member)
        return _NOT_FOUND if rows is None or known.tag else self._page(request, rows)

    async def _log_in(self, request: Request) -> Answer:
        auth = self.registry.profile.auth
        given = json.loads(await read_body(request))
        if (given.get("identifier"), given.get("secret")) != (auth.user, auth.password):
            return json_answer({"detail": "Incorrect authentication credentials"}, status=401)
        self.logins += 1
        text = f"hub-token-{self.logins}.{'y' * 16}"
        self._tokens[f"Bearer {text}"] = self.clock.now_s + _LIFE_S
        return json_answer({"access_token": text})

    def _delete(self, repository: str, tag: str, *, member: bool) -> Answer:
        if not member:
            return json_answer({"message": "unauthorized"}, status=401)
        if not self.may_delete:
            return json_answer({"message": "access denied"}, status=403)
        return Answer(status=204) if self.store.untag(repository, tag) else _NOT_FOUND

    def _repository_rows(self, namespace: str, *, member: bool) -> list[Mapping[str, object]] | None:
        names = [path.partition("/")[2] for path in self.store.repositories() if path.startswith(f"{namespace}/")]
        if not names:
            return None
        return [
            {
                "name": name,
                "namespace": namespace,
                "repository_type": "plugin" if f"{namespace}/{name}" in self.plugins else "image",
                "status": 1,
                "is_private": f"{namespace}/{name}" in self.private,
            }
            for name in sorted(names)
            if member or f"{namespace}/{name}" not in self.private
        ]

    def _tag_rows(self, repository: str) -> list[Mapping[str, object]]:
        tags = {tag: digest for tag, digest in self.store.tags(repository).items() if tag not in self.hidden}
        return [
            *self.more_rows,
            *({**self._row(tag, digest), **self.rows.get(tag, {})} for tag, digest in tags.items()),
        ]

    def _row(self, tag: str, digest: Digest) -> Mapping[str, object]:
        moment = self.clock.moment().isoformat().replace("+00:00", "Z")
        image = {"digest": str(digest), "os": "linux", "architecture": "amd64", "variant": None, "size": 1}
        return {
            "name": tag,
            "digest": str(digest),
            "media_type": "application/vnd.oci.image.index.v1+json",
            "tag_last_pushed": moment,
            "last_updated": moment,
            "tag_status": "active",
            "full_size": 1,
            "images": [image],
        }

    def _page(self, request: Request, rows: list[Mapping[str, object]]) -> Answer:
        number, asked = int(request.query("page") or 1), int(request.query("page_size") or 10)
        size = min(asked, self.page_entries, _LARGEST_PAGE)
        first = (number - 1) * size
        following = None
        if first + size < len(rows):
            host = self.next_host or self.registry.api_host
            query = urlencode({"page": number + 1, "page_size": asked})
            following = f"{self.registry.scheme}://{host}{request.path}?{query}"
        page = rows[first : first + size]
        return json_answer({"count": len(rows), "next": following, "previous": None, "results": page})

    def _limited(self) -> Answer | None:
        """Return the refusal of a request beyond the limit. Its hint is a moment, and no delay."""
        if self.limit is None:
            return None
        self._asked = [at for at in self._asked if at > self.clock.now_s - 60]
        if len(self._asked) < self.limit:
            self._asked.append(self.clock.now_s)
            return None
        return json_answer({"detail": "Rate limit exceeded"}, status=429, headers=[("X-Retry-After", self._reset())])

    def _with_limit(self, answer: Answer) -> Answer:
        if self.limit is None:
            return answer
        told = (
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(self.limit - len(self._asked))),
            ("X-RateLimit-Reset", self._reset()),
        )
        return Answer(status=answer.status, headers=(*answer.headers, *told), body=answer.body)

    def _reset(self) -> str:
        """Return the UNIX time at which there is room again."""
        oldest = self._asked[0] if self._asked else self.clock.now_s
        return str(int((self.clock.moment() + timedelta(seconds=oldest + 60 - self.clock.now_s)).timestamp()))


def _parse(path: str) -> _Path | None:
    match path.strip("/").split("/"):
        case ["v2", "namespaces", namespace, "repositories", *rest]:
            return _below("documented", namespace, rest)
        case ["v2", "repositories", namespace, *rest]:
            return _below("older", namespace, rest)
        case _:
            return None


def _below(form: Form, namespace: str, rest: list[str]) -> _Path | None:
    match rest:
        case []:
            return _Path(form, namespace)
        case [repository, "tags"]:
            return _Path(form, namespace, repository, listing=True)
        case [repository, "tags", tag]:
            return _Path(form, namespace, repository, tag=tag)
        case _:
            return None


DOCKERHUB = Profile(
    name="dockerhub",
    auth=Auth(scheme="bearer", service="registry.docker.io", anonymous_pull=True, ping_status=401),
    tags=TagList(page_entries=100),
    uploads=Uploads(location="absolute"),
    blobs=Blobs(redirect=307),
    referrers=Refusal(status=404, headers=(("Content-Type", "text/plain"),), body=b"404 page not found\n"),
    deletes=Deletes(tag=_UNSUPPORTED, manifest=_UNSUPPORTED),
    rate=Rate(
        pulls=100,
        window_s=21_600,
        refusal=Refusal(status=429, code="TOOMANYREQUESTS", message=PULL_LIMIT_TEXT),
    ),
    catalog=Refusal(status=401, code="UNAUTHORIZED", message="authentication required"),
    api=HubApi,
)
"""Docker Hub of 2026, with an account's quota of 100 pulls in 6 hours."""
