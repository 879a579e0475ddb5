"""Each registry with all that belongs to it, each secret of its own, and the table of who may see which.

Every place stands on the net beside a second registry with a password of its own, a mirror of it with another one, and
a third that is configured and has no part in anything. Beside them are foreign origins, which nothing trusts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from mirrord.demo.registry.asgi import Answer
from mirrord.ports.settings import EnvSecret, RegistrySettings
from tests.canary.foreign import ELSEWHERE, Foreign
from tests.canary.kinds import Kind, at_home, origins
from tests.canary.ledger import Ledger, Secret
from tests.fakes.faults import Respond
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Auth, Blobs, Names, Profile, Uploads
from tests.fakes.registries import acr, ecr, google
from tests.fakes.registries.acr import ENTRA, ENTRA_ID, MACHINE, NAMES_ENTRA
from tests.fakes.registries.dockerhub import HubApi
from tests.fakes.registries.gitlab import GitlabApi
from tests.fakes.registries.google_identity import METADATA, open_identity
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import logged_in

OTHER, MIRROR, VAULT, SHELF = "registry.other.test", "cache.mirror.test", "registry.vault.test", "registry.shelf.test"
_BEARER = Auth(scheme="bearer")
_HEADER_OF_THE_APP = "canary of the header of the app"


def canary(name: str) -> str:
    """Return a secret that nothing else holds."""
    return f"canary-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


@dataclass(kw_only=True)
class Place:
    """A registry that mirrord works with, under the name that users know.

    ``secrets`` returns all there are, with their owners. ``path`` holds images, ``target`` is where others go.
    """

    host: str
    registry: FakeRegistry
    ledger: Ledger
    internet: Internet
    foreign: Foreign
    other: FakeRegistry
    mirror: FakeRegistry
    vault: FakeRegistry
    settings: dict[str, RegistrySettings]
    environment: dict[str, str]
    secrets: Callable[[], Sequence[Secret]]
    path: str = "acme/app"
    target: str = "acme/mirrored"
    redirect_identity: Callable[[Answer], None] = lambda _answer: None

    @property
    def passwords(self) -> dict[str, str]:
        """What stands in the variables that the settings name."""
        held = {OTHER: self.other, MIRROR: self.mirror, VAULT: self.vault, self.host: self.registry}
        return {f"PASSWORD of {host}": registry.profile.auth.password for host, registry in held.items()}


@asynccontextmanager
async def open_place(
    kind: Kind,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    profile: Callable[[Profile], Profile] = lambda profile: profile,
) -> AsyncIterator[Place]:
    """Open a place with everything around it; ``profile`` changes its registry."""
    ledger = Ledger()
    async with Internet(ledger) as internet, AsyncExitStack() as stack:
        changed = replace(kind.profile, auth=replace(kind.profile.auth, password=canary(f"password of {kind.name}")))
        if kind.user:
            changed = replace(changed, auth=replace(changed.auth, user=kind.user))
        registry = await internet.join(profile(changed), kind.names)
        other, mirror, vault, shelf = [await _join(internet, host) for host in (OTHER, MIRROR, VAULT, SHELF)]
        foreign = Foreign()
        for origin in (*ELSEWHERE, *at_home(kind)):
            await internet.host(origin, foreign.app(origin))
        settings = {
            OTHER: _logged_in(other, OTHER, mirrors=(MIRROR,)),
            MIRROR: _logged_in(mirror, MIRROR),
            VAULT: _logged_in(vault, VAULT),
            kind.host: RegistrySettings(host=kind.host, provider=kind.provider, requests_per_second=1000.0),
        }
        if not kind.identity:
            settings[kind.host] = _logged_in(registry, kind.host, provider=kind.provider)
        place = Place(
            host=kind.host,
            registry=registry,
            ledger=ledger,
            internet=internet,
            foreign=foreign,
            other=other,
            mirror=mirror,
            vault=vault,
            settings=settings,
            environment=_docker_files(directory, shelf),
            secrets=list,
            path=kind.path,
            target=kind.target,
        )
        own = await _identify(place, kind, directory, monkeypatch, stack)

        def secrets() -> list[Secret]:
            return [
                *own(),
                *_of_registry(kind, registry),
                *(secret for each in (other, mirror) for secret in _of_other(each)),
                *(Secret(f"password of {each.host}", each.profile.auth.password) for each in (vault, shelf)),
            ]

        place.secrets = secrets
        _prepare(place)
        yield place


def _logged_in(registry: FakeRegistry, host: str, **more: object) -> RegistrySettings:
    return replace(logged_in(registry, host, **more), password=EnvSecret(f"PASSWORD of {host}"))


async def _join(internet: Internet, host: str) -> FakeRegistry:
    auth = replace(_BEARER, password=canary(f"password of {host}"), service=host)
    profile = replace(DISTRIBUTION_V3, auth=auth, blobs=Blobs(redirect=307), uploads=Uploads(location="absolute"))
    return await internet.join(profile, Names(registry=host, tokens=f"tokens.{host}", storage=f"s3.{host}"))


def _docker_files(directory: Path, shelf: FakeRegistry) -> dict[str, str]:
    """Return an environment in which docker knows the password of a registry that nobody uses."""
    pair = f"{shelf.profile.auth.user}:{shelf.profile.auth.password}"
    (directory / ".docker").mkdir()
    text = json.dumps({"auths": {SHELF: {"auth": base64.b64encode(pair.encode()).decode()}}})
    (directory / ".docker" / "config.json").write_text(text)
    return {"HOME": str(directory)}


def _of_registry(kind: Kind, registry: FakeRegistry) -> list[Secret]:
    found = [Secret("password", registry.profile.auth.password, kind.password)]
    found += [Secret("token", text, kind.tokens) for text in registry.tokens.issued]
    return found + _signatures(registry)


def _of_other(registry: FakeRegistry) -> list[Secret]:
    host = registry.host
    found = [Secret(f"password of {host}", registry.profile.auth.password, origins(f"tokens.{host}"))]
    found += [Secret(f"token of {host}", text, origins(host)) for text in registry.tokens.issued]
    return found + _signatures(registry)


def _signatures(registry: FakeRegistry) -> list[Secret]:
    """Return the signatures in URLs of the storage behind a registry."""
    if registry.names is None or registry.names.storage is None:
        return []
    here = origins(registry.names.storage)
    return [Secret(f"signature of {registry.host}", seal, here, in_urls=True) for seal in registry.storage.seals]


async def _identify(
    place: Place, kind: Kind, directory: Path, monkeypatch: pytest.MonkeyPatch, stack: AsyncExitStack
) -> Callable[[], list[Secret]]:
    """Give mirrord an identity, where the registry takes one of a cloud; return what of it is secret."""
    family = kind.identity.partition("-")[0]
    if family == "aws":
        await stack.enter_async_context(ecr.control_plane(place.registry, monkeypatch))
        return lambda: [
            Secret("secret key of AWS", ecr.AWS_SECRET),
            Secret("session of AWS", ecr.AWS_SESSION, frozenset({ecr.API})),
        ]
    if family == "google":
        return await _identify_google(place, kind, directory, stack)
    if family == "acr":
        return await _identify_azure(place, kind, directory, stack)
    api = place.registry.api
    if isinstance(api, HubApi):
        return lambda: [Secret("token of the Hub API", text, origins("hub.docker.com")) for text in api.tokens_issued()]
    return list


async def _identify_google(
    place: Place, kind: Kind, directory: Path, stack: AsyncExitStack
) -> Callable[[], list[Secret]]:
    identity = await stack.enter_async_context(open_identity(place.registry))
    service = frozenset({f"http://{METADATA}"})
    given: list[Secret] = []
    if kind.identity == "google-key":
        file = identity.service_account(directory)
        lines = json.loads(file.read_text())["private_key"].splitlines()
        given = [Secret("key of the service account", line) for line in lines[1:-2]]
        place.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(file)
    elif kind.identity == "google-workload":
        place.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(identity.workload(directory))
    place.redirect_identity = lambda answer: setattr(identity, "refusal", answer)
    takers = origins(google.HOST, "artifactregistry.googleapis.com")
    return lambda: [
        *given,
        *(Secret("proof", text, service) for text in identity.proofs),
        *(Secret("access token", text, takers) for text in identity.issued),
    ]


async def _identify_azure(
    place: Place, kind: Kind, directory: Path, stack: AsyncExitStack
) -> Callable[[], list[Secret]]:
    entra = acr.entra_of(await place.internet.join(ENTRA_ID, NAMES_ENTRA), place.registry)
    machine = await stack.enter_async_context(acr.open_machine(place.registry, entra))
    entra.secret, entra.assertion = canary("secret of the application"), canary("token of the pod")
    proofs = origins(ENTRA)
    known: Mapping[str, str] = {"AZURE_CLIENT_ID": acr.CLIENT, "AZURE_TENANT_ID": acr.TENANT}
    given: list[Secret] = []
    if kind.identity == "acr-application":
        known = {**known, "AZURE_CLIENT_SECRET": entra.secret}
        given = [Secret("secret of the application", entra.secret, proofs)]
    elif kind.identity == "acr-workload":
        file = directory / "token"
        file.write_text(entra.assertion)
        known = {**known, "AZURE_FEDERATED_TOKEN_FILE": str(file)}
        given = [Secret("token of the pod", entra.assertion, proofs)]
    elif kind.identity == "acr-machine":
        known = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": machine.url}
    else:
        machine.header = _HEADER_OF_THE_APP
        known = {"IDENTITY_ENDPOINT": f"{machine.url}/msi/token", "IDENTITY_HEADER": machine.header}
        given = [Secret("header of the app", machine.header, frozenset({f"http://{MACHINE}"}))]
    place.environment.update(known)
    place.redirect_identity = partial(_redirect_azure, entra, machine)
    api = acr.api_of(place.registry)
    return lambda: [
        *given,
        *(Secret("access token", text, origins(acr.HOST)) for text in api.access_tokens),
        *(Secret("refresh token", text, origins(acr.HOST)) for _, text in place.registry.tokens.also),
    ]


def _redirect_azure(entra: acr.EntraApi, machine: acr.Machine, answer: Answer) -> None:
    machine.refusal = answer
    headers = tuple(answer.headers)
    entra.registry.fault(Respond(answer.status, headers=headers), kind="api", times=None).fired = 1


def _prepare(place: Place) -> None:
    """Make what somebody has to make beforehand."""
    api = place.registry.api
    if isinstance(api, google.GoogleApi):
        api.made |= {"acme-prod/images", "acme-prod/mirror"}
        api.tells_projects = False
    elif isinstance(api, GitlabApi):
        api.projects |= {place.path, place.target}
    elif isinstance(api, ecr.EcrControl):
        place.registry.switches.created |= {place.target}
    elif place.registry.profile.manifests.projects:
        place.registry.switches.created.add("acme/library")
