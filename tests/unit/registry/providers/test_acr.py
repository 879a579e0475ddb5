"""Azure's registries: who mirrord is there, and whole runs with the identity of the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from mirrord.errors import CredentialError, UnauthorizedError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.registry.providers.acr import AcrProvider
from mirrord.registry.providers.acr_credentials import AcrCredentials
from tests.fakes.clients import Client
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.registries.acr import (
    ACR,
    CLIENT,
    ENTRA_ID,
    GUID,
    HOST,
    MACHINE,
    NAMES_ACR,
    NAMES_ENTRA,
    TENANT,
    EntraApi,
    Machine,
    api_of,
    entra_of,
    open_machine,
)
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import carry_out, logged_in, process, rule
from tests.fakes.stores import put
from tests.fakes.tokens import basic_credential

pytestmark = pytest.mark.anyio

OTHER = "registry.plain.test"
PATH = "team/app"
IMAGE = make_image("one")
TAG = Tag("1.0")
NOBODY = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://{MACHINE}"}
PUBLIC = replace(
    ACR,
    auth=replace(ACR.auth, anonymous_pull=True, granted=ACR.auth.granted | {"pull"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A registry of Azure, a plain one, Entra ID, and the metadata service of the machine."""

    internet: Internet
    acr: FakeRegistry
    plain: FakeRegistry
    entra: EntraApi
    machine: Machine

    def workload(self, directory: Path) -> dict[str, str]:
        """Return the environment of a pod with workload identity."""
        file = directory / "token"
        file.write_text(f"{self.entra.assertion}\n")
        return {**self.application(), "AZURE_CLIENT_SECRET": "", "AZURE_FEDERATED_TOKEN_FILE": str(file)}

    def application(self) -> dict[str, str]:
        """Return the environment of an application with a secret."""
        known = {"AZURE_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_SECRET": self.entra.secret}
        return {**NOBODY, **known}

    @asynccontextmanager
    async def native(self, environment: Mapping[str, str]) -> AsyncIterator[tuple[Client, AcrCredentials]]:
        """Open a client, and its native source of credentials on a clock that the test moves."""
        async with self.internet.client(HOST, environment=environment, clock=FakeClock()) as client:
            source = client.gateway.handle(HOST).service.credentials()
            assert isinstance(source, AcrCredentials)
            yield client, source


@asynccontextmanager
async def open_scene(profile: Profile = ACR) -> AsyncIterator[Scene]:
    async with Internet() as internet:
        acr = await internet.join(profile, NAMES_ACR)
        plain = await internet.join(DISTRIBUTION_V3, Names(registry=OTHER))
        entra = entra_of(await internet.join(ENTRA_ID, NAMES_ENTRA), acr)
        async with open_machine(acr, entra) as machine:
            yield Scene(internet=internet, acr=acr, plain=plain, entra=entra, machine=machine)


async def look(scene: Scene, environment: Mapping[str, str]) -> Credential | None:
    """Look an image up as a process of its own would; return the credential that it used."""
    async with process(scene.internet, environment=environment) as app:
        await app.registries.reader(Repository(HOST, PATH)).head(TAG)
        return await app.credentials.credential(HOST)


# --- whole runs


async def test_images_go_to_azure_and_back_with_workload_identity(tmp_path: Path) -> None:
    async with open_scene() as scene:
        image = put(scene.plain, PATH, make_image("app", layers=3), "1.0", "latest")
        index = put(scene.plain, "team/tools", make_index("tools", attestations=True), "2.0")
        signature = put(scene.plain, PATH, make_artifact("signature", subject=image.descriptor))
        environment = scene.workload(tmp_path)
        async with process(scene.internet, environment=environment) as app:
            there = await carry_out(
                app, rule(f"{OTHER}/{PATH}", f"{HOST}/{PATH}"), rule(f"{OTHER}/team/tools", f"{HOST}/team/tools")
            )
        assert (there.problems, there.count(Outcome.COPIED)) == ([], 3)
        assert scene.acr.store.tags(PATH) == {"1.0": image.digest, "latest": image.digest}
        assert scene.acr.store.tags("team/tools") == {"2.0": index.digest}
        assert scene.acr.store.manifest(PATH, signature.digest) is not None

        async with process(scene.internet, environment=environment) as app:
            back = await carry_out(app, rule(f"{HOST}/team/tools", f"{OTHER}/back/tools"))

    assert back.problems == []
    assert scene.plain.store.tags("back/tools") == {"2.0": index.digest}
    assert {digest: scene.plain.store.blob("back/tools", digest) for digest in index.blobs} == index.blobs
    assert len(scene.entra.forms) == 2, "one token for each process"
    assert {record.method for record in scene.acr.traffic.of("token")} == {"POST"}
    assert {record.header("Authorization") for record in scene.acr.storage_traffic.records} == {None}
    assert scene.machine.asked == []


async def test_second_run_costs_two_lists_and_fetches_no_manifest() -> None:
    """The one with digests, and the plain one beside it, which lacks no tag."""
    async with open_scene() as scene:
        for number in range(3):
            put(scene.acr, PATH, make_image(f"app-{number}"), f"1.{number}")
        async with process(scene.internet, environment=NOBODY, settings={HOST: logged_in(scene.acr, HOST)}) as app:
            await carry_out(app, rule(f"{HOST}/{PATH}", f"{OTHER}/app"))
        scene.acr.traffic.clear()
        async with process(scene.internet, environment=NOBODY, settings={HOST: logged_in(scene.acr, HOST)}) as app:
            reports = await carry_out(app, rule(f"{HOST}/{PATH}", f"{OTHER}/app"))

    assert (reports.problems, reports.count(Outcome.IN_SYNC)) == ([], 3)
    assert scene.acr.traffic.counts["manifest GET"] == 0
    assert [scene.acr.traffic.counts[kind] for kind in ("api", "tags/list")] == [1, 1]


async def test_repositories_come_from_the_catalog() -> None:
    async with open_scene() as scene:
        for path in ("team/app", "team/tools", "base"):
            put(scene.acr, path, IMAGE, "1.0")
        async with process(scene.internet, environment=NOBODY, settings={HOST: logged_in(scene.acr, HOST)}) as app:
            found = [one.path async for one in app.context.gateway.repositories(HOST, "team/")]

    assert found == ["team/app", "team/tools"]


# --- who mirrord is


async def test_token_of_the_application_is_exchanged_and_goes_nowhere_else(tmp_path: Path) -> None:
    async with open_scene() as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        by_secret = await look(scene, scene.application())
        by_file = await look(scene, scene.workload(tmp_path))

    assert by_secret is not None
    assert by_file is not None
    assert (by_secret.username, by_file.username) == (GUID, GUID)
    assert (by_secret.origin, by_file.origin) == ("Azure, application", "Azure, workload identity")
    assert by_secret.identity_token not in repr(by_secret)
    [(path, first), (_, second)] = scene.entra.forms
    assert path == f"/{TENANT}/oauth2/v2.0/token"
    assert (first["client_secret"], "client_assertion" in first) == (scene.entra.secret, False)
    assert (second["client_assertion"], "client_secret" in second) == (scene.entra.assertion, False)
    assert [form["service"] for form in api_of(scene.acr).forms] == [HOST, HOST]
    assert [form["tenant"] for form in api_of(scene.acr).forms] == [TENANT, TENANT]
    with_a_header = [record.kind for record in scene.acr.traffic.records if record.header("Authorization")]
    assert set(with_a_header) == {"manifest HEAD"}


@pytest.mark.parametrize("kind", ["own", "named", "app"])
async def test_managed_identity_of_the_machine_gives_a_token(kind: str) -> None:
    async with open_scene() as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        environment = dict(NOBODY)
        if kind == "named":
            scene.machine.identities = {CLIENT}
            environment["AZURE_CLIENT_ID"] = CLIENT
        if kind == "app":
            environment = {"IDENTITY_ENDPOINT": f"http://{MACHINE}/msi/token", "IDENTITY_HEADER": "header of the app"}
        credential = await look(scene, environment)

    assert credential is not None
    assert credential.origin == "Azure, managed identity"
    assert len(scene.machine.asked) == (1 if kind == "app" else 2)
    assert "resource=https%3A%2F%2Fcontainerregistry.azure.net" in scene.machine.asked[-1]


async def test_refresh_token_is_renewed_before_its_end_and_once_for_all(tmp_path: Path) -> None:
    async with open_scene() as scene, scene.native(scene.workload(tmp_path)) as (client, source):
        found: list[Credential | None] = []

        async def ask() -> None:
            found.append(await source.credential(HOST))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert len(set(found)) == 1
        client.clock.advance(0.79 * 3 * 3600)
        assert await source.credential(HOST) == found[0]
        client.clock.advance(0.02 * 3 * 3600)
        assert await source.credential(HOST) != found[0]

    assert api_of(scene.acr).exchanged == 2


async def test_token_file_is_read_anew_for_each_renewal(tmp_path: Path) -> None:
    async with open_scene() as scene:
        environment = scene.workload(tmp_path)
        async with scene.native(environment) as (client, source):
            await source.credential(HOST)
            scene.entra.assertion = "rotated"
            (tmp_path / "token").write_text("rotated")
            client.clock.advance(3 * 3600)
            assert await source.credential(HOST) is not None

    assert [form["client_assertion"] for _, form in scene.entra.forms] == ["jwt-of-the-pod", "rotated"]


async def test_shorter_life_that_a_refresh_token_tells_is_believed(tmp_path: Path) -> None:
    async with open_scene() as scene, scene.native(scene.workload(tmp_path)) as (client, source):
        api_of(scene.acr).refresh_life_s = 1000
        first = await source.credential(HOST)
        client.clock.advance(801)
        assert await source.credential(HOST) != first


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("secret", "AADSTS7000215"),
        ("file", "cannot be read"),
        ("empty file", "is empty"),
        ("role", "has no access to this registry"),
        ("answer", "no access_token"),
        ("plain authority", "without TLS"),
        ("identity", "Identity not found"),
    ],
)
async def test_identity_that_does_not_work_is_an_error_and_nothing_is_asked_anonymously(
    broken: str, message: str, tmp_path: Path
) -> None:
    async with open_scene(PUBLIC) as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        environment = scene.workload(tmp_path) if "file" in broken else scene.application()
        file = tmp_path / "token"
        if broken == "secret":
            environment["AZURE_CLIENT_SECRET"] = "wrong one"
        elif broken == "file":
            file.unlink()
        elif broken == "empty file":
            file.write_text("\n")
        elif broken == "role":
            scene.acr.fault(Respond(401, body=b"the token has no access to this registry"), kind="api", times=None)
        elif broken == "answer":
            scene.internet.registries[2].fault(Respond(200, body=b'{"token_type":"Bearer"}'), kind="api", times=None)
        elif broken == "plain authority":
            environment["AZURE_AUTHORITY_HOST"] = "http://login.test"
        else:
            del environment["AZURE_TENANT_ID"]
        with pytest.raises(CredentialError, match=message) as caught:
            await look(scene, environment)

    assert "wrong one" not in str(caught.value)
    assert scene.entra.secret not in str(caught.value)
    assert scene.acr.traffic.counts["token"] == 0
    assert scene.acr.traffic.counts["manifest HEAD"] == 0


@pytest.mark.parametrize("authority", [f"https://{NAMES_ENTRA.registry}/", NAMES_ENTRA.registry])
async def test_authority_of_the_environment_is_asked(authority: str) -> None:
    async with open_scene() as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        assert await look(scene, {**scene.application(), "AZURE_AUTHORITY_HOST": authority}) is not None


@pytest.mark.parametrize("machine", ["none", "no identity"])
async def test_public_image_needs_no_identity(machine: str) -> None:
    async with open_scene(PUBLIC) as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        if machine == "none":
            del scene.acr.addresses[MACHINE]
        scene.machine.identities = set()
        assert await look(scene, NOBODY) is None

    assert [basic_credential(record.header("Authorization")) for record in scene.acr.traffic.of("token")] == [None]
    assert api_of(scene.acr).forms == []


async def test_who_is_refused_without_an_identity_is_told_what_would_give_one() -> None:
    async with open_scene() as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        scene.machine.identities = set()
        with pytest.raises(UnauthorizedError) as caught:
            await look(scene, NOBODY)

    assert "az acr login" in caught.value.remedy
    assert f'"{HOST}" a username and password' in caught.value.remedy


async def test_service_that_fails_is_tried_again_before_it_is_an_error() -> None:
    async with open_scene() as scene:
        put(scene.acr, PATH, IMAGE, "1.0")
        scene.acr.fault(Respond(503), kind="api")
        async with scene.native(scene.application()) as (_, source):
            assert await source.credential(HOST) is not None

    assert scene.acr.traffic.counts["api"] == 2


async def test_secret_of_the_application_shows_in_no_event() -> None:
    async with open_scene() as scene, scene.native(scene.application()) as (client, source):
        scene.internet.registries[2].fault(Respond(503), kind="api", times=None)
        with pytest.raises(CredentialError):
            await source.credential(HOST)

    assert scene.entra.secret not in repr(client.events.events)


@pytest.mark.parametrize(
    ("host", "is_azure"),
    [
        ("acme.azurecr.io", True),
        ("acme.azurecr.cn", True),
        ("acme.azurecr.us", True),
        ("mcr.microsoft.com", False),
        ("azurecr.io.example", False),
    ],
)
def test_hosts_of_azure_are_known(host: str, is_azure: bool) -> None:
    assert AcrProvider().matches(host) is is_azure


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        ("repository:team/app:pull", "repository:team/app:pull,metadata_read"),
        ("repository:team/app:pull,push", "repository:team/app:pull,push"),
        ("repository:team/app:delete,pull", "repository:team/app:delete,pull"),
        ("registry:catalog:*", "registry:catalog:*"),
    ],
)
def test_right_to_list_is_asked_for_with_the_right_to_read(scope: str, asked: str) -> None:
    assert AcrProvider().token_scopes((scope,)) == (asked,)
