"""Who is let in to an emulated registry, and the 401 for everybody else."""

from __future__ import annotations

from mirrord.demo.registry.asgi import Answer, Request, json_answer
from mirrord.demo.registry.routes import Route, RouteKind
from tests.fakes.profiles import Auth, Refusal
from tests.fakes.tokens import TokenService, basic_credential, needed_access, refusal_answer, scope_text

_BASIC = 'Basic realm="Registry"'


def refuse_access(  # noqa: PLR0911 - one line for each case
    auth: Auth, tokens: TokenService, realm: str, request: Request, route: Route
) -> Answer | None:
    """Return the 401 for a request without the right credential, or None if it may pass."""
    if auth.scheme == "none" or (route.kind is RouteKind.PING and auth.ping_status == 200):
        return None
    authorization = request.header("Authorization")
    if auth.scheme == "basic" and auth.expired is not None:
        return _refuse_issued(auth, auth.expired, tokens, authorization)
    if auth.scheme == "basic":
        known = basic_credential(authorization) == (auth.user, auth.password)
        return None if known else _unauthorized(auth, [_BASIC])
    kind, _, token = (authorization or "").partition(" ")
    access = tokens.access(token) if kind.lower() == "bearer" else None
    needed = frozenset(
        (kind, name, auth.delete_action if action == "delete" else action)
        for kind, name, action in needed_access(request, route)
        if kind != "registry" or auth.catalog_scope
    )
    if access is not None and all(item in access or ("*", "*", item[2]) in access for item in needed):
        return None
    problem = "" if authorization is None else "invalid_token" if access is None else "insufficient_scope"
    style = "ping" if route.kind is RouteKind.PING else auth.repository_challenge
    if style == "flip":
        style = "scope" if authorization is None and route.kind is not RouteKind.CATALOG else "basic"
    if style == "scope":
        return _unauthorized(auth, _challenges(auth, realm, scope_text(needed), problem))
    if style == "ping":
        return _unauthorized(auth, _challenges(auth, realm, auth.ping_scope, ""))
    return _unauthorized(auth, {"none": [], "empty": [""], "basic": [_BASIC]}[style])


def _refuse_issued(auth: Auth, expired: Refusal, tokens: TokenService, authorization: str | None) -> Answer | None:
    """Judge a password that the registry's own API issued."""
    user, password = basic_credential(authorization) or ("", "")
    issued = tokens.issued.get(password) if user == auth.user else None
    if issued is None:
        return _unauthorized(auth, [f'Basic realm="{auth.realm}",service="{auth.service}"'])
    return refusal_answer(expired) if issued.dies_at_s <= tokens.clock.now_s else None


def _challenges(auth: Auth, realm: str, scope: str, problem: str) -> list[str]:
    parts = {"realm": auth.realm or realm, "service": auth.service, "scope": scope, "error": problem}
    bearer = "Bearer " + ",".join(f'{name}="{value}"' for name, value in parts.items() if value)
    if auth.challenge_form == "two-headers":
        return ["Negotiate", bearer]
    if auth.challenge_form == "one-header-of-two":
        return [f'Basic realm="one, or two", {bearer}']
    return [bearer]


def _unauthorized(auth: Auth, challenges: list[str]) -> Answer:
    error = {"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}
    headers = [("Docker-Distribution-Api-Version", "registry/2.0"), *(("WWW-Authenticate", one) for one in challenges)]
    return json_answer(error if auth.bare_refusals else {"errors": [error]}, status=401, headers=headers)
