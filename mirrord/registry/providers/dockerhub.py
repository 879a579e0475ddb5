"""Docker Hub: its name, the hosts behind it, its quota of pulls, and its own API.

The Hub API at hub.docker.com lists repositories and tags, and deletes tags: the registry does neither. It has a limit
of its own per minute, which has nothing to do with the quota of pulls.

Source: Docker's manuals, docker-hub/usage/pulls.md; Docker's reference, api/hub/latest.yaml; the token protocol of the
distribution project, token.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote as percent

import anyio

from mirrord.errors import (
    InvalidReferenceError,
    NotFoundError,
    ProtocolViolationError,
    RegistryError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import DOCKER_HUB, Repository, Tag, parse_repository_path
from mirrord.planning.listing import ListingTraits, TagPage
from mirrord.ports.credentials import Credential
from mirrord.registry.call import Answer, Call
from mirrord.registry.providers.base import Abilities, Provider
from mirrord.registry.providers.pages import entries_of, json_pages, read_json
from mirrord.registry.providers.rows import NewestRows, read_digest
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.retry import LONGEST_HINT_S

HUB: Final = "https://hub.docker.com"
PAGE_SIZE: Final = 100
TOKEN_LIFE_S: Final = 8 * 60.0
"""The Hub API's tokens live for ten minutes; they are renewed before."""

LOGIN_REFUSED_FOR_S: Final = 15 * 60.0
"""A credential that the Hub API refused is not tried again for so long: too many tries lock the account."""

LOGIN_FAILED_FOR_S: Final = 15.0
"""A log-in that failed otherwise is not tried again for so long, by whoever waited for it."""

DROP_EVERY_S: Final = 60.0
"""A token that is refused is renewed once in so many seconds: else a right lacks, and each log-in counts."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_DELETED: Final = frozenset({200, 202, 204, 404})
_OTHER_FORM: Final = frozenset({404, 405})
_PARTS: Final = 2


class DockerHubProvider(Provider):
    """Docker Hub. Requests go to registry-1.docker.io, tokens come from auth.docker.io."""

    name = "dockerhub"
    abilities = Abilities(referrers_api=None, metered=True, deletes_digests=False)
    listing = ListingTraits(page_size=PAGE_SIZE, has_digests=True)

    def matches(self, host: str) -> bool:
        """Match ``docker.io``, to which references normalise all aliases."""
        return host == DOCKER_HUB

    def endpoint(self, host: str) -> str:  # noqa: ARG002 - one endpoint for all names
        """Return the host that answers for ``docker.io``."""
        return "registry-1.docker.io"

    def auth_hosts(self, host: str) -> tuple[str, ...]:  # noqa: ARG002 - one token service
        """Return Docker Hub's token service."""
        return ("auth.docker.io",)

    def explain_catalog(self, host: str) -> str:
        """Say that Docker Hub lists the repositories of one namespace, and not all of them."""
        return f"Docker Hub has no catalog; name the repositories in the rules, or a namespace: {host}/NAMESPACE/*"

    def service(self, api: Api) -> RegistryService:
        """Return the service that works with the Hub API."""
        return DockerHubService(api)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    credential_key: str
    good_until: float


class DockerHubService(RegistryService):
    """What Docker Hub does by its own API. Anonymous where there is no credential: public repositories are shown."""

    def __init__(self, api: Api) -> None:
        """Ask nothing yet."""
        super().__init__(api)
        self._hub = api.open(HUB, self._authorization, wants=_wants(api.host), drop=self._drop_token)
        self._token: _Token | None = None
        self._refused: tuple[str, float, RegistryError] | None = None
        self._login = anyio.Lock()
        self._may_drop_at = 0.0

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags of a repository with their digests, as the Hub API tells them.

        ``created`` stays open: the Hub tells when a tag was pushed, not when its image was made. Tags that are
        "inactive" were merely not pulled for a while, and are tags like any other. Of several rows of one name the
        last that was pushed counts; where that cannot be told apart, the digest is unknown.

        Raises:
            UnsupportedError: Docker Hub has no repository of such a path.
        """
        namespace, name = _split(path, self.api.host)
        what = f"list the tags of {self.api.host}/{path} by the Hub API"
        rows: NewestRows[str] = NewestRows()
        async for page in self._pages(namespace, f"{name}/tags", what):
            for row in entries_of(page, "results", what):
                rows.add(row.get("name"), str(row.get("tag_last_pushed") or ""), read_digest(row.get("digest")))
            yield rows.page()

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of the namespace that ``prefix`` names: ``library``, ``library/`` or ``library/ngin``.

        Raises:
            UnsupportedError: the prefix names no namespace.
            NotFoundError: there is no such namespace.
            InvalidReferenceError: the namespace is no name.
        """
        namespace = prefix.partition("/")[0]
        if not namespace:
            raise UnsupportedError(
                f"the repositories of {self.api.host} cannot be listed",
                host=self.api.host,
                remedy=DockerHubProvider().explain_catalog(self.api.host),
            )
        what = f"list the repositories of {self.api.host}/{namespace}"
        seen: set[str] = set()
        async for page in self._pages(parse_repository_path(namespace), "", what):
            for row in entries_of(page, "results", what):
                path = repository_path(namespace, row)
                if path is not None and path not in seen and path.startswith(prefix):
                    seen.add(path)
                    yield Repository(self.api.host, path)

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete a tag by the Hub API; what is not there counts as deleted.

        Raises:
            UnsupportedError: a digest was named; Docker Hub deletes tags alone.
            UnauthorizedError: there is no credential, or not one of the account.
        """
        name = f"{self.api.host}/{path}"
        if isinstance(ref, Digest):
            raise UnsupportedError(
                f"delete {name}@{ref}: Docker Hub deletes tags, and no manifests by digest",
                host=self.api.host,
                remedy="delete its tags by name",
            )
        namespace, repository = _split(path, self.api.host)
        what = f"delete {name}:{ref} by the Hub API"
        credential = await self.api.credential()
        if not _can_log_in(credential):
            raise UnauthorizedError(
                f"{what}: this takes a user with a password or token, and none is configured",
                host=self.api.host,
                remedy=f'add username and password for "{self.api.host}" under registries: an access token with the '
                "right to delete",
            )
        tail = f"{repository}/tags/{percent(ref.name, safe='')}"
        status = (await self._ask("DELETE", _documented(namespace, tail), what, ok=_DELETED | _OTHER_FORM)).status
        if status in _OTHER_FORM:  # nothing of that name, or a Hub that knows the older form alone
            await self._ask("DELETE", _older(namespace, f"{tail}/"), what, ok=_DELETED)

    async def _pages(self, namespace: str, tail: str, what: str) -> AsyncIterator[object]:
        """Yield the pages of a listing, by the documented form of its path or else by the older one."""
        query = f"?page=1&page_size={PAGE_SIZE}"
        targets = [_documented(namespace, tail) + query, _older(namespace, f"{tail}/" if tail else "") + query]
        begun = False
        while True:
            try:
                async for page in json_pages(self._hub, targets[0], what, self._following):
                    begun = True
                    yield page
                return
            except NotFoundError:
                if begun or len(targets) == 1:
                    raise
                targets.pop(0)

    def _following(self, answer: Answer, page: object) -> str | None:
        """Return the next page's URL; rest first where the API's own limit is used up for now."""
        self._heed_limit(answer)
        following = page.get("next") if isinstance(page, dict) else None
        if following is None:
            return None
        if not isinstance(following, str) or not following:
            raise ProtocolViolationError(
                "the Hub API names a next page that is no URL", code="API_ANSWER_INVALID", host=self._hub.host
            )
        return following

    def _heed_limit(self, answer: Answer) -> None:
        """Pause this API, and nothing else, when its limit per minute is reached.

        Source: latest.yaml, "Rate Limiting": X-RateLimit-Remaining, X-RateLimit-Reset as UNIX time.
        """
        remaining, reset = (answer.headers.get(f"x-ratelimit-{name}", "") for name in ("remaining", "reset"))
        if remaining.strip() == "0" and re.fullmatch(r"\d{1,12}", reset.strip()):
            wait_s = int(reset) - self.api.clock.now().timestamp()
            if 0 < wait_s <= LONGEST_HINT_S:
                self._hub.throttle.pause(wait_s)

    async def _ask(self, method: str, target: str, what: str, *, ok: Collection[int]) -> Answer:
        call = Call(method=method, target=target, what=what, scopes=(), ok=ok, follow=False)
        return await self._hub.request(call)

    def _drop_token(self, refused: str) -> None:
        """Forget the token if it was refused; one that was fetched just now is no worse than the next would be."""
        token = self._token
        if token is not None and refused == f"Bearer {token.text}" and self._may_drop_at <= self.api.clock.monotonic():
            self._may_drop_at = self.api.clock.monotonic() + DROP_EVERY_S
            self._token = None

    async def _authorization(self) -> str | None:
        """Return the Hub API's own token, fetched by the first who needs it; None to ask anonymously."""
        credential = await self.api.credential()
        if credential is None or not _can_log_in(credential):
            return None
        async with self._login:
            now = self.api.clock.monotonic()
            token = self._token
            if token is None or token.credential_key != credential.key or token.good_until <= now:
                self._raise_known_refusal(credential, now)
                self._token = token = await self._log_in(credential)
        return f"Bearer {token.text}"

    async def _log_in(self, credential: Credential) -> _Token:
        """Exchange the credential for a token. Takes no place: who waits for the token holds one.

        Source: latest.yaml, "Create access token".
        """
        what = f'log in to the Hub API as "{credential.username}"'
        body = json.dumps({"identifier": credential.username, "secret": credential.secret}).encode()
        call = Call(
            method="POST",
            target="/v2/auth/token",
            what=what,
            scopes=(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            content=body,
            secrets=(credential.secret,),
            credential=False,
            follow=False,
        )
        asked = self.api.clock.monotonic()
        try:
            answer = await self._hub.request(call, held=True)
        except RegistryError as exc:
            exc.retryable = False  # it had its tries: retries must not multiply
            for_s = LOGIN_REFUSED_FOR_S if exc.status in (400, 401, 403) else LOGIN_FAILED_FOR_S
            self._refused = (credential.key, self.api.clock.monotonic() + for_s, exc)
            raise
        fields = read_json(answer, what)
        text = fields.get("access_token") or fields.get("token") if isinstance(fields, dict) else None
        if not isinstance(text, str) or not _TOKEN.fullmatch(text):
            raise ProtocolViolationError(
                f"{what}: the answer holds no usable token", code="TOKEN_INVALID", host=self._hub.host
            )
        return _Token(text, credential.key, asked + TOKEN_LIFE_S)

    def _raise_known_refusal(self, credential: Credential, now: float) -> None:
        if self._refused is not None:
            key, until, known = self._refused
            if key == credential.key and now < until:
                raise type(known)(
                    known.message,
                    host=known.host,
                    status=known.status,
                    code=known.code,
                    remedy=known.remedy,
                    retryable=False,
                ) from known


def _wants(host: str) -> str:
    return (
        f'set username and password for "{host}" under registries: an access token with the right to read, and to '
        "delete where tags are deleted, of an account that may see the repository"
    )


def _can_log_in(credential: Credential | None) -> bool:
    return credential is not None and bool(credential.username and credential.secret)


def _documented(namespace: str, tail: str) -> str:
    return f"/v2/namespaces/{namespace}/repositories" + (f"/{tail}" if tail else "")


def _older(namespace: str, tail: str) -> str:
    return f"/v2/repositories/{namespace}/{tail}"


def _split(path: str, host: str) -> tuple[str, str]:
    """Return namespace and name of a repository's path, both of which are safe in a URL by their grammar."""
    parts = path.split("/")
    if len(parts) != _PARTS:
        raise UnsupportedError(
            f"{host}/{path}: the repositories of Docker Hub have a namespace and a name, no more", host=host
        )
    return parts[0], parts[1]


def repository_path(namespace: str, row: dict[str, object]) -> str | None:
    """Return the path of a repository of images; None for plugins, and for names that are none."""
    name, kind = row.get("name"), row.get("repository_type")
    if not isinstance(name, str) or kind not in (None, "", "image"):
        return None
    try:
        return parse_repository_path(f"{namespace}/{name}")
    except InvalidReferenceError:
        return None
