"""Who mirrord is at an Azure registry: a token of Microsoft Entra ID (Azure AD), exchanged for one of the registry.

The identity is that of the environment, by the variables of Azure's own libraries: a federated token (workload
identity), a secret of an application, or the managed identity of the machine. No library is needed for it.
Sources: Azure/acr, docs/AAD-OAuth.md; Microsoft identity platform, "OAuth 2.0 client credentials flow"; Azure,
"How to use managed identities on an Azure VM to acquire an access token".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote as percent
from urllib.parse import urlencode, urlsplit

import anyio
import anyio.to_thread

from mirrord.errors import CredentialError, CredentialUnavailableError, RegistryError, quote
from mirrord.ports.credentials import Credential
from mirrord.registry.call import Answer, Call
from mirrord.registry.errortext import read_error_body
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.pages import read_json
from mirrord.registry.providers.renewing import Issued, RenewingCredentials
from mirrord.registry.providers.service import Api
from mirrord.registry.redact import hide
from mirrord.registry.tokenanswer import read_claims

TOKEN_USER: Final = "00000000-0000-0000-0000-000000000000"  # noqa: S105 - the user that says "I am a token"
AUDIENCE: Final = "https://containerregistry.azure.net"
LIFE_S: Final = 3 * 3600.0
"""How long the registry's refresh token lives."""
DEADLINE_S: Final = 30.0
"""For each of the tokens on the way."""
PROBE_S: Final = 1.0
"""For the metadata service to show that it is there: everywhere but at Azure this is what an anonymous run waits."""
MACHINE: Final = "http://169.254.169.254"

_AUTHORITIES: Final = {
    ".azurecr.io": "https://login.microsoftonline.com",
    ".azurecr.cn": "https://login.chinacloudapi.cn",
    ".azurecr.us": "https://login.microsoftonline.us",
}
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SECRET_FIELDS = ("client_secret", "client_assertion", "access_token")
_REFUSED = frozenset({400, 401, 403, 404, 405})
_ANSWERS = frozenset({200, *_REFUSED})
_SHORTEST_LIFE_S = 300.0
_LARGEST_TOKEN = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Access:
    """An access token of Entra ID, and whose it is."""

    token: str = field(repr=False)
    origin: str


class AcrCredentials(RenewingCredentials):
    """The identity of the environment, at one registry."""

    def __init__(self, api: Api) -> None:
        """Look for nothing yet."""
        super().__init__(api.clock, self._find)
        self._api = api
        self._clients: dict[str, RegistryHttp] = {}

    async def _find(self, host: str) -> Issued:
        try:
            access = await self._access(host)
            refresh = await self._exchange(host, access)
        except TimeoutError as exc:
            raise CredentialError(f"log in to {host} with Azure: no answer within {DEADLINE_S:.0f} s") from exc
        except RegistryError as exc:
            raise CredentialError(exc.message, remedy="check the way to Azure's token services") from exc
        credential = Credential(
            username=TOKEN_USER, secret=refresh, identity_token=refresh, origin=f"Azure, {access.origin}"
        )
        return Issued(credential=credential, life_s=_life_s(refresh))

    async def _access(self, host: str) -> _Access:
        """Return an access token of the first identity that the environment has."""
        environment = self._api.environment
        client, tenant = environment.get("AZURE_CLIENT_ID", ""), environment.get("AZURE_TENANT_ID", "")
        if client and tenant and (file := environment.get("AZURE_FEDERATED_TOKEN_FILE")):
            assertion = await anyio.to_thread.run_sync(_read_token_file, Path(file))
            proof = {"client_assertion_type": _ASSERTION, "client_assertion": assertion}
            return _Access(await self._log_in(host, client, tenant, proof), "workload identity")
        if client and tenant and (secret := environment.get("AZURE_CLIENT_SECRET")):
            return _Access(await self._log_in(host, client, tenant, {"client_secret": secret}), "application")
        return _Access(await self._ask_machine(host, client), "managed identity")

    async def _log_in(self, host: str, client: str, tenant: str, proof: Mapping[str, str]) -> str:
        """Get an access token for an application, by what proves that we are it."""
        authority = _authority(host, self._api.environment.get("AZURE_AUTHORITY_HOST", "").rstrip("/"))
        form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{AUDIENCE}/.default", **proof}
        what = f"log in to Azure as the application {client}"
        path = f"/{percent(tenant, safe='')}/oauth2/v2.0/token"
        answer = await self._post(authority, path, form, what)
        if answer.status in _REFUSED:
            raise CredentialError(
                f"{what}: {_said(answer)}",
                remedy="check AZURE_CLIENT_ID, AZURE_TENANT_ID and the federated token or secret that go with them",
            )
        return _member(answer, "access_token", what)

    async def _ask_machine(self, host: str, client: str) -> str:
        """Get an access token of the machine's managed identity, where the machine is one of Azure's."""
        environment = self._api.environment
        query = {"api-version": "2018-02-01", "resource": AUDIENCE}
        base, path, headers = MACHINE, "/metadata/identity/oauth2/token", {"Metadata": "true"}
        own, key = environment.get("IDENTITY_ENDPOINT"), environment.get("IDENTITY_HEADER")
        if own and key:  # App Service, Container Apps
            parts = urlsplit(own)
            base, path, headers = f"{parts.scheme}://{parts.netloc}", parts.path, {"X-IDENTITY-HEADER": key}
            query["api-version"] = "2019-08-01"
        elif named := environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST"):
            base = named.rstrip("/")
        http = self._client(base, direct=True)
        if not (own and key) and not await _is_there(http):
            raise _nobody(host, "no metadata service of Azure answers here")
        what = "ask the machine for a token of its managed identity"
        target = f"{path}?{urlencode({**query, **({'client_id': client} if client else {})}, quote_via=percent)}"
        call = Call(
            method="GET",
            target=target,
            what=what,
            scopes=(),
            headers=headers,
            ok=_ANSWERS,
            credential=False,
            follow=False,  # the header may be a secret, and nobody else has this machine's tokens to give
        )
        with anyio.fail_after(DEADLINE_S):
            answer = await http.request(call)
        if answer.status in _REFUSED:
            answer = replace(answer, body=hide(answer.body, [key] if key else []))
        if answer.status in _REFUSED and client:
            raise CredentialError(
                f"{what}, {client}: {_said(answer)}", remedy="give the machine the identity that AZURE_CLIENT_ID names"
            )
        if answer.status in _REFUSED:
            raise _nobody(host, "the machine has no managed identity")
        return _member(answer, "access_token", what)

    async def _exchange(self, host: str, access: _Access) -> str:
        """Exchange an access token for a refresh token of the registry itself."""
        what = f"exchange a token of Azure ({access.origin}) for one of {host}"
        form = {"grant_type": "access_token", "service": host, "access_token": access.token}
        if tenant := self._api.environment.get("AZURE_TENANT_ID"):
            form["tenant"] = tenant
        scheme = "http" if self._api.settings.plain_http else "https"
        answer = await self._post(f"{scheme}://{host}", "/oauth2/exchange", form, what)
        if answer.status in _REFUSED:
            raise CredentialError(
                f"{what}: {_said(answer)}",
                remedy="give the identity a role at the registry: AcrPull to read, AcrPush to write",
            )
        return _member(answer, "refresh_token", what)

    async def _post(self, base: str, path: str, form: Mapping[str, str], what: str) -> Answer:
        secrets = tuple(form[name] for name in _SECRET_FIELDS if name in form)
        call = Call(
            method="POST",
            target=path,
            what=what,
            scopes=(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=urlencode(form, quote_via=percent).encode(),
            secrets=secrets,
            ok=_ANSWERS,
            credential=False,
            follow=False,
        )
        with anyio.fail_after(DEADLINE_S):
            answer = await self._client(base).request(call)
        return replace(answer, body=hide(answer.body, secrets)) if answer.status in _REFUSED else answer

    def _client(self, base: str, *, direct: bool = False) -> RegistryHttp:
        if base not in self._clients:
            self._clients[base] = self._api.open(base, _without, direct=direct)
        return self._clients[base]


async def _without() -> str | None:
    return None


def _authority(host: str, named: str) -> str:
    """Return where tokens are issued: as the environment names it, else that of the registry's cloud."""
    if named:
        authority = named if "://" in named else f"https://{named}"
        if not authority.startswith("https://"):
            raise CredentialError(
                f"AZURE_AUTHORITY_HOST is {quote(named)}, where a secret would go without TLS", remedy="use https"
            )
        return authority
    return next(
        (authority for suffix, authority in _AUTHORITIES.items() if host.endswith(suffix)), _AUTHORITIES[".azurecr.io"]
    )


def _nobody(host: str, why: str) -> CredentialUnavailableError:
    return CredentialUnavailableError(
        f"there is no identity of Azure: {why}",
        remedy="give mirrord one (AZURE_CLIENT_ID and AZURE_TENANT_ID with AZURE_FEDERATED_TOKEN_FILE or "
        "AZURE_CLIENT_SECRET, or a managed identity of the machine), log in with `az acr login`, or give "
        f'"{host}" a username and password',
    )


async def _is_there(http: RegistryHttp) -> bool:
    """Say whether a metadata service answers: it refuses a request without its header, which shows it as well."""
    call = Call(
        method="GET",
        target="/metadata/identity/oauth2/token",
        what="look for the metadata service",
        scopes=(),
        ok=range(200, 500),
        credential=False,
        follow=False,
    )
    with anyio.move_on_after(PROBE_S):
        try:
            async with http.throttle.place(), http.open(call):
                return True
        except RegistryError:
            pass
    return False


def _read_token_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            text = stream.read(_LARGEST_TOKEN).decode().strip()
    except (OSError, ValueError) as exc:
        raise CredentialError(
            f"the token in {file} (AZURE_FEDERATED_TOKEN_FILE) cannot be read: {getattr(exc, 'strerror', 'no text')}",
            remedy="let the pod's service account use workload identity, which mounts that file",
        ) from exc
    if not text:
        raise CredentialError(f"the file {file} (AZURE_FEDERATED_TOKEN_FILE) is empty", remedy="mount the token there")
    return text


def _said(answer: Answer) -> str:
    """Return what a refusal says, in the words of the service; no token of ours is ever in it."""
    excerpt = read_error_body(answer.body).excerpt
    return f"status {answer.status}{f': {quote(excerpt)}' if excerpt else ''}"


def _member(answer: Answer, name: str, what: str) -> str:
    fields = read_json(answer, what)
    token = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(token, str) or not token:
        raise CredentialError(f"{what}: the answer has no {name}")
    return token


def _life_s(refresh: str) -> float:
    """Return the life of a refresh token; one that says that it is shorter is believed."""
    claims = read_claims(refresh)
    begins, ends = claims.get("iat"), claims.get("exp")
    if not isinstance(begins, int) or not isinstance(ends, int):
        return LIFE_S
    return min(max(float(ends - begins), _SHORTEST_LIFE_S), LIFE_S)
