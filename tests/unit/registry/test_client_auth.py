"""Authorisation from end to end: challenges, tokens and renewals, and where a credential never goes."""

from __future__ import annotations

import anyio
import pytest

from mirrord.demo.registry.asgi import Answer
from mirrord.errors import AddressRefusedError, ProtocolViolationError, RegistryError, UnauthorizedError
from mirrord.oci.reference import Repository, Tag
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings
from tests.contract.images import blob_of, build_image, stream, write_image
from tests.fakes.clients import Client, credential_of, open_client, settings_of
from tests.fakes.faults import Change, Drop, Raw, Respond
from tests.fakes.profiles import Auth, Blobs, Profile, Refusal, Uploads
from tests.fakes.registry import BASIC, BEARER, FakeRegistry
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

IMAGE = build_image()
CONTENT = bytes(range(256)) * 40
BLOB = blob_of(CONTENT)
REFUSED_POSTS = {400: "trap-07-acr", 401: "trap-07-artifactory", 404: "trap-07-google"}


def filled(profile: Profile) -> FakeRegistry:
    registry = FakeRegistry(profile)
    registry.store.add_blob("team/app", CONTENT)
    registry.store.add_manifest("team/app", IMAGE.manifest.raw, IMAGE.manifest.descriptor.media_type, tags=["1.0"])
    return registry


async def read_blob(client: Client, offset: int = 0) -> bytes:
    async with client.reader().blob(BLOB, offset=offset) as pieces:
        return b"".join([piece async for piece in pieces])


def authorizations(registry: FakeRegistry) -> list[str | None]:
    return [record.header("Authorization") for record in registry.traffic.records]


# --- what works


@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
async def test_image_is_pushed_and_pulled_with_a_credential(profile: Profile) -> None:
    async with FakeRegistry(profile) as registry, open_client(registry) as client:
        await write_image(client.writer(), IMAGE, "1.0")
        found = await client.reader().head(Tag("1.0"))
        await client.writer().delete(Tag("1.0"))

    assert found == IMAGE.manifest.descriptor
    assert registry.store.tags("team/app") == {}


async def test_anonymous_pull_uses_an_anonymous_token() -> None:
    async with (
        filled(Profile(auth=Auth(scheme="bearer", anonymous_pull=True))) as registry,
        open_client(registry, anonymous=True) as client,
    ):
        assert await client.reader().head(Tag("1.0")) == IMAGE.manifest.descriptor

    [request] = registry.traffic.of("token")
    assert request.header("Authorization") is None


async def test_realm_on_a_listed_host_works_and_on_an_unlisted_one_sees_no_byte() -> None:
    """A2, and A11: the token service listens on another port, which is another origin."""
    async with filled(BEARER) as registry:
        async with open_client(registry) as client:
            assert await client.reader().head(Tag("1.0")) is not None
        registry.traffic.clear()
        async with open_client(registry, settings=settings_of(registry, auth_hosts=())) as client:
            with pytest.raises(AddressRefusedError, match=r"AUTH_REALM_UNTRUSTED.*auth_hosts"):
                await client.reader().head(Tag("1.0"))

    assert not registry.traffic.of("token")


@pytest.mark.covers("A2", "A3", "A9", "C29", "C32", "E52")
@pytest.mark.parametrize(
    "realm",
    [
        "https://evil.test/token",
        "https://registry.example.com.evil.test/token",
        "http://auth.example.com/token",
        "https://auth.example.com:8443/token",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0:8080/token",
        "https://127.0.0.1/token",
        "https://2130706433/token",
        "https://known:x@registry.example.com/token",
        "file:///etc/passwd",
        "/token",
        "//evil.test/token",
        "token",
    ],
)
@pytest.mark.parametrize("credential", ["password", "identity-token"])
async def test_realm_that_is_not_trusted_is_refused_before_a_byte_is_sent(realm: str, credential: str) -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}
    routes.get("https://registry.example.com/v2/").respond(401, headers=challenge)
    secret = (
        Credential(username="u", secret="canary")
        if credential == "password"
        else Credential(username="u", identity_token="canary")
    )

    async with open_client("registry.example.com", transport=routes.everywhere(), credential=secret) as client:
        with pytest.raises(AddressRefusedError) as caught:
            await client.reader().head(Tag("1.0"))

    assert caught.value.code == "AUTH_REALM_UNTRUSTED"
    assert routes.targets() == ["GET https://registry.example.com/v2/"]
    assert "canary" not in f"{caught.value}"


async def test_realm_on_a_sibling_host_works_without_a_setting() -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="s"'}
    routes.get("https://registry.example.com/v2/").respond(401, headers=challenge)
    routes.get("https://auth.example.com/token").respond(200, json={"token": "t"})
    routes.head(
        "https://registry.example.com/v2/team/app/manifests/1.0", headers={"Authorization": "Bearer t"}
    ).respond(404)

    async with open_client("registry.example.com", transport=routes.everywhere()) as client:
        assert await client.reader().head(Tag("1.0")) is None


@pytest.mark.covers("A9")
@pytest.mark.parametrize(
    ("location", "allowed"),
    [
        ("https://auth.example.com/v2/token", True),
        ("/v2/token", True),
        ("https://evil.test/token", False),
        ("http://auth.example.com/token", False),
        ("https://169.254.169.254/", False),
    ],
)
async def test_each_hop_of_a_token_request_is_judged(location: str, allowed: bool) -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="s"'}
    routes.get("https://registry.example.com/v2/").respond(401, headers=challenge)
    routes.get("https://auth.example.com/token").respond(307, headers={"Location": location})
    routes.get("https://auth.example.com/v2/token").respond(200, json={"token": "t"})
    routes.head("https://registry.example.com/v2/team/app/manifests/1.0").respond(404)
    credential = Credential(username="u", secret="canary")

    async with open_client("registry.example.com", transport=routes.everywhere(), credential=credential) as client:
        if allowed:
            assert await client.reader().head(Tag("1.0")) is None
        else:
            with pytest.raises(AddressRefusedError, match="AUTH_REALM_UNTRUSTED"):
                await client.reader().head(Tag("1.0"))

    assert not [request for request in routes.asked if request.url.host in {"evil.test", "169.254.169.254"}]


async def test_token_service_that_redirects_for_ever_is_an_error() -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="s"'}
    routes.get("https://registry.example.com/v2/").respond(401, headers=challenge)
    routes.get("https://auth.example.com/token").respond(307, headers={"Location": "/token"})

    async with open_client("registry.example.com", transport=routes.everywhere()) as client:
        with pytest.raises(ProtocolViolationError, match="REDIRECT_LOOP"):
            await client.reader().head(Tag("1.0"))

    assert len(routes.asked) == 1 + 6


async def test_password_is_not_posted_to_where_a_token_service_redirects() -> None:
    routes = Routes()
    challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="s"'}
    routes.get("https://registry.example.com/v2/").respond(401, headers=challenge)
    routes.post("https://auth.example.com/token").respond(307, headers={"Location": "https://auth.example.com/x"})
    credential = Credential(username="u", identity_token="canary")

    async with open_client("registry.example.com", transport=routes.everywhere(), credential=credential) as client:
        with pytest.raises(RegistryError, match="status 307"):
            await client.reader().head(Tag("1.0"))

    assert len(routes.asked) == 2


# --- renewal and refusal


async def test_token_that_died_is_renewed_once() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        registry.tokens.revoke_all()
        registry.traffic.clear()

        assert await client.reader().head(Tag("1.0")) is not None

    assert [(record.kind, record.status) for record in registry.traffic.records] == [
        ("manifest HEAD", 401),
        ("token", 200),
        ("manifest HEAD", 200),
    ]


@pytest.mark.covers("D33")
async def test_401_for_ever_is_two_tries_and_an_error() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        registry.traffic.clear()
        registry.fault(Respond(401), kind="manifest HEAD", times=None)
        with pytest.raises(UnauthorizedError) as caught:
            await client.reader().head(Tag("1.0"))

    assert caught.value.code == "AUTH_REJECTED"
    assert registry.traffic.counts["manifest HEAD"] == 2
    assert registry.traffic.counts["token"] == 1
    assert client.slept == []


async def test_wrong_password_is_an_error_that_names_the_user() -> None:
    wrong = Credential(username="robot", secret="wrong")
    for profile in (BASIC, BEARER):
        async with filled(profile) as registry, open_client(registry, credential=wrong) as client:
            with pytest.raises(UnauthorizedError, match="AUTH_REJECTED") as caught:
                await client.reader().head(Tag("1.0"))

        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "profile",
    [pytest.param(BASIC, id="basic"), pytest.param(Profile(auth=Auth(scheme="basic", ping_status=200)), id="late")],
)
async def test_missing_credential_is_an_error_that_says_so(profile: Profile) -> None:
    async with filled(profile) as registry, open_client(registry, anonymous=True) as client:
        with pytest.raises(UnauthorizedError, match="wants a credential, and none is configured"):
            await client.reader().head(Tag("1.0"))


async def test_refusal_that_does_not_say_how_to_log_in_is_told_as_that() -> None:
    async with filled(Profile()) as registry, open_client(registry, credential=Credential(username="u")) as client:
        registry.fault(Respond(401), kind="manifest HEAD")
        with pytest.raises(UnauthorizedError, match="no access, or nothing of that name"):
            await client.reader().head(Tag("1.0"))


@pytest.mark.covers("E53")
async def test_scheme_that_is_not_spoken_is_an_error_that_names_it() -> None:
    routes = Routes()
    negotiate = {"WWW-Authenticate": "Negotiate, NTLM"}
    routes.get("https://registry.test/v2/").respond(401, headers=negotiate)
    routes.head("https://registry.test/v2/team/app/manifests/1.0").respond(401, headers=negotiate)
    credential = Credential(username="u", secret="canary")

    async with open_client("registry.test", transport=routes.everywhere(), credential=credential) as client:
        with pytest.raises(UnauthorizedError, match="negotiate, ntlm") as caught:
            await client.reader().head(Tag("1.0"))

    assert caught.value.code == "AUTH_SCHEME_UNSUPPORTED"


# --- traps


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(Auth(scheme="bearer", token_keys=("access_token",), expires_in=None), id="trap-01-acr"),
        pytest.param(Auth(scheme="bearer", token_keys=("token",), expires_in=None), id="trap-01-quay"),
        pytest.param(Auth(scheme="bearer", repository_challenge="ping"), id="trap-03-google-scope-of-the-ping"),
        pytest.param(
            Auth(scheme="bearer", ping_scope="repository:user/image:pull", repository_challenge="ping"),
            id="trap-04-ghcr",
        ),
        pytest.param(Auth(scheme="bearer", post=Refusal(status=404)), id="trap-07-google"),
        pytest.param(Auth(scheme="bearer", issued_at_skew_s=-600), id="trap-09-dockerhub-behind"),
        pytest.param(Auth(scheme="bearer", issued_at_skew_s=600), id="trap-09-dockerhub-ahead"),
        pytest.param(Auth(scheme="bearer", challenge_form="two-headers"), id="trap-11-distribution-two-headers"),
        pytest.param(
            Auth(scheme="bearer", challenge_form="one-header-of-two"), id="trap-11-distribution-one-header-of-two"
        ),
    ],
)
async def test_oddities_of_token_services_are_coped_with(auth: Auth) -> None:
    async with FakeRegistry(Profile(auth=auth)) as registry, open_client(registry) as client:
        await write_image(client.writer(), IMAGE, "1.0")
        registry.tokens.revoke_all()

        assert await client.reader().head(Tag("1.0")) == IMAGE.manifest.descriptor


@pytest.mark.parametrize("challenge", [pytest.param("basic", id="trap-02-harbor")])
async def test_scheme_flip_redoes_the_bearer_flow_and_sends_no_password(challenge: str) -> None:
    auth = Auth(scheme="bearer", repository_challenge="basic")
    async with filled(Profile(auth=auth)) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        registry.tokens.revoke_all()
        assert await client.reader().head(Tag("1.0")) is not None

    data = [record for record in registry.traffic.records if record.kind != "token"]
    assert not [record for record in data if (record.header("Authorization") or "").startswith("Basic")]


@pytest.mark.parametrize(
    "form", [pytest.param("none", id="trap-03-google"), pytest.param("empty", id="trap-03-harbor")]
)
async def test_401_without_a_challenge_uses_that_of_the_ping_once(form: str) -> None:
    auth = Auth(scheme="bearer", repository_challenge="none" if form == "none" else "empty")
    async with filled(Profile(auth=auth)) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        registry.tokens.revoke_all()
        assert await client.reader().head(Tag("1.0")) is not None
        registry.fault(Respond(401), kind="manifest HEAD", times=None)
        with pytest.raises(UnauthorizedError, match="AUTH_REJECTED"):
            await client.reader().head(Tag("1.0"))


@pytest.mark.parametrize("case", [pytest.param("push", id="trap-05-dockerhub")])
async def test_token_without_rights_is_one_renewal_and_a_clear_error(case: str) -> None:
    auth = Auth(scheme="bearer", granted=frozenset({"pull"}))
    async with filled(Profile(auth=auth)) as registry, open_client(registry) as client:
        with pytest.raises(UnauthorizedError) as caught:
            await client.writer().put_blob(BLOB, stream(CONTENT))

    assert caught.value.code == "AUTH_REJECTED"
    assert registry.traffic.counts["upload POST"] == 2
    assert registry.traffic.counts["token"] == 2


@pytest.mark.parametrize("status", [400, 401, 403], ids=["trap-06-quay", "trap-06-dockerhub", "trap-06-ghcr"])
async def test_bad_source_scope_costs_the_mount_alone(status: int) -> None:
    auth = Auth(scheme="bearer", refused_scopes=("team/secret",), refused_scope_status=status)
    async with FakeRegistry(Profile(auth=auth)) as registry, open_client(registry) as client:
        registry.store.add_blob("team/secret", CONTENT)
        origin = Repository(registry.host, "team/secret")

        assert not await client.writer().mount_blob(BLOB, origin)
        await client.writer().put_blob(BLOB, stream(CONTENT))

    assert registry.store.blob("team/app", BLOB.digest) == CONTENT


@pytest.mark.parametrize("status", [400, 401, 404, 405], ids=REFUSED_POSTS.get)
async def test_identity_token_with_a_password_falls_back_to_get(status: int) -> None:
    auth = Auth(scheme="bearer", post=Refusal(status=status))
    both = Credential(username=auth.user, secret=auth.password, identity_token="not-known-here")
    async with filled(Profile(auth=auth)) as registry, open_client(registry, credential=both) as client:
        assert await client.reader().head(Tag("1.0")) is not None

    assert [record.method for record in registry.traffic.of("token")] == ["POST", "GET"]


@pytest.mark.parametrize("kind", ["manifest GET", "ping"])
async def test_refusal_whose_body_breaks_off_is_a_refusal_all_the_same(kind: str) -> None:
    async with filled(BASIC) as registry, open_client(registry) as client:
        challenge = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 100\r\n\r\nshort'
        registry.fault(Raw(challenge), kind=kind)
        assert (await client.reader().manifest(IMAGE.digest)).raw == IMAGE.manifest.raw


# --- traffic


async def test_many_tasks_share_one_token() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client, anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(client.reader().head, Tag("1.0"))

    assert registry.traffic.counts["token"] == 1
    assert registry.traffic.counts["ping"] == 1
    assert registry.traffic.counts["manifest HEAD"] == 100


@pytest.mark.covers("C41", "D35")
async def test_dead_token_service_is_tried_four_times_and_no_more() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        registry.fault(Respond(503), kind="token", times=None)
        for _ in range(3):
            with pytest.raises(RegistryError, match="UNAVAILABLE"):
                await client.reader().head(Tag("1.0"))

    assert registry.traffic.counts["token"] == 4
    assert registry.traffic.counts["manifest HEAD"] == 0


@pytest.mark.covers("D35")
async def test_endless_token_answer_is_cut() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        registry.fault(Respond(200, body=b'{"token": "' + b"t" * 70_000 + b'"}'), kind="token")
        with pytest.raises(ProtocolViolationError, match="TOKEN_INVALID"):
            await client.reader().head(Tag("1.0"))


async def test_token_service_that_breaks_once_is_asked_again() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        registry.fault(Drop(), kind="token")
        assert await client.reader().head(Tag("1.0")) is not None

    assert registry.traffic.counts["token"] == 2


# --- where a credential never goes


@pytest.mark.covers("A6", "A12", "A18", "C29")
@pytest.mark.parametrize("status", [302, 307], ids=["trap-12-quay", "trap-12-distribution"])
@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
async def test_redirected_blob_is_fetched_without_the_credential(profile: Profile, status: int) -> None:
    redirecting = Profile(auth=profile.auth, blobs=Blobs(redirect=status, redirect_head=True))
    async with filled(redirecting) as registry, open_client(registry) as client:
        assert await read_blob(client) == CONTENT
        assert await read_blob(client, offset=100) == CONTENT[100:]
        assert await client.writer().has_blob(BLOB)

    whole, part, head = registry.storage_traffic.records
    for record in (whole, part, head):
        names = {name.lower() for name, _ in record.headers}
        assert names <= {"host", "user-agent", "accept-encoding", "range"}
    assert b"KEY%2f20260101%2Fs3&response=a+b%20c~d&empty=&X-Amz-Signature=" in whole.target
    assert (whole.header("Range"), part.header("Range")) == (None, "bytes=100-")


@pytest.mark.covers("A6", "C32")
@pytest.mark.parametrize(
    "location",
    [
        "http://storage.test/blob",
        "https://169.254.169.254/blob",
        "https://127.0.0.1/blob",
        "https://10.0.0.1/blob",
        "https://user:word@storage.test/blob",
        "ftp://storage.test/blob",
        "https://storage.test/a b\x7f",
    ],
)
async def test_redirect_that_may_not_be_followed_is_refused(location: str) -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    routes.get(path__startswith="/v2/team/app/blobs/").respond(307, headers={"Location": location})

    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(AddressRefusedError) as caught:
            await read_blob(client)

    assert caught.value.code == "REDIRECT_REFUSED"
    assert caught.value.host == "8.8.8.8"
    assert "word" not in str(caught.value)
    assert len(routes.asked) == 2


@pytest.mark.covers("A8")
async def test_challenge_of_the_storage_is_not_met() -> None:
    """The fix for "401 after redirect" once re-attached the registry's token there."""
    async with (
        filled(Profile(auth=BEARER.auth, blobs=Blobs(redirect=307))) as registry,
        open_client(registry) as client,
    ):
        challenge = f'Bearer realm="http://{registry.token_host}/token",service="registry.test"'
        registry.fault(Respond(401, (("WWW-Authenticate", challenge),)), kind="storage")
        with pytest.raises(UnauthorizedError):
            await read_blob(client)
        assert await read_blob(client) == CONTENT

    assert not [record for record in registry.storage_traffic.records if record.header("Authorization")]


@pytest.mark.covers("A4", "C29")
@pytest.mark.parametrize("challenge", ['Bearer realm="https://evil.test/token"', "Basic"], ids=["bearer", "basic"])
async def test_challenge_of_a_foreign_upload_host_teaches_nothing(challenge: str) -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/", headers={"Authorization": "Basic dTpjYW5hcnk="}).respond(200)
    routes.get("https://8.8.8.8/v2/").respond(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    routes.post("https://8.8.8.8/v2/team/app/blobs/uploads/").respond(
        202, headers={"Location": "https://storage.test/upload/1?sig=x"}
    )
    routes.put(host="storage.test").respond(401, headers={"WWW-Authenticate": challenge})
    routes.delete(host="storage.test").respond(204)
    routes.head(path__startswith="/v2/team/app/manifests/").respond(404)
    credential = Credential(username="u", secret="canary")

    async with open_client("8.8.8.8", transport=routes.everywhere(), credential=credential) as client:
        with pytest.raises(UnauthorizedError):
            await client.writer().put_blob(BLOB, stream(CONTENT))
        assert client.http.authorizer.scheme == "basic"
        assert await client.writer().head(Tag("1.0")) is None

    foreign = [request for request in routes.asked if request.url.host == "storage.test"]
    assert [request.method for request in foreign] == ["PUT", "DELETE"]
    assert not [request for request in foreign if "authorization" in request.headers]


@pytest.mark.covers("A7", "A11", "A18", "C29")
@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
async def test_header_canaries_stay_at_home(profile: Profile) -> None:
    """Every way to another origin at once; each server there keeps all headers."""
    async with FakeRegistry() as other:
        odd = Profile(auth=profile.auth, uploads=Uploads(location="absolute"), blobs=Blobs(redirect=307))
        async with filled(odd) as registry, open_client(registry) as client:
            elsewhere = f"{other.url}/v2/x"
            move = Change(lambda _: Answer(status=307, headers=(("Location", elsewhere),)))
            for kind in ("blob GET", "manifest GET", "tags/list"):
                registry.fault(move, kind=kind)
            registry.fault(
                Change(lambda answer: Answer(status=202, headers=(("Location", elsewhere),))), kind="upload POST"
            )
            for attempt in (
                read_blob(client),
                client.reader().manifest(IMAGE.digest),
                client.tags(),
                client.writer().put_blob(BLOB, stream(CONTENT)),
            ):
                with pytest.raises(RegistryError):
                    await attempt
            await read_blob(client)

        secret = credential_of(registry).secret
        seen = [value for record in other.traffic.records for _, value in record.headers]
        seen += [value for record in registry.storage_traffic.records for _, value in record.headers]

    assert not [value for value in seen if secret in value or value.startswith(("Basic", "Bearer"))]
    assert all(authorizations(registry)[1:]), "while the registry itself got it with each request"


async def test_credential_is_fetched_for_each_use_so_that_a_rotated_one_counts() -> None:
    async with filled(BASIC) as registry, open_client(registry, credential=Credential(username="old")) as client:
        with pytest.raises(UnauthorizedError):
            await client.reader().head(Tag("1.0"))
        client.credentials.by_host[registry.host] = credential_of(registry)

        assert await client.reader().head(Tag("1.0")) is not None


async def test_registry_that_wants_a_credential_only_later_gets_it() -> None:
    """The ping is open, repositories are not."""
    for profile in (BASIC, BEARER):
        auth = Auth(scheme=profile.auth.scheme, ping_status=200)
        async with filled(Profile(auth=auth)) as registry, open_client(registry) as client:
            assert await client.reader().head(Tag("1.0")) is not None


@pytest.mark.covers("E54")
async def test_only_what_is_needed_is_asked_for() -> None:
    async with FakeRegistry(BEARER) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        await client.writer().put_blob(BLOB, stream(CONTENT))
        await client.writer().delete(Tag("1.0"))
        await client.repositories()

    asked = [record.target.decode().partition("scope=")[2].partition("&")[0] for record in registry.traffic.of("token")]
    assert asked == [
        "repository:team/app:pull",
        "repository:team/app:pull,push",
        "repository:team/app:delete,pull",
        "registry:catalog:%2A",
    ]


async def test_many_tasks_with_a_dead_token_renew_it_once() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        await client.reader().head(Tag("1.0"))
        registry.tokens.revoke_all()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.reader().head, Tag("1.0"))

    assert registry.traffic.counts["token"] == 2


async def test_fifty_requests_of_every_kind_with_dead_tokens_renew_each_once() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        registry.store.add_blob("team/base", CONTENT)
        reader, writer, origin = client.reader(), client.writer(), Repository(registry.host, "team/base")

        async def put_blob(number: int) -> None:
            content = CONTENT + bytes([number])
            await writer.put_blob(blob_of(content), stream(content))

        async def everything(number: int) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(reader.head, Tag("1.0"))
                group.start_soon(reader.manifest, IMAGE.digest)
                group.start_soon(read_blob, client)
                group.start_soon(client.tags)
                group.start_soon(reader.referrers, IMAGE.digest)
                group.start_soon(writer.has_blob, BLOB)
                group.start_soon(writer.mount_blob, BLOB, origin)
                group.start_soon(put_blob, number)
                group.start_soon(write_image, writer, IMAGE, f"1.{number}")

        await everything(0)
        scopes = registry.traffic.counts["token"]
        registry.tokens.revoke_all()
        async with anyio.create_task_group() as group:
            for number in range(1, 7):
                group.start_soon(everything, number)

    assert registry.traffic.counts["token"] == 2 * scopes
    assert not client.http.authorizer._locks  # type: ignore[attr-defined]


async def test_settings_without_plain_http_do_not_speak_it() -> None:
    async with filled(BASIC) as registry:
        settings = RegistrySettings(host=registry.host)
        async with open_client(registry, settings=settings) as client:
            with pytest.raises(RegistryError, match=r"PLAIN_HTTP_NOT_ALLOWED.*plain_http: true"):
                await client.reader().head(Tag("1.0"))

    assert not registry.traffic.records
