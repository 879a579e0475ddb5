"""Who somebody is at Google, emulated: the token service, the metadata server, and files of credentials.

Source: RFC 7523 for keys of service accounts, RFC 6749 section 6 for users, RFC 8693 for workload identity; Compute
Engine, "Access tokens from the metadata server".
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

import trustme
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mirrord.demo.registry.asgi import Answer, Receive, Request, Scope, Send, json_answer, send_answer, text_answer
from mirrord.demo.serving import serve
from tests.fakes.api import read_body
from tests.fakes.registries.google import api_of
from tests.fakes.registry import FakeRegistry

METADATA = "metadata.google.internal"
TOKENS = "oauth2.googleapis.com"
ACCOUNT = "mirror@acme.iam.gserviceaccount.com"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@cache
def key() -> rsa.RSAPrivateKey:
    """Return the key of the service account; made once, since that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class GoogleIdentity:
    """Issues access tokens that an emulated registry takes. ``url`` is its address, over plain HTTP.

    ``secure`` is where it listens as oauth2.googleapis.com, with a certificate of ``authority``: google-auth asks
    that name for the tokens of users, whatever their files say.

    ``asked`` are the grants and pages that were asked for, ``proofs`` what they were asked for with. ``life_s`` is what
    a token is said to live. ``refusal`` stands in for all answers; ``account`` says whether the machine has a service
    account; ``flavor`` is what its metadata server says of itself.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.url = ""
        self.secure = ""
        self.authority = trustme.CA()
        self.asked: list[str] = []
        self.life_s = 3600
        self.refusal: Answer | None = None
        self.account = True
        self.flavor = "Google"
        self.issued: list[str] = []
        self.proofs: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        body = parse_qs((await read_body(request)).decode())
        form = {name: values[0] for name, values in body.items()}
        self.proofs += [form[name] for name in ("assertion", "subject_token", "refresh_token") if name in form]
        self.asked.append(form.get("grant_type", request.path))
        await send_answer(self.refusal or self._answer(request, form), send)

    def _answer(self, request: Request, form: Mapping[str, str]) -> Answer:
        if request.method == "POST" and request.path in {"/token", "/v1/token"}:
            grant = form.get("grant_type", "")
            return self._issue() if self._is_good(grant, form) else _invalid("Invalid grant: account not found")
        if request.header("Metadata-Flavor") != "Google":
            return text_answer(403, "Missing Metadata-Flavor:Google header.")
        flavor = (("Metadata-Flavor", self.flavor),) if self.flavor else ()
        if request.path == "/":
            return Answer(status=200, headers=flavor)
        if request.path != "/computeMetadata/v1/instance/service-accounts/default/token" or not self.account:
            return Answer(status=404, headers=flavor)
        return self._issue()

    def _is_good(self, grant: str, form: Mapping[str, str]) -> bool:
        if grant == _JWT_BEARER:
            return _is_signed(form.get("assertion", ""), "https://oauth2.googleapis.com/token")
        if grant == _EXCHANGE:
            return form.get("subject_token") == "jwt-of-the-pod"
        return grant == "refresh_token" and form.get("refresh_token") == "1//refresh"

    def _issue(self) -> Answer:
        token = f"ya29.issued-{len(self.issued) + 1}"
        self.issued.append(token)
        self.registry.tokens.also.add(("oauth2accesstoken", token))
        api_of(self.registry).tokens.add(token)
        exchanged = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return json_answer({"access_token": token, "expires_in": self.life_s, "token_type": "Bearer", **exchanged})

    def service_account(self, directory: Path) -> Path:
        """Write the key of a service account, and return its file."""
        pem = key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        fields = {"project_id": "acme", "private_key_id": "1", "private_key": pem.decode(), "client_email": ACCOUNT}
        return _write(directory / "key.json", {"type": "service_account", **fields, "token_uri": f"{self.url}/token"})

    def user(self, directory: Path) -> Path:
        """Write what `gcloud auth application-default login` leaves behind, and return the directory for gcloud."""
        fields = {"client_id": "id", "client_secret": "secret", "refresh_token": "1//refresh"}
        fields |= {"type": "authorized_user", "token_uri": f"{self.url}/token"}
        _write(directory / "application_default_credentials.json", fields)
        return directory

    def workload(self, directory: Path) -> Path:
        """Write a configuration of workload identity, which gets its identity from a file, and return its file."""
        subject = directory / "subject"
        subject.write_text("jwt-of-the-pod")
        fields = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/v1/token",
            "credential_source": {"file": str(subject)},
        }
        return _write(directory / "workload.json", fields)


@asynccontextmanager
async def open_identity(registry: FakeRegistry) -> AsyncIterator[GoogleIdentity]:
    """Open a token service; it is the metadata server of the registry's net too, under its own name."""
    identity = GoogleIdentity(registry)

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await identity(scope, receive, send)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.authority.issue_cert(TOKENS).configure_cert(context)
    async with (
        serve(registry.watched(served, f"http://{METADATA}"), grace_s=0.1) as address,
        serve(registry.watched(served, f"https://{TOKENS}"), grace_s=0.1, ssl_context=context) as identity.secure,
    ):
        identity.url = f"http://{address}"
        registry.addresses[METADATA] = address
        yield identity


def _write(file: Path, fields: Mapping[str, object]) -> Path:
    file.write_text(json.dumps(fields))
    return file


def _invalid(description: str) -> Answer:
    return json_answer({"error": "invalid_grant", "error_description": description}, status=400)


def _is_signed(assertion: str, audience: str) -> bool:
    """Say whether an assertion is one of the service account's, for this token service."""
    signed, _, signature = assertion.rpartition(".")
    try:
        key().public_key().verify(_decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    claims = json.loads(_decode(signed.partition(".")[2]))
    return bool(claims["iss"] == ACCOUNT and claims["aud"] == audience and "cloud-platform" in claims["scope"])


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
