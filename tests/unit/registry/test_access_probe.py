"""What the access check asks of a registry, and what it leaves behind: nothing."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from mirrord.errors import RegistryError, UnauthorizedError
from mirrord.oci.reference import Repository
from mirrord.ports.access import Presence
from mirrord.ports.credentials import Credential
from mirrord.registry.access import HttpAccess, read_granted
from tests.fakes.clients import Client, open_client, settings_of
from tests.fakes.faults import Change, Respond
from tests.fakes.images import make_image
from tests.fakes.profiles import Auth, Names, Profile
from tests.fakes.registries.ecr import ECR
from tests.fakes.registries.harbor import HARBOR
from tests.fakes.registries.quay import QUAY
from tests.fakes.registry import BASIC, BEARER, FakeRegistry
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio


def at(client: Client) -> Repository:
    return Repository(client.host, "team/app")


def token(payload: object) -> str:
    return ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b"{}", json.dumps(payload).encode(), b"sig")
    )


def entry(actions: object, name: str = "team/app") -> dict[str, object]:
    return {"type": "repository", "name": name, "actions": actions}


@pytest.mark.parametrize(
    ("profile", "scheme"), [(BASIC, "basic"), (BEARER, "bearer"), (Profile(), "none")], ids=["basic", "bearer", "none"]
)
async def test_log_in_tells_how_the_registry_asks(profile: Profile, scheme: str) -> None:
    async with FakeRegistry(profile) as registry, open_client(registry) as client:
        assert await HttpAccess(client.gateway).greet(client.host) == scheme


@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
async def test_log_in_with_a_wrong_password_is_refused(profile: Profile) -> None:
    wrong = Credential(username="robot", secret="wrong")
    async with FakeRegistry(profile) as registry, open_client(registry, credential=wrong) as client:
        with pytest.raises(UnauthorizedError):
            await HttpAccess(client.gateway).greet(client.host)


async def test_rights_are_read_from_a_token_that_tells_them() -> None:
    granted = token({"access": [entry(["pull"])]})
    async with FakeRegistry(BEARER) as registry, open_client(registry) as client:
        await client.http.ping()
        registry.fault(Respond(200, body=json.dumps({"token": granted}).encode()), kind="token")
        assert await HttpAccess(client.gateway).granted(at(client)) == frozenset({"pull"})


async def test_rights_are_unknown_where_there_is_no_token_or_none_is_given() -> None:
    async with FakeRegistry(BASIC) as registry, open_client(registry) as client:
        assert await HttpAccess(client.gateway).granted(at(client)) is None
    refusing = Profile(auth=Auth(scheme="bearer", refused_scopes=("push",)))
    async with FakeRegistry(refusing) as registry, open_client(registry) as client:
        await client.http.ping()
        assert await HttpAccess(client.gateway).granted(at(client)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (token({"access": [entry(["*"])]}), {"*", "pull", "push", "delete"}),
        (token({"access": [entry(["pull", 7]), "odd"]}), {"pull"}),
        (token({"access": [entry(["pull"], name="other")]}), set()),
        (token({"access": [entry("pull")]}), set()),
        (token({"access": "all"}), None),
        (token({}), None),
        (token([]), None),
        ("opaque", None),
        ("a.b.c", None),
        ("a.\u00fc.c", None),
    ],
    ids=["star", "some", "other", "text", "no-list", "nothing", "list", "opaque", "no-json", "not-ascii"],
)
def test_token_is_read_as_far_as_it_can_be(text: str, expected: set[str] | None) -> None:
    assert read_granted(text, "team/app") == expected


async def test_one_page_of_tags_tells_whether_the_repository_is_there() -> None:
    async with FakeRegistry(BEARER) as registry, open_client(registry) as client:
        access = HttpAccess(client.gateway)
        assert await access.try_pull(at(client)) is Presence.NO
        registry.store.tag("team/app", "v1", registry.store.add_manifest("team/app", b"{}", "x"))
        assert await access.try_pull(at(client)) is Presence.YES


@pytest.mark.parametrize(
    ("provider", "profile"),
    [
        ("quay", QUAY),
        ("harbor", HARBOR),
        ("ecr", replace(ECR, auth=Auth(scheme="basic"))),
    ],
    ids=["quay", "harbor", "ecr"],
)
async def test_repository_that_a_push_makes_is_looked_at_without_making_it(provider: str, profile: Profile) -> None:
    """A mere token for a push makes a repository at Quay; ECR and Harbor would refuse an upload until it is made."""
    async with FakeRegistry(profile, names=Names(registry="named-below.test")) as registry:
        host = registry.addresses["named-below.test"]
        registry.host = registry.token_host = registry.api_host = registry.switches.host = host
        settings = replace(settings_of(registry), provider=provider, create_repositories={})
        async with open_client(registry, settings=settings) as client:
            assert await HttpAccess(client.gateway).try_pull(at(client)) is Presence.LATER

        assert not registry.switches.created
        assert not {"POST", "PUT"} & {record.method for record in registry.traffic.records}


async def test_project_that_nobody_makes_is_an_error_that_names_it() -> None:
    async with FakeRegistry(HARBOR, names=Names(registry="named-below.test")) as registry:
        host = registry.addresses["named-below.test"]
        registry.host = registry.token_host = registry.api_host = registry.switches.host = host
        async with open_client(registry, settings=replace(settings_of(registry), provider="harbor")) as client:
            with pytest.raises(RegistryError, match='has no project "team"'):
                await HttpAccess(client.gateway).try_pull(at(client))


@pytest.mark.parametrize(("provider", "profile"), [("quay", QUAY), ("harbor", HARBOR)], ids=["quay", "harbor"])
async def test_repository_that_a_push_makes_holds_no_blob_yet(provider: str, profile: Profile) -> None:
    """A plan asks before anything is made, and must not take the refusal for a lack of rights."""
    async with FakeRegistry(profile, names=Names(registry="named-below.test")) as registry:
        host = registry.addresses["named-below.test"]
        registry.host = registry.token_host = registry.api_host = registry.switches.host = host
        settings = replace(settings_of(registry), provider=provider, create_repositories={})
        async with open_client(registry, settings=settings) as client:
            layer = make_image("app").manifests
            blob = next(iter(layer.values())).blobs()[0]
            assert await client.writer("team/app").has_blob(blob) is False


async def test_right_to_push_is_tried_and_leaves_no_upload_behind() -> None:
    for profile in (BASIC, BEARER):
        async with FakeRegistry(profile) as registry, open_client(registry) as client:
            await HttpAccess(client.gateway).try_push(at(client))

        assert registry.traffic.counts["upload POST"] >= 1
        assert registry.store.uploads("team/app") == ()


async def test_missing_right_to_push_is_an_error() -> None:
    pulling = Profile(auth=Auth(scheme="bearer", granted=frozenset({"pull"})))
    async with FakeRegistry(pulling) as registry, open_client(registry) as client:
        with pytest.raises(UnauthorizedError):
            await HttpAccess(client.gateway).try_push(at(client))


@pytest.mark.parametrize(
    ("location", "code"),
    [
        (None, "UPLOAD_LOCATION_MISSING"),
        ("\\\\evil", "UPLOAD_LOCATION_UNTRUSTED"),
    ],
    ids=["absent", "no-url"],
)
async def test_upload_that_could_not_be_used_is_an_error(location: str | None, code: str) -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, location=location)), kind="upload POST")
        with pytest.raises(RegistryError, match=code):
            await HttpAccess(client.gateway).try_push(at(client))


async def test_upload_that_cannot_be_cancelled_is_no_error() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(500), kind="upload DELETE")
        await HttpAccess(client.gateway).try_push(at(client))


async def test_registry_that_fails_is_an_error_of_every_question() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(500), times=None)
        for question in (
            HttpAccess(client.gateway).greet(client.host),
            HttpAccess(client.gateway).try_pull(at(client)),
            HttpAccess(client.gateway).try_push(at(client)),
        ):
            with pytest.raises(RegistryError):
                await question
