"""ECR, emulated: private and public, with the API of AWS beside it.

    async with Internet() as internet:
        registry = await internet.join(ECR, NAMES_ECR)
        async with control_plane(registry, monkeypatch) as control:
            async with internet.client(HOST, ...) as client: ...
        assert control.calls("CreateRepository") == 1

boto3 reads the process's own environment, so the API is served over plain HTTP on loopback, and found there by
AWS_ENDPOINT_URL_ECR. Sources: docs/registries/ecr.md; AWS API reference.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirrord.demo.registry.asgi import Answer, Receive, Request, Scope, Send, json_answer
from mirrord.demo.serving import serve
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import INDEXES
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.credentials import CredentialChain, NativeCredentials
from mirrord.registry.providers.catalog import choose_provider, known_providers
from tests.fakes.api import EmulatedApi, read_body
from tests.fakes.clients import Client
from tests.fakes.clock import FakeClock
from tests.fakes.internet import Internet
from tests.fakes.profiles import Auth, Blobs, Deletes, Manifests, Names, Profile, Refusal, TagList, Uploads
from tests.fakes.registry import FakeRegistry
from tests.fakes.tokens import Token
from tests.fakes.wire import OpenProtocol

ACCOUNT = "123456789012"
REGION = "eu-west-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PUBLIC_HOST = "public.ecr.aws"
MIB = 1024 * 1024
TOKEN_LIFE_S = 12 * 3600.0
API = "http://api.ecr.aws"
"""What a witness calls the origin of the API of AWS."""

AWS_SECRET = "canary-secret-of-aws"
AWS_SESSION = "canary-session-of-aws"

_AMZ_JSON = "application/x-amz-json-1.1"
_METHOD_NOT_ALLOWED = Refusal(status=405, code="UNSUPPORTED", message="The operation is unsupported.")
_VARIABLES = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_ECR_PUBLIC", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API: the operation, and its parameters."""

    operation: str
    parameters: Mapping[str, Any] = field(repr=False)


class EcrControl(EmulatedApi):
    """The API of AWS for registries: JSON 1.1, one path, the operation in a header.

    ``page_size`` caps pages whatever is asked for; ``refusals`` answers an operation with an error; ``odd`` replaces
    an operation's answer. ``expires_at`` is what tokens say, None: twelve hours on the emulator's clock. Images in
    ``archived`` are left out of listings.
    """

    def __init__(self, registry: FakeRegistry) -> None:
        super().__init__(registry)
        self.log: list[Call] = []
        self.page_size = 1000
        self.refusals: dict[str, tuple[int, str, str]] = {}
        self.odd: dict[str, object] = {}
        self.expires_at: datetime | None = None
        self.archived: set[Digest] = set()
        self.policies: dict[str, str] = {}
        self.repositories: dict[str, Mapping[str, Any]] = {}

    def calls(self, operation: str) -> int:
        """Return how many times an operation was called."""
        return sum(call.operation == operation for call in self.log)

    def last(self, operation: str) -> Mapping[str, Any]:
        """Return the parameters of the last call of an operation."""
        return [call.parameters for call in self.log if call.operation == operation][-1]

    def revoke_tokens(self) -> None:
        """Let every token that was issued have expired."""
        issued = self.registry.tokens.issued
        for text, token in issued.items():
            issued[text] = replace(token, dies_at_s=self.clock.now_s)

    async def answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one line for each operation
        target = request.header("X-Amz-Target") or ""
        service, _, operation = target.partition(".")
        parameters = json.loads(await read_body(request) or b"{}")
        self.log.append(Call(operation, parameters))
        if not (request.header("Authorization") or "").startswith("AWS4-HMAC-SHA256 "):
            return _error(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        if operation in self.refusals:
            return _error(*self.refusals[operation])
        if operation in self.odd:
            return json_answer(self.odd[operation], media_type=_AMZ_JSON)
        if service == "SpencerFrontendService" and operation == "GetAuthorizationToken":
            auth = self.registry.profile.auth
            return _answered({"authorizationData": self._token_entry(f"{auth.user}:{auth.password}")})
        match operation:
            case "GetAuthorizationToken":
                return _answered({"authorizationData": [self._token_entry(self.issue())]})
            case "DescribeRepositories":
                return self._page("repositories", self._describe_repositories(), parameters)
            case "DescribeImages":
                return self._describe_images(parameters)
            case "CreateRepository":
                return self._create(parameters)
            case "PutLifecyclePolicy":
                self.policies[parameters["repositoryName"]] = parameters["lifecyclePolicyText"]
                return _answered({})
            case "BatchDeleteImage":
                return self._delete(parameters)
            case _:
                return _error(400, "UnknownOperationException", operation)

    def issue(self) -> str:
        """Return user and password; the password has a colon of its own."""
        tokens = self.registry.tokens
        tokens.count += 1
        password = f"ecr:token:{tokens.count}:{'s' * 40}:{tokens.count}"
        dies_at_s = self.clock.now_s + TOKEN_LIFE_S
        tokens.issued[password] = Token(text=password, access=frozenset(), dies_at_s=dies_at_s)
        return f"{self.registry.profile.auth.user}:{password}"

    def _token_entry(self, pair: str) -> dict[str, object]:
        expires_at = self.expires_at or self.clock.moment() + timedelta(seconds=TOKEN_LIFE_S)
        return {
            "authorizationToken": base64.b64encode(pair.encode()).decode(),
            "expiresAt": expires_at.timestamp(),
            "proxyEndpoint": f"https://{HOST}",
        }

    def _known(self) -> list[str]:
        return sorted({*self.registry.switches.created, *self.store.repositories()})

    def _describe_repositories(self) -> list[dict[str, object]]:
        return [{"repositoryName": name, "registryId": ACCOUNT} for name in self._known()]

    def _describe_images(self, parameters: Mapping[str, Any]) -> Answer:
        path = parameters["repositoryName"]
        if path not in self._known():
            return _no_repository(path)
        tags: dict[Digest, list[str]] = {}
        for tag, digest in self.store.tags(path).items():
            tags.setdefault(digest, []).append(tag)
        tagged_only = parameters.get("filter", {}).get("tagStatus") == "TAGGED"
        details = [
            {
                "registryId": ACCOUNT,
                "repositoryName": path,
                "imageDigest": str(digest),
                "imageManifestMediaType": manifest.media_type,
                "imagePushedAt": 1_700_000_000.0,
                **({"imageTags": tags[digest]} if digest in tags else {}),
            }
            for digest, manifest in self.store.manifests(path).items()
            if digest not in self.archived and (digest in tags or not tagged_only)
        ]
        return self._page("imageDetails", details, parameters)

    def _page(self, key: str, entries: list[dict[str, object]], parameters: Mapping[str, Any]) -> Answer:
        asked = parameters.get("maxResults", 100)
        if not 1 <= asked <= 1000:
            return _error(400, "InvalidParameterException", "maxResults")
        start = int(parameters.get("nextToken", "page-0").removeprefix("page-"))
        end = start + min(asked, self.page_size)
        more = {"nextToken": f"page-{end}"} if end < len(entries) else {}
        return _answered({key: entries[start:end], **more})

    def _create(self, parameters: Mapping[str, Any]) -> Answer:
        path = parameters["repositoryName"]
        if path in self._known():
            return _error(
                400,
                "RepositoryAlreadyExistsException",
                f"The repository with name '{path}' already exists in the registry with id '{ACCOUNT}'",
            )
        self.registry.switches.created.add(path)
        self.repositories[path] = parameters
        return _answered({"repository": {"repositoryName": path, "registryId": ACCOUNT}})

    def _delete(self, parameters: Mapping[str, Any]) -> Answer:
        path = parameters["repositoryName"]
        if path not in self._known():
            return _no_repository(path)
        deleted, failures = [], []
        for image in parameters["imageIds"]:
            failure = self._delete_one(path, image)
            if failure is None:
                deleted.append(image)
            else:
                failures.append({"imageId": image, "failureCode": failure, "failureReason": f"{failure} it is"})
        return _answered({"imageIds": deleted, "failures": failures})

    def _delete_one(self, path: str, image: Mapping[str, str]) -> str | None:
        """Delete a tag, and the image with its last tag; or an image. Source: AWS API_BatchDeleteImage."""
        tag = image.get("imageTag")
        digest = self.store.tags(path).get(tag) if tag else Digest.parse(image["imageDigest"])
        if digest is None or digest not in self.store.manifests(path):
            return "ImageNotFound"
        others = [name for name, named in self.store.tags(path).items() if named == digest and name != tag]
        if tag and others:
            self.store.untag(path, tag)
            return None
        indexes = [found for found in self.store.manifests(path).values() if found.media_type in INDEXES]
        if any(str(digest) in index.raw.decode() for index in indexes if index.digest != digest):
            return "ImageReferencedByManifestList"
        self.registry.switches.created.add(path)
        self.store.remove_manifest(path, digest)
        return None


def _answered(body: object) -> Answer:
    return json_answer(body, media_type=_AMZ_JSON)


def _error(status: int, code: str, message: str) -> Answer:
    return json_answer({"__type": code, "message": message}, status=status, media_type=_AMZ_JSON)


def _no_repository(path: str) -> Answer:
    message = f"The repository with name '{path}' does not exist in the registry with id '{ACCOUNT}'"
    return _error(400, "RepositoryNotFoundException", message)


IMMUTABLE = Refusal(
    status=400,
    code="TAG_INVALID",
    message="The image tag '1.0' already exists in the 'team/app' repository and cannot be overwritten because the "
    "repository is immutable.",
)
"""The answer to the PUT of a tag that exists, even with the same digest, in a repository with immutable tags."""

ECR = Profile(
    name="ecr",
    auth=Auth(
        scheme="basic",
        user="AWS",
        realm=f"https://{HOST}/",
        service="ecr.amazonaws.com",
        expired=Refusal(
            status=403,
            code="DENIED",
            message="Your authorization token has expired. Reauthenticate and try again.",
        ),
    ),
    tags=TagList(refuse_n_above=1000),
    uploads=Uploads(
        location="absolute", min_chunk_bytes=5 * MIB, max_chunk_bytes=10 * MIB, range_header="stale", mount="upload"
    ),
    blobs=Blobs(redirect=307, content_type="application/vnd.docker.container.image.v1+json"),
    manifests=Manifests(
        digest_header="absent",
        create_on_push=False,
        unknown_is_told=True,
        unknown_repository=Refusal(
            status=404,
            code="NAME_UNKNOWN",
            message=f"The repository with name 'x' does not exist in the registry with id '{ACCOUNT}'",
        ),
        media_type_needed=Refusal(
            status=405,
            code="UNSUPPORTED",
            message="Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
        ),
    ),
    referrers="subject-header-without-api",
    deletes=Deletes(tag=_METHOD_NOT_ALLOWED, manifest=_METHOD_NOT_ALLOWED, blob=_METHOD_NOT_ALLOWED),
    catalog=_METHOD_NOT_ALLOWED,
    api=EcrControl,
)
"""A private registry of ECR."""

NAMES_ECR = Names(registry=HOST, storage=f"prod-{REGION}-starport-layer-bucket.s3.{REGION}.amazonaws.com")

ECR_PUBLIC = Profile(
    name="ecr-public",
    auth=Auth(
        scheme="bearer",
        user="AWS",
        password="public:password",
        anonymous_pull=True,
        token_path="/token/",
        service="public.ecr.aws",
        ping_scope="aws",
        repository_challenge="ping",
        opaque_scope="aws",
    ),
    tags=TagList(refuse_n_above=1000),
    blobs=Blobs(redirect=307),
    deletes=Deletes(tag=_METHOD_NOT_ALLOWED, manifest=_METHOD_NOT_ALLOWED, blob=_METHOD_NOT_ALLOWED),
    catalog=_METHOD_NOT_ALLOWED,
    api=EcrControl,
)
"""public.ecr.aws."""

NAMES_ECR_PUBLIC = Names(registry=PUBLIC_HOST, storage="d2glxqk2uabbnd.cloudfront.net")


def control_of(registry: FakeRegistry) -> EcrControl:
    """Return the API of a registry."""
    assert isinstance(registry.api, EcrControl)
    return registry.api


def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 find no identity, and look for none on the network."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    nowhere = str(Path(__file__).with_name("absent"))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def use_aws(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let boto3 ask ``url`` with keys from the environment."""
    no_aws(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", AWS_SESSION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR_PUBLIC", url)


@asynccontextmanager
async def control_plane(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EcrControl]:
    """Serve the API of ``registry``, with the faults that are set for ``api``, and lead boto3 there."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:  # uvicorn takes methods for ASGI 2
        await registry._counted_api(scope, receive, send)

    async with serve(registry.watched(served, API), grace_s=0.1, protocol=OpenProtocol) as address:
        use_aws(monkeypatch, f"http://{address}")
        yield control_of(registry)


def open_ecr(
    internet: Internet,
    *,
    host: str = HOST,
    settings: RegistrySettings | None = None,
    clock: FakeClock | None = None,
) -> AbstractAsyncContextManager[Client]:
    """Open a client of ECR with the credentials that its provider finds."""
    clock, settings = clock or FakeClock(), settings or RegistrySettings(host=host)
    providers = known_providers()
    provider = choose_provider(host, settings.provider, providers)
    native = NativeCredentials(lambda host: provider.credentials(host, settings, {}, clock))
    source = CredentialChain([native], clock)
    return internet.client(host, settings=settings, providers=providers, clock=clock, source=source)
