"""The token service of an emulated registry, and the check of what its tokens allow.

Source: distribution docs/content/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from mirrord.demo.registry.asgi import Answer, Receive, Request, Scope, Send, json_answer, send_answer
from mirrord.demo.registry.routes import Route, RouteKind
from tests.fakes.profiles import Auth, Refusal

Access = frozenset[tuple[str, str, str]]
"""(type, name, action), ``("repository", "team/app", "pull")`` for instance."""

REFRESH = "<refresh>"
"""The user under whose name refresh tokens are known, in `TokenService.also`."""

_START = datetime(2026, 1, 1, tzinfo=UTC)


class EmulatorClock:
    """The clock of an emulated registry: tokens, signatures and quotas run on it, and only the test moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def moment(self) -> datetime:
        """Return the wall-clock moment."""
        return _START + timedelta(seconds=self.now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An issued token. ``dies_at_s`` is on the emulator's clock."""

    text: str
    access: Access
    dies_at_s: float


class TokenService:
    """Issues opaque tokens, as an application on a port of its own, and knows which of them are good.

    No two registries issue the same: ``of`` is the name of the one that this is for.
    """

    def __init__(self, auth: Auth, clock: EmulatorClock, *, of: str = "") -> None:
        self.auth = auth
        self.clock = clock
        self.issued: dict[str, Token] = {}
        self._seal = hashlib.sha256(of.encode()).hexdigest()[:32]
        self.count = 0
        self.created: set[str] = set()
        self.exists: Callable[[str], bool] = lambda name: name in self.created
        self.also: set[tuple[str, str]] = set()
        """Further users with their passwords."""

    def revoke_all(self) -> None:
        """Let every token issued so far be refused from now on."""
        self.issued.clear()

    def access(self, token: str) -> Access | None:
        """Return what a token allows, or None if it is unknown or has died."""
        found = self.issued.get(token)
        return found.access if found is not None and found.dies_at_s > self.clock.now_s else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a GET with Basic credentials, or a POST with a form."""
        request = Request(scope, receive)
        answer = await self._answer(request)
        await send_answer(answer, send, head=request.method == "HEAD")

    async def _answer(self, request: Request) -> Answer:
        if request.path != self.auth.token_path or request.method not in {"GET", "POST"}:
            return json_answer({"details": "no such page"}, status=404)
        if request.method == "POST":
            form = parse_qs(b"".join([piece async for piece in request.pieces()]).decode())
            refreshes = self.auth.post_takes_refresh_tokens and form.get("grant_type") == ["refresh_token"]
            if self.auth.post is not None and not refreshes:
                return refusal_answer(self.auth.post)
            given = (form.get("username", [""])[0], form.get("password", [""])[0])
            if refreshes:
                given = (REFRESH, form.get("refresh_token", [""])[0])
            scopes = " ".join(form.get("scope", [])).split()
        else:
            given = basic_credential(request.header("Authorization")) or ("", "")
            query = parse_qs(request.query_string.decode("latin-1"))
            scopes = " ".join(query.get("scope", [])).split()
        return self._grant(given, scopes)

    def _grant(self, given: tuple[str, str], scopes: list[str]) -> Answer:
        anonymous = given == ("", "")
        if not anonymous and given != (self.auth.user, self.auth.password) and given not in self.also:
            return json_answer({"details": "incorrect username or password"}, status=401)
        if any(part in scope for scope in scopes for part in self.auth.refused_scopes):
            return json_answer({"details": "invalid scope"}, status=self.auth.refused_scope_status)
        if anonymous and not self.auth.anonymous_pull:
            return json_answer({"details": "unauthorized"}, status=401)
        allowed = self.auth.granted & {"pull"} if anonymous else self.auth.granted
        access = frozenset(item for item in parse_scopes(scopes) if item[2] in allowed)
        if self.auth.push_creates:
            self.created.update(name for _, name, action in access if action == "push")
            access = frozenset(item for item in access if self.exists(item[1]))
        if self.auth.opaque_scope and self.auth.opaque_scope in scopes:
            access |= {("*", "*", action) for action in allowed}
        self.count += 1
        text = f"token-{self.count}.{self._seal}-{self.count}"
        if self.auth.told_life_s is not None:
            claims = {"iat": 1_000_000, "exp": 1_000_000 + int(self.auth.told_life_s), "jti": self.count}
            text = jwt({**claims, "iss": self._seal})
        self.issued[text] = Token(text=text, access=access, dies_at_s=self.clock.now_s + self.auth.life_s)
        body: dict[str, object] = dict.fromkeys(self.auth.token_keys, text)
        if self.auth.expires_in is not None:
            body["expires_in"] = self.auth.expires_in
        if self.auth.issued_at_skew_s is not None:
            issued_at = datetime.now(UTC) + timedelta(seconds=self.auth.issued_at_skew_s)
            body["issued_at"] = issued_at.isoformat().replace("+00:00", "Z")
        return json_answer(body)


def jwt(claims: Mapping[str, object]) -> str:
    """Return a JWT that says this; its signature is none, but differs from those of others."""
    text = json.dumps(claims)
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}), text, hashlib.sha256(text.encode()).hexdigest()]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def parse_scopes(scopes: Iterable[str]) -> Access:
    """Return what scopes ask for, ``repository:team/app:pull,push`` for instance; nonsense asks for nothing."""
    found: set[tuple[str, str, str]] = set()
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, colon, actions = rest.rpartition(":")
        if colon:
            found.update((kind, name, action) for action in actions.split(",") if action)
    return frozenset(found)


def needed_access(request: Request, route: Route) -> Access:
    """Return what a request needs, as distribution has it: cancelling an upload needs ``delete``."""
    if route.kind is RouteKind.CATALOG:
        return frozenset({("registry", "catalog", "*")})
    if not route.repository:
        return frozenset()
    actions = {"GET": ("pull",), "HEAD": ("pull",), "DELETE": ("delete",)}.get(request.method, ("pull", "push"))
    needed = {("repository", route.repository, action) for action in actions}
    source = request.query("from")
    if source and request.query("mount"):
        needed.add(("repository", source, "pull"))
    return frozenset(needed)


def scope_text(access: Access) -> str:
    """Return access as the scope of a challenge."""
    names = sorted({(kind, name) for kind, name, _ in access})
    return " ".join(
        f"{kind}:{name}:{','.join(sorted(action for k, n, action in access if (k, n) == (kind, name)))}"
        for kind, name in names
    )


def basic_credential(authorization: str | None) -> tuple[str, str] | None:
    """Return user and password of a Basic header, or None."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return user, password


def refusal_answer(refusal: Refusal) -> Answer:
    """Return the answer that a refusal describes."""
    if refusal.body is not None:
        return Answer(status=refusal.status, headers=refusal.headers, body=refusal.body)
    body = {"errors": [{"code": refusal.code, "message": refusal.message}]}
    return json_answer(body, status=refusal.status, headers=refusal.headers)
