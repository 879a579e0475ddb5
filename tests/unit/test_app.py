"""The composition root: how it reaches registries, and whose credentials it asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mirrord.app import Network, open_app
from mirrord.errors import CredentialError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import Repository, Tag
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.events import NullSink
from mirrord.ports.settings import EnvSecret, RegistrySettings, Secret
from mirrord.registry.providers.base import Provider
from tests.fakes.clients import FixedCredentials
from tests.fakes.internet import Internet
from tests.fakes.profiles import Auth, Blobs, Names, Profile
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio


async def read_secret(secret: Secret) -> str:
    """Return the password of the emulated registry's user."""
    if secret != EnvSecret("PASSWORD"):
        raise CredentialError("no such secret")
    return Auth().password


async def test_app_reaches_registries_over_the_network_it_is_given() -> None:
    routes = Routes()
    routes.get("https://registry.test/v2/").respond(200)
    routes.head("https://registry.test/v2/team/app/manifests/1.0").respond(404)
    network = Network(transport=routes.everywhere())

    async with open_app(
        settings={}, read_secret=read_secret, environment={}, events=NullSink(), network=network
    ) as app:
        reader = app.context.gateway.reader(Repository("registry.test", "team/app"))
        assert await reader.head(Tag("1.0")) is None
        cost = app.cost()

    assert cost.requests == {"registry.test": 2}
    assert len(routes.asked) == 2


async def test_app_asks_the_resolver_it_is_given_who_is_inside() -> None:
    asked = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["93.184.215.14"]

    names = Names(registry="registry.test", tokens="tokens.test", storage="storage.test")
    profile = Profile(auth=Auth(scheme="bearer"), blobs=Blobs(redirect=307))
    settings = {
        "registry.test": RegistrySettings(
            host="registry.test", username=Auth().user, password=EnvSecret("PASSWORD"), auth_hosts=("tokens.test",)
        )
    }
    async with Internet() as internet:
        registry = await internet.join(profile, names)
        digest = registry.store.add_blob("team/app", b"content")
        registry.store.add_manifest("team/app", b"{}", "application/vnd.oci.image.manifest.v1+json", tags=["1.0"])
        async with open_app(
            settings=settings,
            read_secret=read_secret,
            environment={},
            events=NullSink(),
            network=Network(transport=internet.transport, resolver=resolve),
        ) as app:
            reader = app.context.gateway.reader(Repository("registry.test", "team/app"))
            layer = Descriptor(media_type="application/octet-stream", digest=digest, size=7)
            async with reader.blob(layer) as pieces:
                content = b"".join([piece async for piece in pieces])

    assert content == b"content"
    assert asked == ["registry.test"]
    assert registry.traffic.counts["token"] == 1


class NativeProvider(Provider):
    """Registries of ``native.test`` with credentials of their own: what the environment says."""

    name = "native"

    def matches(self, host: str) -> bool:
        return host.endswith("native.test")

    def credentials(
        self, host: str, settings: RegistrySettings, environment: Mapping[str, str], clock: Clock
    ) -> CredentialProvider | None:
        assert settings.host == host
        return FixedCredentials({host: Credential(username="native", secret=environment["NATIVE"])})


async def test_app_asks_for_native_credentials_between_the_entry_and_dockers_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "native-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: native\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[mirrord.providers]\nnative = {__name__}:NativeProvider\n")
    monkeypatch.syspath_prepend(package.parent)
    stored = {"auths": {host: {"username": "docker", "password": "x"} for host in ("native.test", "other.test")}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    entry = RegistrySettings(host="my.native.test", username="entry", password=EnvSecret("PASSWORD"))
    named = RegistrySettings(host="named.test", provider="native")

    async with open_app(
        settings={entry.host: entry, named.host: named},
        read_secret=read_secret,
        environment={"NATIVE": "secret", "DOCKER_CONFIG": str(tmp_path)},
        events=NullSink(),
    ) as app:
        hosts = ("my.native.test", "native.test", "named.test", "other.test", "anonymous.test")
        found = {host: await app.credentials.credential(host) for host in hosts}

    assert {host: credential.username if credential else None for host, credential in found.items()} == {
        "my.native.test": "entry",
        "native.test": "native",
        "named.test": "native",
        "other.test": "docker",
        "anonymous.test": None,
    }
