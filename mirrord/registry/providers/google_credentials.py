"""Who mirrord is at Google: application default credentials, as an OAuth access token of about an hour.

They are looked for as Google's own tools do: the file that GOOGLE_APPLICATION_CREDENTIALS names, the file that
`gcloud auth application-default login` leaves behind, the metadata server of the machine. Files are read by
google-auth, in a worker thread; the metadata server needs no library.
Source: Google Cloud, "How Application Default Credentials works"; Compute Engine, "Access tokens from the metadata
server"; GKE, "About Workload Identity Federation", for the first two headers.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from mirrord.errors import CredentialError, CredentialUnavailableError, RegistryError, quote
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import ENVIRONMENT_PROXY
from mirrord.registry.call import Call
from mirrord.registry.http import RegistryHttp
from mirrord.registry.providers.pages import read_json
from mirrord.registry.providers.renewing import Issued, RenewingCredentials
from mirrord.registry.providers.service import Api
from mirrord.registry.redact import redact_text

OAUTH_USER: Final = "oauth2accesstoken"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
METADATA_HOST: Final = "metadata.google.internal"
THREADS: Final = 2
DEADLINE_S: Final = 30.0
"""For a token, whatever has to be asked on the way."""
PROBE_S: Final = 1.0
"""For the metadata server to show that it is there: everywhere but at Google this is what an anonymous run waits."""

_REQUEST_S = 10
_LARGEST_FILE = 1024 * 1024
_TOKEN_PATH = f"/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}"
_TALKATIVE = ("google.auth", "google.oauth2", "urllib3")
_INSTALL = "in a checkout of mirrord: pip install '.[gcp]'"
_KINDS: Mapping[str, tuple[str, str, bool]] = {
    "service_account": ("google.oauth2.service_account", "from_service_account_info", True),
    "authorized_user": ("google.oauth2.credentials", "from_authorized_user_info", False),
    "external_account/aws": ("google.auth.aws", "from_info", True),
    "external_account/executable": ("google.auth.pluggable", "from_info", True),
    "external_account/file": ("google.auth.identity_pool", "from_info", True),
    "external_account_authorized_user": ("google.auth.external_account_authorized_user", "from_info", False),
    "impersonated_service_account": (
        "google.auth.impersonated_credentials",
        "from_impersonated_service_account_info",
        True,
    ),
}
"""The types of credential files: module and maker of google-auth's class, and whether it wants scopes."""


class GoogleCredentials(RenewingCredentials):
    """Application default credentials for one of Google's registries."""

    def __init__(self, api: Api) -> None:
        """Look for nothing yet."""
        super().__init__(api.clock, self._find)
        self._api = api
        self._limiter = anyio.CapacityLimiter(THREADS)
        self._metadata: RegistryHttp | None = None

    async def _find(self, host: str) -> Issued:
        for variable, file in self._files():
            info = await anyio.to_thread.run_sync(_read_file, variable, file, limiter=self._limiter)
            if info is not None:
                return await self._log_in(info, f"{file} ({variable})" if variable else str(file))
        return await self._ask_machine(host)

    def _files(self) -> list[tuple[str, Path]]:
        """Return the places of credential files, each with the variable that names it: such a file must be there."""
        environment = self._api.environment
        if named := environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
            return [("GOOGLE_APPLICATION_CREDENTIALS", Path(named))]
        home = environment.get("HOME")
        below = environment.get("CLOUDSDK_CONFIG") or (home and f"{home}/.config/gcloud")
        return [("", Path(below) / "application_default_credentials.json")] if below else []

    async def _log_in(self, info: Mapping[str, Any], origin: str) -> Issued:
        """Get a token with what a file holds."""
        what = f"log in to Google with {origin}"
        proxy = self._api.settings.proxy
        try:
            with anyio.fail_after(DEADLINE_S):
                token, life_s = await anyio.to_thread.run_sync(
                    partial(_fetch, info, None if proxy == ENVIRONMENT_PROXY else proxy),
                    limiter=self._limiter,
                    abandon_on_cancel=True,
                )
        except Exception as exc:
            raise _to_error(exc, what, origin) from exc
        return Issued(credential=_credential(token, origin), life_s=life_s)

    async def _ask_machine(self, host: str) -> Issued:
        """Get a token of the machine's own service account, where the machine is one of Google's."""
        environment = self._api.environment
        named = environment.get("GCE_METADATA_HOST", "")
        if not named and environment.get("NO_GCE_CHECK", "").lower() == "true":
            raise _nobody(host, "the metadata server is not asked (NO_GCE_CHECK)")
        what = "ask the metadata server for a token"
        try:
            http = self._metadata = self._metadata or self._api.open(
                f"http://{named or METADATA_HOST}", _without, direct=True
            )
            if not named and not await _is_there(http):
                raise _nobody(host, "no metadata server of Google answers here")
            with anyio.fail_after(DEADLINE_S):
                answer = await http.request(_about(_TOKEN_PATH, what, ok=frozenset({200, 404})))
            if answer.status == 404:  # noqa: PLR2004 - Not Found
                raise _nobody(host, "the machine has no service account")
            fields = read_json(answer, what)
        except TimeoutError as exc:
            raise CredentialError(f"{what}: no answer within {DEADLINE_S:.0f} s") from exc
        except RegistryError as exc:
            raise CredentialError(
                exc.message, remedy="let the machine's service account issue tokens (GKE: bind it to the pod's account)"
            ) from exc
        token, life_s = _read_token(fields, what)
        return Issued(credential=_credential(token, "the metadata server of Google"), life_s=life_s)


def _credential(token: str, origin: str) -> Credential:
    return Credential(username=OAUTH_USER, secret=token, origin=origin)


async def _without() -> str | None:
    return None


def _nobody(host: str, why: str) -> CredentialUnavailableError:
    return CredentialUnavailableError(
        f"there are no credentials of Google: {why}",
        remedy="log in (`gcloud auth application-default login`), name a key in GOOGLE_APPLICATION_CREDENTIALS, "
        f'or give "{host}" a username and password',
    )


def _about(target: str, what: str, *, ok: frozenset[int] = frozenset({200})) -> Call:
    headers = {"Metadata-Flavor": "Google"}
    return Call(
        method="GET", target=target, what=what, scopes=(), headers=headers, ok=ok, credential=False, follow=False
    )


async def _is_there(http: RegistryHttp) -> bool:
    """Say whether a metadata server of Google answers: other clouds have one too, at the same address."""
    with anyio.move_on_after(PROBE_S):
        try:
            async with http.throttle.place(), http.open(_about("/", "look for the metadata server")) as response:
                return bool(response.headers.get("metadata-flavor") == "Google")
        except RegistryError:
            pass
    return False


def _read_token(fields: object, what: str) -> tuple[str, float]:
    token = fields.get("access_token") if isinstance(fields, dict) else None
    life_s = fields.get("expires_in") if isinstance(fields, dict) else None
    if not isinstance(token, str) or not token or not isinstance(life_s, int | float) or not 0 < life_s < math.inf:
        raise CredentialError(f"{what}: the answer has no usable token")
    return token, float(life_s)


def _read_file(variable: str, file: Path) -> dict[str, Any] | None:
    """Return what a credential file holds; None where it is not there, and nobody said that it is.

    Raises:
        CredentialError: it cannot be read, or is no JSON object.
    """
    what = f"{file} ({variable})" if variable else str(file)
    remedy = f"let {variable} name a file of credentials" if variable else "log in again, or delete the file"
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise CredentialError(f"{what} is too large for a file of credentials", remedy=remedy)
        found = json.loads(file.read_bytes())
    except FileNotFoundError as exc:
        if not variable:
            return None
        raise CredentialError(f"{what} does not exist", remedy=remedy) from exc
    except OSError as exc:
        raise CredentialError(f"{what} cannot be read: {exc.strerror}", remedy=remedy) from exc
    except (ValueError, RecursionError) as exc:
        raise CredentialError(f"{what} is no JSON", remedy=remedy) from exc
    if not isinstance(found, dict):
        raise CredentialError(f"{what} is no JSON object", remedy=remedy)
    return found


def _fetch(info: Mapping[str, Any], proxy: str | None) -> tuple[str, float]:
    """Return an access token and its life in seconds; blocks. google-auth and requests are imported here."""
    import requests  # noqa: PLC0415 - an optional extra
    from google.auth.transport.requests import Request  # noqa: PLC0415 - an optional extra, and slow to import

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)  # below that they write tokens
    with requests.Session() as session:
        if proxy is not None:
            session.proxies.update({"http": proxy, "https": proxy})
        send = Request(session)

        def bounded(url: str, *arguments: Any, **options: Any) -> Any:
            # What proves an identity goes to the service that the file names: requests would send it on elsewhere.
            return send(url, *arguments, **{**options, "timeout": _REQUEST_S, "allow_redirects": False})

        credentials = _load(info)
        credentials.refresh(bounded)
    if not credentials.token or credentials.expiry is None:
        raise CredentialError("the answer has no usable token")
    left = credentials.expiry.replace(tzinfo=UTC) - datetime.now(UTC)
    return credentials.token, left.total_seconds()


def _load(info: Mapping[str, Any]) -> Any:
    """Return google-auth's credentials for what a file holds. Raises ValueError if it is nothing of the kind."""
    kind = str(info.get("type"))
    if kind == "external_account":
        kind = _external_kind(info.get("credential_source"))
    if kind not in _KINDS:
        raise CredentialError(f'"{quote(kind, 60)}" is no type of credentials that mirrord knows')
    module, maker, scoped = _KINDS[kind]
    make = getattr(importlib.import_module(module).Credentials, maker)
    return make(info, scopes=[SCOPE]) if scoped else make(info)


def _external_kind(source: object) -> str:
    """Return the kind of workload identity, by where the identity comes from: AWS, a program, or a file or URL."""
    if isinstance(source, dict) and str(source.get("environment_id", "")).startswith("aws"):
        return "external_account/aws"
    return "external_account/" + ("executable" if isinstance(source, dict) and "executable" in source else "file")


def _to_error(exc: Exception, what: str, origin: str) -> CredentialError:
    """Return what an error of google-auth means. The only place where foreign errors get a meaning."""
    if isinstance(exc, ImportError):
        return CredentialUnavailableError(
            f"{what}: google-auth and requests are not installed",
            remedy=f"{_INSTALL}, without which {origin} cannot be used",
        )
    if isinstance(exc, TimeoutError):
        return CredentialError(f"{what}: no token within {DEADLINE_S:.0f} s", remedy="check the way to Google")
    if isinstance(exc, CredentialError):
        return CredentialError(f"{what}: {exc.message}", remedy="use another file of credentials")
    from google.auth import exceptions  # noqa: PLC0415 - there is a google-auth, or this would be an ImportError

    said = quote(redact_text(" ".join(str(exc.args[0] if exc.args else exc).split())))
    match exc:
        case exceptions.TransportError():
            return CredentialError(f"{what}: {said}", remedy="check the way to Google's token service")
        case exceptions.RefreshError():
            return CredentialError(
                f"{what}: Google gives no token: {said}",
                remedy="log in again, or use a key that is still good; check the machine's clock",
            )
        case _:  # a broken key, a field that lacks: such texts may quote what the file holds
            return CredentialError(f"{what}: {type(exc).__name__}", remedy="create the file of credentials anew")
