"""Google's registries: who mirrord is there, what is listed, and whole runs with the identity of the environment."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from mirrord.app import App
from mirrord.demo.registry.asgi import json_answer, text_answer
from mirrord.errors import CredentialError, DeniedError, RegistryError, UnauthorizedError, UnsupportedError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.base import Limits
from mirrord.registry.providers.google import GoogleProvider, Place
from mirrord.registry.providers.google_credentials import GoogleCredentials
from mirrord.registry.providers.renewing import ABSENT_FOR_S, FAILED_FOR_S
from tests.contract.images import blob_of
from tests.fakes.clients import Client, credential_of
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import DISTRIBUTION_V3, Names, Profile
from tests.fakes.proxy import open_proxy
from tests.fakes.registries.google import GOOGLE, HOST, NAMES_GOOGLE, api_of
from tests.fakes.registries.google_identity import METADATA, TOKENS, GoogleIdentity, open_identity
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import carry_out, logged_in, process, rule
from tests.fakes.stores import put
from tests.fakes.tokens import basic_credential

pytestmark = pytest.mark.anyio

PLACE = "acme-prod/mirror"
PATH = f"{PLACE}/team/app"
OTHER = "registry.plain.test"
IMAGE = make_image("one")
TAG = Tag("1.0")
PUBLIC = replace(GOOGLE, auth=replace(GOOGLE.auth, anonymous_pull=True, repository_challenge="scope"))
CONTENT = bytes(range(256)) * 40
BLOB = blob_of(CONTENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An Artifact Registry, a plain registry, and who somebody is at Google."""

    internet: Internet
    google: FakeRegistry
    plain: FakeRegistry
    identity: GoogleIdentity

    def users(self) -> set[tuple[str, str] | None]:
        """Return the users with their passwords that the registry's token service saw."""
        records = self.google.traffic.of("token")
        return {basic_credential(record.header("Authorization")) for record in records}

    @asynccontextmanager
    async def native(
        self, environment: Mapping[str, str], settings: RegistrySettings | None = None
    ) -> AsyncIterator[tuple[Client, GoogleCredentials]]:
        """Open a client, and its native source of credentials on a clock that the test moves."""
        clock = FakeClock()
        async with self.internet.client(HOST, environment=environment, settings=settings, clock=clock) as client:
            source = client.gateway.handle(HOST).service.credentials()
            assert isinstance(source, GoogleCredentials)
            yield client, source


@asynccontextmanager
async def open_scene(profile: Profile = GOOGLE) -> AsyncIterator[Scene]:
    async with Internet() as internet:
        google = await internet.join(profile, NAMES_GOOGLE)
        plain = await internet.join(DISTRIBUTION_V3, Names(registry=OTHER))
        api_of(google).made.add(PLACE)
        async with open_identity(google) as identity:
            yield Scene(internet=internet, google=google, plain=plain, identity=identity)


async def fetch(app: App, path: str = PATH) -> None:
    await app.registries.reader(Repository(HOST, path)).head(TAG)


# --- whole runs


async def test_images_go_to_google_and_back_with_the_key_of_a_service_account(tmp_path: Path) -> None:
    async with open_scene() as scene:
        image = put(scene.plain, "team/app", make_image("app", layers=3), "1.0", "latest")
        index = put(scene.plain, "team/tools", make_index("tools", attestations=True), "2.0")
        signature = put(scene.plain, "team/app", make_artifact("signature", subject=image.descriptor))
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with process(scene.internet, environment=environment) as app:
            there = await carry_out(
                app,
                rule(f"{OTHER}/team/app", f"{HOST}/{PATH}"),
                rule(f"{OTHER}/team/tools", f"{HOST}/{PLACE}/tools"),
            )
        assert (there.problems, there.count(Outcome.COPIED)) == ([], 3)
        assert scene.google.store.tags(PATH) == {"1.0": image.digest, "latest": image.digest}
        assert scene.google.store.tags(f"{PLACE}/tools") == {"2.0": index.digest}
        assert scene.google.store.manifest(PATH, signature.digest) is not None
        assert scene.google.traffic.counts["upload PATCH"] == 0

        async with process(scene.internet, environment=environment) as app:
            back = await carry_out(app, rule(f"{HOST}/{PLACE}/tools", f"{OTHER}/back/tools"))

    assert back.problems == []
    assert scene.plain.store.tags("back/tools") == {"2.0": index.digest}
    assert {digest: scene.plain.store.blob("back/tools", digest) for digest in index.blobs} == index.blobs
    assert scene.identity.asked == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] * 2, "one token for each process"
    assert scene.users() == {("oauth2accesstoken", token) for token in scene.identity.issued}
    assert {record.header("Authorization") for record in scene.google.storage_traffic.records} == {None}


async def test_second_run_costs_one_list_and_fetches_no_manifest(tmp_path: Path) -> None:
    async with open_scene() as scene:
        for number in range(3):
            put(scene.google, PATH, make_image(f"app-{number}"), f"1.{number}")
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with process(scene.internet, environment=environment) as app:
            await carry_out(app, rule(f"{HOST}/{PATH}", f"{OTHER}/app"))
        scene.google.traffic.clear()
        async with process(scene.internet, environment=environment) as app:
            again = await carry_out(app, rule(f"{HOST}/{PATH}", f"{OTHER}/app"))

    assert (again.problems, again.count(Outcome.IN_SYNC)) == ([], 3)
    assert scene.google.traffic.counts["manifest GET"] == 0
    assert scene.google.traffic.counts["tags/list"] == 1


async def test_project_is_mirrored_by_its_pattern(tmp_path: Path) -> None:
    async with open_scene() as scene:
        api_of(scene.google).tells_projects = False
        api_of(scene.google).made.add("acme-prod/base")
        put(scene.google, PATH, IMAGE, "1.0")
        put(scene.google, "acme-prod/base/debian", make_image("debian"), "12")
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with process(scene.internet, environment=environment) as app:
            found = [one.path async for one in app.context.gateway.repositories(HOST, "acme-prod/")]

    assert sorted(found) == ["acme-prod/base/debian", PATH]


async def test_refused_upload_is_asked_for_once_for_all_images_of_a_place() -> None:
    denied = b'{"errors":[{"code":"DENIED","message":"Permission denied (or it may not exist)"}]}'
    async with open_scene() as scene:
        for number in range(4):
            put(scene.plain, f"team/app-{number}", make_image(f"app-{number}"), "1.0")
        scene.google.fault(Respond(403, body=denied), kind="upload POST", times=None)
        async with process(scene.internet, environment={}, settings={HOST: logged_in(scene.google, HOST)}) as app:
            rules = [rule(f"{OTHER}/team/app-{number}", f"{HOST}/{PLACE}/app-{number}") for number in range(4)]
            reports = await carry_out(app, *rules)

    assert reports.count(Outcome.FAILED) == 4
    assert scene.google.traffic.counts["upload POST"] == 1
    assert scene.plain.traffic.counts["blob GET"] == 0
    assert all("gcloud artifacts repositories create mirror" in problem for problem in reports.problems)


# --- who mirrord is


@pytest.mark.parametrize("kind", ["service_account", "workload", "machine", "named machine"])
async def test_identity_of_every_kind_gives_a_token(kind: str, tmp_path: Path) -> None:
    async with open_scene() as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        identity = scene.identity
        environment: dict[str, str] = {}
        if kind == "service_account":
            environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(identity.service_account(tmp_path))
        elif kind == "workload":
            environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(identity.workload(tmp_path))
        elif kind == "named machine":
            environment["GCE_METADATA_HOST"] = METADATA
        async with process(scene.internet, environment=environment) as app:
            await fetch(app)
            credential = await app.credentials.credential(HOST)

    assert credential is not None
    assert (credential.username, credential.secret) == ("oauth2accesstoken", "ya29.issued-1")
    assert scene.users() == {("oauth2accesstoken", "ya29.issued-1")}
    assert credential.secret not in repr(credential)


@pytest.mark.parametrize("variable", ["HOME", "CLOUDSDK_CONFIG"])
async def test_user_of_gcloud_gets_a_token_through_the_proxy_of_the_registry(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / ".config" / "gcloud" if variable == "HOME" else tmp_path
    directory.mkdir(parents=True, exist_ok=True)
    async with open_scene() as scene, open_proxy() as proxy:
        bundle = tmp_path / "ca.pem"
        scene.identity.authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        scene.identity.user(directory)
        proxy.hosts[f"{TOKENS}:443"] = scene.identity.secure
        settings = RegistrySettings(host=HOST, proxy=f"http://{proxy.host}")
        async with scene.native({variable: str(tmp_path)}, settings) as (_, source):
            credential = await source.credential(HOST)

    assert credential is not None
    assert credential.secret == "ya29.issued-1"
    assert scene.identity.asked == ["refresh_token"]
    assert [line.split()[:2] for line in proxy.lines] == [["CONNECT", f"{TOKENS}:443"]]


async def test_token_is_renewed_before_its_end_and_once_for_all(tmp_path: Path) -> None:
    async with open_scene() as scene:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with scene.native(environment) as (client, source):
            found: list[Credential | None] = []

            async def ask() -> None:
                found.append(await source.credential(HOST))

            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(ask)
            first = found[0]
            assert first is not None
            assert first.expires_at is not None
            assert 3590 < (first.expires_at - client.clock.now()).total_seconds() <= 3600
            client.clock.advance(2800)
            assert await source.credential(HOST) == first
            client.clock.advance(100)
            second = await source.credential(HOST)

    assert set(found) == {first}
    assert second is not None
    assert second.secret == "ya29.issued-2"
    assert len(scene.identity.asked) == 2


async def test_old_token_is_used_while_google_gives_no_new_one(tmp_path: Path) -> None:
    async with open_scene() as scene:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with scene.native(environment) as (client, source):
            first = await source.credential(HOST)
            scene.identity.refusal = json_answer({"error": "invalid_grant"}, status=400)
            client.clock.advance(3000)
            assert await source.credential(HOST) == first
            assert await source.credential(HOST) == first
            assert len(scene.identity.asked) == 2, "not asked again at once"
            client.clock.advance(1000)
            with pytest.raises(CredentialError, match="Google gives no token"):
                await source.credential(HOST)


async def test_token_that_the_registry_does_not_take_is_replaced_once(tmp_path: Path) -> None:
    async with open_scene() as scene:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with scene.native(environment) as (_, source):
            await source.credential(HOST)
            source.forget(HOST)
            second = await source.credential(HOST)
            source.forget(HOST)
            third = await source.credential(HOST)

    assert second == third
    assert len(scene.identity.issued) == 2


@pytest.mark.parametrize("broken", ["missing", "no JSON", "no type", "key", "refused"])
async def test_identity_that_does_not_work_is_an_error_and_nothing_is_asked_anonymously(
    broken: str, tmp_path: Path
) -> None:
    async with open_scene(PUBLIC) as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        file = scene.identity.service_account(tmp_path)
        if broken == "missing":
            file.unlink()
        elif broken == "no JSON":
            file.write_text("-----BEGIN")
        elif broken == "no type":
            file.write_text('{"type": "carrier_pigeon"}')
        elif broken == "key":
            file.write_text(file.read_text().replace("BEGIN PRIVATE", "BEGIN SECRET"))
        else:
            scene.identity.refusal = json_answer(
                {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400
            )
        async with process(scene.internet, environment={"GOOGLE_APPLICATION_CREDENTIALS": str(file)}) as app:
            with pytest.raises(CredentialError, match=r"key\.json"):
                await fetch(app)
            with pytest.raises(CredentialError, match=r"key\.json") as caught:
                await fetch(app)

    assert caught.value.remedy
    assert "PRIVATE KEY" not in str(caught.value)
    assert scene.google.traffic.counts["token"] == 0
    assert scene.google.traffic.counts["manifest HEAD"] == 0


async def test_failed_identity_is_left_alone_for_a_moment(tmp_path: Path) -> None:
    async with open_scene() as scene:
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        scene.identity.refusal = json_answer({"error": "invalid_grant"}, status=400)
        async with scene.native(environment) as (client, source):
            for _ in range(3):
                with pytest.raises(CredentialError):
                    await source.credential(HOST)
            asked = len(scene.identity.asked)
            scene.identity.refusal = None
            client.clock.advance(FAILED_FOR_S + 1)
            assert await source.credential(HOST) is not None

    assert asked == 1


@pytest.mark.parametrize("machine", ["none", "other cloud", "no account"])
async def test_public_image_needs_no_identity(machine: str) -> None:
    async with open_scene(PUBLIC) as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        scene.identity.flavor = "" if machine == "other cloud" else "Google"
        scene.identity.account = machine != "no account"
        if machine == "none":
            del scene.google.addresses[METADATA]
        async with process(scene.internet, environment={}) as app:
            reports = await carry_out(app, rule(f"{HOST}/{PATH}", f"{OTHER}/app"))

    assert (reports.problems, reports.count(Outcome.COPIED)) == ([], 1)
    assert scene.users() == {None}
    assert scene.identity.issued == []


async def test_machine_is_not_asked_where_the_environment_says_so() -> None:
    async with open_scene(PUBLIC) as scene, scene.native({"NO_GCE_CHECK": "true"}) as (_, source):
        assert await source.credential(HOST) is None

    assert scene.identity.asked == []


async def test_search_for_a_machine_is_not_repeated_for_a_while() -> None:
    async with open_scene() as scene:
        scene.identity.flavor = ""
        async with scene.native({}) as (client, source):
            for _ in range(3):
                assert await source.credential(HOST) is None
            assert scene.identity.asked == ["/"]
            scene.identity.flavor = "Google"
            client.clock.advance(ABSENT_FOR_S + 1)
            assert await source.credential(HOST) is not None


async def test_machine_that_is_named_and_gives_no_token_is_an_error() -> None:
    async with open_scene(PUBLIC) as scene:
        scene.identity.refusal = text_answer(403, "Unable to generate access token; IAM returned 403 Forbidden")
        async with scene.native({"GCE_METADATA_HOST": METADATA}) as (_, source):
            with pytest.raises(CredentialError, match="IAM returned 403"):
                await source.credential(HOST)


async def test_who_is_refused_without_an_identity_is_told_what_would_give_one() -> None:
    async with open_scene() as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        scene.identity.flavor = ""
        async with process(scene.internet, environment={}) as app:
            with pytest.raises(UnauthorizedError) as caught:
                await fetch(app)

    assert "gcloud auth application-default login" in caught.value.remedy
    assert f'give "{HOST}" a username and password' in caught.value.remedy


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_refused_with_an_anonymous_token_is_told_the_same(status: int) -> None:
    profile = replace(PUBLIC, auth=replace(PUBLIC.auth, granted=frozenset({"pull"} if status == 403 else ())))
    async with open_scene(profile) as scene:
        api_of(scene.google).made.clear()
        scene.identity.flavor = ""
        async with process(scene.internet) as app:
            with pytest.raises((UnauthorizedError, DeniedError)) as caught:
                await fetch(app)

    assert caught.value.status == status
    assert "gcloud auth application-default login" in caught.value.remedy
    assert ("gcloud artifacts repositories create" in caught.value.remedy) == (status == 403)


@pytest.mark.parametrize("profile", [GOOGLE, PUBLIC], ids=["private", "public"])
async def test_missing_extra_is_named_where_access_is_refused_and_public_images_work(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.auth.transport.requests", None)
    async with open_scene(profile) as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(scene.identity.service_account(tmp_path))}
        async with process(scene.internet, environment=environment) as app:
            if profile is PUBLIC:
                await fetch(app)
                return
            with pytest.raises(UnauthorizedError) as caught:
                await fetch(app)

    assert "pip install '.[gcp]'" in caught.value.remedy


@pytest.mark.parametrize("user", ["_json_key", "_json_key_base64"])
async def test_key_as_a_password_needs_no_identity(user: str) -> None:
    profile = replace(GOOGLE, auth=replace(GOOGLE.auth, user=user, password="{}"))
    async with open_scene(profile) as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        async with process(scene.internet, environment={}, settings={HOST: logged_in(scene.google, HOST)}) as app:
            await fetch(app)

    assert scene.users() == {(user, "{}")}
    assert scene.identity.asked == []


# --- what is where


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (f"{PLACE}/", [f"{PLACE}/base", PATH, f"{PATH}/plugin"]),
        (f"{PLACE}/team/", [PATH, f"{PATH}/plugin"]),
        (f"{PLACE}/b", [f"{PLACE}/base"]),
        ("acme-prod/", [f"{PLACE}/base", PATH, f"{PATH}/plugin"]),
        ("acme-prod", [f"{PLACE}/base", PATH, f"{PATH}/plugin"]),
        (PLACE, [f"{PLACE}/base", PATH, f"{PATH}/plugin"]),
        (f"{PLACE}/team", [PATH, f"{PATH}/plugin"]),
        (PATH, [PATH, f"{PATH}/plugin"]),
    ],
)
@pytest.mark.parametrize("tells_projects", [True, False])
async def test_repositories_are_found_below_a_prefix(prefix: str, expected: list[str], tells_projects: bool) -> None:
    async with open_scene() as scene:
        api = api_of(scene.google)
        api.tells_projects, api.page_entries = tells_projects, 2
        api.made.update(f"acme-prod/other-{number}" for number in range(5))
        api.made.add("acme-test/mirror")
        for path in (PATH, f"{PATH}/plugin", f"{PLACE}/base", "acme-test/mirror/app"):
            put(scene.google, path, make_image(path), "1.0")
        async with scene.internet.client(HOST, credential=credential_of(scene.google)) as client:
            found = await client.repositories(prefix)

    assert sorted(found) == sorted(expected)
    pages = [record.target.decode() for record in scene.google.traffic.of("api")]
    assert len(pages) == (3 if prefix.rstrip("/") == "acme-prod" and not tells_projects else 0)


@pytest.mark.parametrize("user", ["oauth2accesstoken", "_json_key"])
async def test_project_that_nobody_tells_about_is_said_to_be_so(user: str) -> None:
    profile = replace(GOOGLE, auth=replace(GOOGLE.auth, user=user))
    async with open_scene(profile) as scene:
        api_of(scene.google).tells_projects = False
        if user == "oauth2accesstoken":
            scene.google.fault(Respond(403), kind="api", times=None)
        async with scene.internet.client(HOST, credential=credential_of(scene.google)) as client:
            with pytest.raises(UnsupportedError, match="cannot be listed") as caught:
                await client.repositories("acme-prod/")

    assert f"{HOST}/acme-prod/REPOSITORY/*" in caught.value.remedy
    sent = {record.header("Authorization") for record in scene.google.traffic.of("api")}
    assert sent == ({f"Bearer {profile.auth.password}"} if user == "oauth2accesstoken" else {None})


async def test_repository_is_listed_where_nobody_tells_about_its_project() -> None:
    """`mirrord repositories HOST/PROJECT/REPOSITORY` names a place without a slash behind it."""
    async with open_scene() as scene:
        api_of(scene.google).tells_projects = False
        put(scene.google, PATH, IMAGE, "1.0")
        async with scene.internet.client(HOST, credential=credential_of(scene.google)) as client:
            found = await client.repositories(PLACE)
            with pytest.raises(DeniedError, match="it may not exist"):
                await client.repositories("acme-prod/missing")

    assert found == [PATH]
    assert scene.google.traffic.counts["api"] == 0


@pytest.mark.parametrize("body", [b'{"error":{"code":500}}', b'{"errors":[]}', b"{}"])
async def test_answer_that_is_no_tag_list_is_not_taken_for_an_empty_place(body: bytes) -> None:
    async with open_scene() as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        scene.google.fault(Respond(200, body=body), kind="tags/list", repository=f"{PLACE}/team", times=None)
        async with scene.internet.client(HOST, credential=credential_of(scene.google)) as client:
            with pytest.raises(RegistryError, match="no tag list"):
                await client.repositories(f"{PLACE}/")


async def test_whole_registry_is_not_listed() -> None:
    async with open_scene() as scene, scene.internet.client(HOST) as client:
        with pytest.raises(UnsupportedError, match="by project only"):
            await client.repositories("")

    assert scene.google.traffic.records == type(scene.google.traffic.records)()


async def test_path_that_fails_makes_the_listing_of_repositories_fail() -> None:
    async with open_scene() as scene:
        put(scene.google, PATH, IMAGE, "1.0")
        put(scene.google, f"{PLACE}/base", IMAGE, "1.0")
        scene.google.fault(Respond(403), kind="tags/list", repository=f"{PLACE}/team", times=None)
        async with scene.internet.client(HOST, credential=credential_of(scene.google)) as client:
            with pytest.raises(DeniedError):
                await client.repositories(f"{PLACE}/")


@pytest.mark.parametrize(
    ("host", "path", "place"),
    [
        ("europe-docker.pkg.dev", "acme/mirror/team/app", Place("acme", "europe", "mirror")),
        ("us-central1-docker.pkg.dev", "acme/mirror", Place("acme", "us-central1", "mirror")),
        ("europe-docker.pkg.dev", "example.com/acme/mirror/app", Place("example.com:acme", "europe", "mirror")),
        ("gcr.io", "distroless/static", Place("distroless", "us", "gcr.io")),
        ("eu.gcr.io", "example.com/acme/app", Place("example.com:acme", "europe", "eu.gcr.io")),
        ("gcr.io", "acme", None),
        ("europe-docker.pkg.dev", "acme", None),
        ("marketplace.gcr.io", "google/debian12", None),
        ("registry.example", "acme/mirror/app", None),
    ],
)
def test_place_is_read_from_host_and_path(host: str, path: str, place: Place | None) -> None:
    assert Place.of(host, path) == place


# --- what is read


def test_no_more_is_asked_for_at_once_than_google_sends() -> None:
    longest = GoogleProvider().limits.longest_read

    assert longest is not None
    assert 0 < longest <= 9_900_000_000


class SmallReads(GoogleProvider):
    """Reads no more than 4,000 bytes in one request."""

    limits = Limits(longest_read=4000)


@pytest.mark.parametrize(
    ("offset", "asked"),
    [
        (0, ["bytes=0-3999", "bytes=4000-7999", "bytes=8000-10239"]),
        (100, ["bytes=100-4099", "bytes=4100-8099", "bytes=8100-10239"]),
        (6240, ["bytes=6240-"]),
        (6239, ["bytes=6239-10238", "bytes=10239-10239"]),
    ],
)
async def test_blob_over_the_limit_is_read_in_ranges(offset: int, asked: list[str]) -> None:
    async with open_scene() as scene:
        scene.google.store.add_blob(PATH, CONTENT)
        credential = credential_of(scene.google)
        async with (
            scene.internet.client(HOST, credential=credential, providers=(SmallReads(),)) as client,
            client.reader(PATH).blob(BLOB, offset=offset) as pieces,
        ):
            assert b"".join([piece async for piece in pieces]) == CONTENT[offset:]

    assert [record.header("Range") for record in scene.google.storage_traffic.records] == asked
    assert {record.status for record in scene.google.storage_traffic.records} == {206}


async def test_whole_blob_in_answer_to_a_range_is_taken() -> None:
    profile = replace(GOOGLE, blobs=replace(GOOGLE.blobs, redirect=None, ranges=False))
    async with open_scene(profile) as scene:
        scene.google.store.add_blob(PATH, CONTENT)
        async with (
            scene.internet.client(HOST, credential=credential_of(scene.google), providers=(SmallReads(),)) as client,
            client.reader(PATH).blob(BLOB) as pieces,
        ):
            assert b"".join([piece async for piece in pieces]) == CONTENT

    assert scene.google.traffic.counts["blob GET"] == 1


async def test_error_in_a_later_range_is_told() -> None:
    async with open_scene() as scene:
        scene.google.store.add_blob(PATH, CONTENT)
        scene.google.fault(Respond(404), kind="blob GET", nth=2)
        async with scene.internet.client(
            HOST, credential=credential_of(scene.google), providers=(SmallReads(),)
        ) as client:
            got = b""
            with pytest.raises(RegistryError, match="404"):  # noqa: PT012 - it is the reading that fails
                async with client.reader(PATH).blob(BLOB) as pieces:
                    async for piece in pieces:
                        got += piece

    assert got == CONTENT[:4000]
