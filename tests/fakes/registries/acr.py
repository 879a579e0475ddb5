"""Azure Container Registry, emulated, with Entra ID (Azure AD) and the metadata service of a machine.

Source: Azure/acr, docs/AAD-OAuth.md; Azure REST API, Container Registry, Tag - Get List.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

from mirrord.demo.registry.asgi import Answer, Receive, Request, Scope, Send, json_answer, send_answer
from mirrord.demo.registry.routes import Route, RouteKind
from mirrord.demo.serving import serve
from tests.fakes.api import EmulatedApi, read_body
from tests.fakes.profiles import Auth, Blobs, Deletes, Manifests, Names, Profile, Refusal, TagList, Uploads
from tests.fakes.tokens import REFRESH, jwt

if TYPE_CHECKING:
    from tests.fakes.registry import FakeRegistry

HOST = "acme.azurecr.io"
ENTRA = "login.microsoftonline.com"
MACHINE = "imds.test"
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
GUID = "00000000-0000-0000-0000-000000000000"
_REFRESH_LIFE_S = 3 * 3600


class AcrApi(EmulatedApi):
    """``/oauth2/exchange`` and ``_tags``; listing needs a right of its own.

    ``rows`` are rows of ``_tags`` beside the true ones, ``most_in_a_page`` caps its pages, ``forms`` are the
    exchanges that were asked for.
    """

    prefixes = ("/acr/", "/oauth2/exchange")

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.access_tokens: set[str] = set()
        self.rows: list[object] = []
        self.most_in_a_page = 1000
        self.forms: list[dict[str, str]] = []
        self.exchanged = 0
        self.refresh_life_s = _REFRESH_LIFE_S

    def before(self, request: Request, route: Route) -> Answer | None:
        """Refuse a list of tags to a token without the right to list."""
        if route.kind is RouteKind.TAGS and not self._may_list(request, route.repository):
            return self._refuse(route.repository)
        return None

    async def answer(self, request: Request) -> Answer:
        """Exchange a token, or list tags with their digests."""
        if request.path == "/oauth2/exchange" and request.method == "POST":
            form = {name: values[0] for name, values in parse_qs((await read_body(request)).decode()).items()}
            return self._exchange(form)
        name = request.path.removeprefix("/acr/v1/").removesuffix("/_tags")
        if not request.path.endswith("/_tags") or request.method != "GET":
            return _error(404, "NOT_FOUND", "no such page")
        if not self._may_list(request, name):
            return self._refuse(name)
        if name not in self.store.repositories():
            return _error(404, "NAME_UNKNOWN", f"repository name not known to registry: {name}")
        return self._tags(request, name)

    def _exchange(self, form: dict[str, str]) -> Answer:
        self.forms.append(form)
        known = form.get("access_token") in self.access_tokens
        if form.get("grant_type") != "access_token" or form.get("service") != HOST or not known:
            return _error(401, "UNAUTHORIZED", "authentication required, the token has no access to this registry")
        self.exchanged += 1
        token = jwt({"iat": 1_000_000, "exp": 1_000_000 + self.refresh_life_s, "jti": self.exchanged})
        self.registry.tokens.also |= {(REFRESH, token), (GUID, token)}
        return json_answer({"refresh_token": token})

    def _may_list(self, request: Request, name: str) -> bool:
        access = self.registry.tokens.access((request.header("Authorization") or "").removeprefix("Bearer "))
        return access is not None and ("repository", name, "metadata_read") in access

    def _refuse(self, name: str) -> Answer:
        realm = f'realm="https://{HOST}/oauth2/token",service="{HOST}",scope="repository:{name}:metadata_read"'
        body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
        return json_answer(body, status=401, headers=[("WWW-Authenticate", f"Bearer {realm}")])

    def _tags(self, request: Request, name: str) -> Answer:
        tags = self.store.tags(name)
        rest = [tag for tag in sorted(tags) if tag > (request.query("last") or "")]
        size = min(int(request.query("n") or 100), self.most_in_a_page)
        page = rest[:size]
        rows: list[object] = [
            {
                "name": tag,
                "digest": str(tags[tag]),
                "createdTime": "2026-01-01T00:00:00.0Z",
                "lastUpdateTime": "2026-01-01T00:00:00.0Z",
                "signed": False,
                "changeableAttributes": {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True},
            }
            for tag in page
        ]
        body = {"registry": HOST, "imageName": name, "tags": [*self.rows, *rows]}
        if len(rest) <= size:
            return json_answer(body)
        query = urlencode({"last": page[-1], "n": size, "orderby": ""})
        return json_answer(body, headers=[("Link", f'</acr/v1/{name}/_tags?{query}>; rel="next"')])


class EntraApi(EmulatedApi):
    """Issues access tokens to an application that proves itself, under its own name; all paths are its.

    ``forms`` are the requests for tokens, with their paths; ``refusal`` stands in for all tokens.
    """

    prefixes = ("/",)

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.secret = "s3cret of the application"
        self.assertion = "jwt-of-the-pod"
        self.acr: AcrApi | None = None
        self.issued = 0

    async def answer(self, request: Request) -> Answer:
        """Answer a client credentials grant."""
        form = {name: values[0] for name, values in parse_qs((await read_body(request)).decode()).items()}
        self.forms.append((request.path, form))
        proven = form.get("client_secret") == self.secret or form.get("client_assertion") == self.assertion
        wanted = (f"/{TENANT}/oauth2/v2.0/token", "client_credentials", CLIENT)
        if (request.path, form.get("grant_type"), form.get("client_id")) != wanted or not proven:
            error = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
            return json_answer(error, status=401)
        if form.get("scope") != "https://containerregistry.azure.net/.default":
            return json_answer({"error": "invalid_scope"}, status=400)
        return self.issue()

    def issue(self) -> Answer:
        """Return a token that the registry exchanges."""
        self.issued += 1
        token = f"eyJ.entra-{self.issued}.{'x' * 16}-{self.issued}"
        assert self.acr is not None
        self.acr.access_tokens.add(token)
        return json_answer({"token_type": "Bearer", "expires_in": 3599, "access_token": token})


class Machine:
    """The metadata service of a machine: plain HTTP. ``identities`` are the client ids that it has, "" the own one.

    ``header`` is what it wants of apps; ``refusal`` stands in for all answers.
    """

    def __init__(self, entra: EntraApi) -> None:
        self.entra = entra
        self.identities = {""}
        self.asked: list[str] = []
        self.url = ""
        self.header = "header of the app"
        self.refusal: Answer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        await send_answer(self._answer(request), send)

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request.target.decode())
        if self.refusal is not None:
            return self.refusal
        own = request.path == "/msi/token"
        if not own and request.header("Metadata") != "true":
            return json_answer(
                {"error": "bad_request_102", "error_description": "Required metadata header"}, status=400
            )
        if own and request.header("X-IDENTITY-HEADER") != self.header:
            return json_answer({"error": "unauthorized"}, status=401)
        wanted = ("2019-08-01" if own else "2018-02-01", "https://containerregistry.azure.net")
        if (request.query("api-version"), request.query("resource")) != wanted:
            return json_answer({"error": "invalid_request"}, status=400)
        if (request.query("client_id") or "") not in self.identities:
            return json_answer({"error": "invalid_request", "error_description": "Identity not found"}, status=400)
        return self.entra.issue()


ACR = Profile(
    name="acr",
    auth=Auth(
        scheme="bearer",
        user="acme",
        password="password of the admin",
        token_path="/oauth2/token",
        service=HOST,
        token_keys=("access_token",),
        expires_in=None,
        life_s=75 * 60.0,
        granted=frozenset({"pull", "push", "delete", "metadata_read", "*"}),
        post=Refusal(status=400, code="UNSUPPORTED", message="unsupported grant type"),
        post_takes_refresh_tokens=True,
    ),
    tags=TagList(link="empty-parameter", page_entries=100),
    uploads=Uploads(content_range="required"),
    blobs=Blobs(redirect=307),
    manifests=Manifests(size_cap_bytes=4 * 1024 * 1024),
    deletes=Deletes(),
    api=AcrApi,
)
"""A registry of Azure; with ``Manifests(immutable_tags=LOCKED)`` all of its tags are locked."""

LOCKED = Refusal(
    status=405,
    code="REGISTRY_DISALLOWED_OPERATION",
    message="The operation is disallowed on this registry, repository or image. View troubleshooting steps at "
    "https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation",
)
LOCKED_BEFORE = Refusal(status=405, code="UNSUPPORTED", message="The operation is disallowed.")
NAMES_ACR = Names(registry=HOST, storage="acmeblobs.blob.core.windows.test")
ENTRA_ID = Profile(name="entra", api=EntraApi)
NAMES_ENTRA = Names(registry=ENTRA)


def api_of(registry: FakeRegistry) -> AcrApi:
    """Return the API of an emulated registry of Azure."""
    assert isinstance(registry.api, AcrApi)
    return registry.api


def entra_of(registry: FakeRegistry, acr: FakeRegistry) -> EntraApi:
    """Return the API of an emulated Entra ID, whose tokens are good at ``acr``."""
    assert isinstance(registry.api, EntraApi)
    registry.api.acr = api_of(acr)
    return registry.api


@asynccontextmanager
async def open_machine(registry: FakeRegistry, entra: EntraApi) -> AsyncIterator[Machine]:
    """Open the metadata service of a machine, under a name of the registry's net."""
    machine = Machine(entra)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await machine(scope, receive, send)

    async with serve(registry.watched(served, f"http://{MACHINE}"), grace_s=0.1) as address:
        registry.addresses[MACHINE] = address
        machine.url = f"http://{MACHINE}"
        yield machine


def _error(status: int, code: str, message: str) -> Answer:
    return json_answer({"errors": [{"code": code, "message": message}]}, status=status)
