"""Uploads over the wire: wherever the registry points, however it takes them, and what becomes of those that fail."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import anyio
import pytest
import trustme

from mirrord.demo.registry.asgi import Answer
from mirrord.errors import (
    AddressRefusedError,
    ContentMismatchError,
    NotFoundError,
    ProtocolViolationError,
    RegistryError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.oci.reference import Repository
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings, TlsSettings
from mirrord.registry.providers.base import Abilities, Limits, Provider
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import Around, Change, CutRequest, Drop, LoseAnswer, Respond
from tests.fakes.profiles import Auth, LocationStyle, Profile, Refusal, Uploads
from tests.fakes.registry import BEARER, DISTRIBUTION_V2, FakeRegistry
from tests.fakes.routes import Routes
from tests.fakes.wire import with_headers

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 100
BLOB = blob_of(CONTENT)
ANOTHER = b"x" * len(CONTENT)


class Chunked(Provider):
    """A registry that takes uploads in chunks alone, of ten thousand bytes."""

    name = "chunked"
    abilities = Abilities(chunked_only=True)
    limits = Limits(chunk_size=10_000)

    def matches(self, host: str) -> bool:
        return True


CHUNKED: tuple[Provider, ...] = (Chunked(),)


async def put(client: Client, content: bytes = CONTENT) -> None:
    await client.writer().put_blob(BLOB, stream(content, 4096))


def stored(registry: FakeRegistry) -> bytes | None:
    return registry.store.blob("team/app", BLOB.digest)


def closed(registry: FakeRegistry) -> bool:
    return registry.store.uploads("team/app") == ()


# --- where to


@pytest.mark.parametrize(
    "style",
    [
        pytest.param("relative", id="trap-29-zot"),
        pytest.param("absolute", id="trap-29-quay"),
        pytest.param("no-scheme", id="trap-29-distribution-no-scheme"),
    ],
)
@pytest.mark.parametrize("providers", [None, CHUNKED], ids=["whole", "chunks"])
async def test_location_is_used_as_it_is(style: LocationStyle, providers: tuple[Provider, ...] | None) -> None:
    given: list[str] = []

    def note(answer: Answer) -> Answer:
        given.append(answer.header("Location") or "")
        return answer

    async with (
        FakeRegistry(Profile(uploads=Uploads(location=style))) as registry,
        open_client(registry, providers=providers) as client,
    ):
        for kind in ("upload POST", "upload PATCH"):
            registry.fault(Change(note), kind=kind, times=None) if providers or kind == "upload POST" else None
        await put(client)

    assert stored(registry) == CONTENT
    [closing] = registry.traffic.of("upload PUT")
    place = given[-1].removeprefix("http:").removeprefix(f"//{registry.host}")
    assert closing.target.decode() == f"{place}&digest={BLOB.digest}"
    assert "_state=" in place
    assert len(given) == (1 + 3 if providers else 1), "the newest location counts"


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-29-distribution-tls-ended-in-front")])
@pytest.mark.covers("A4", "C32")
async def test_location_that_lost_its_tls_is_repaired(trap: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    profile = Profile(uploads=Uploads(location="http-downgrade"))
    async with FakeRegistry(profile, ssl_context=context) as registry:
        settings = RegistrySettings(host=registry.host, tls=TlsSettings(ca_file=str(tmp_path / "ca.pem")))
        async with open_client(registry, settings=settings) as client:
            await put(client)

    assert stored(registry) == CONTENT


@pytest.mark.covers("A5", "A7", "C29", "C31")
@pytest.mark.parametrize("trap", [pytest.param("", id="E56:trap-29-distribution-other-port")])
async def test_location_on_another_port_of_the_host_is_refused(trap: str) -> None:
    async with (
        FakeRegistry(Profile(uploads=Uploads(location="other-host"))) as registry,
        open_client(registry) as client,
    ):
        with pytest.raises(AddressRefusedError, match="UPLOAD_LOCATION_UNTRUSTED"):
            await put(client)

    assert not registry.storage_traffic.records


@pytest.mark.covers("A5", "C31")
@pytest.mark.parametrize(
    ("location", "code"),
    [
        pytest.param(None, "UPLOAD_LOCATION_MISSING", id="E56:absent"),
        pytest.param("", "UPLOAD_LOCATION_MISSING", id="E56:empty"),
        pytest.param("http://storage.test/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:http"),
        pytest.param("https://127.0.0.1/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:loopback"),
        pytest.param("https://[::ffff:10.0.0.1]/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:mapped"),
        pytest.param("https://169.254.169.254/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:link-local"),
        pytest.param("https://0.0.0.0/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:unspecified"),
        pytest.param("https://8.8.8.8:8443/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:other-port"),
        pytest.param("https://u:p@storage.test/u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:user"),
        pytest.param("\\\\evil\\u", "UPLOAD_LOCATION_UNTRUSTED", id="E56:backslashes"),
        pytest.param("file:///etc/passwd", "UPLOAD_LOCATION_UNTRUSTED", id="E56:file"),
        pytest.param("/u" + "x" * 66_000, "UPLOAD_LOCATION_UNTRUSTED", id="E56:64-kib"),
    ],
)
async def test_location_that_cannot_be_trusted_gets_no_byte(location: str | None, code: str) -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    headers = {} if location is None else {"Location": location}
    routes.post(path="/v2/team/app/blobs/uploads/").respond(202, headers=headers)
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(RegistryError) as caught:
            await put(client)

    assert caught.value.code == code
    assert caught.value.host == "8.8.8.8"
    assert len(routes.asked) == 2


async def test_location_that_is_too_long_with_its_digest_is_an_error() -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    routes.post(path="/v2/team/app/blobs/uploads/").respond(202, headers={"Location": "/u?" + "x" * 65_490})
    routes.delete(path="/u").respond(204)
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(RegistryError) as caught:
            await put(client)

    assert len(str(caught.value)) < 600
    assert {request.method for request in routes.asked} <= {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("single", ["dropped", "stored"], ids=["trap-34-distribution-v2", "trap-34-zot"])
async def test_blobs_are_never_sent_with_the_opening_post(single: Literal["dropped", "stored"]) -> None:
    profile = Profile(uploads=Uploads(single_post=single))
    async with FakeRegistry(profile) as registry, open_client(registry) as client:
        await put(client)

    [opening] = registry.traffic.of("upload POST")
    assert (opening.received_bytes, opening.header("Content-Type")) == (0, None)


@pytest.mark.covers("A4", "A12", "C29")
@pytest.mark.parametrize("location", ["https://storage.test/u?sig=a%2Fb%3d", "//storage.test/u?sig=a%2Fb%3d"])
async def test_location_on_another_host_gets_the_bytes_and_no_credential(location: str) -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/", headers={"Authorization": "Basic dTpjYW5hcnk="}).respond(200)
    routes.get("https://8.8.8.8/v2/").respond(401, headers={"WWW-Authenticate": "Basic"})
    routes.post(path="/v2/team/app/blobs/uploads/").respond(202, headers={"Location": location})
    routes.put(host="storage.test").respond(201)
    credential = Credential(username="u", secret="canary")
    async with open_client("8.8.8.8", transport=routes.everywhere(), credential=credential) as client:
        await put(client)

    upload = routes.asked[-1]
    assert str(upload.url) == f"https://storage.test/u?sig=a%2Fb%3d&digest={BLOB.digest}"
    assert "authorization" not in upload.headers
    assert await upload.aread() == CONTENT
    assert "authorization" in routes.asked[-2].headers


async def test_location_in_the_middle_of_an_upload_is_judged_too() -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    routes.post(path="/v2/team/app/blobs/uploads/").respond(202, headers={"Location": "/v2/team/app/blobs/uploads/1"})
    routes.patch(path="/v2/team/app/blobs/uploads/1").respond(202, headers={"Location": "https://10.0.0.1/u"})
    routes.delete(path="/v2/team/app/blobs/uploads/1").respond(204)
    async with open_client("8.8.8.8", transport=routes.everywhere(), providers=CHUNKED) as client:
        with pytest.raises(AddressRefusedError, match="UPLOAD_LOCATION_UNTRUSTED"):
            await put(client)

    assert {request.url.host for request in routes.asked} == {"8.8.8.8"}


@pytest.mark.covers("D63")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirected_upload_is_an_error(status: int) -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Respond(status, (("Location", f"{registry.url}/v2/x"),)), kind="upload PUT")
        with pytest.raises(ProtocolViolationError, match="redirects an upload"):
            await put(client)

    assert registry.traffic.counts["other"] == 0


# --- answers that are lost


@pytest.mark.parametrize("trap", [pytest.param("", id="D10:trap-33-distribution-v2")])
@pytest.mark.parametrize("providers", [None, CHUNKED], ids=["whole", "chunks"])
async def test_upload_whose_last_answer_was_lost_is_there(trap: str, providers: tuple[Provider, ...] | None) -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry, providers=providers) as client:
        registry.fault(LoseAnswer(), kind="upload PUT")
        await put(client)

    assert stored(registry) == CONTENT
    assert registry.traffic.counts["upload POST"] == 1
    assert sum(record.received_bytes for record in registry.traffic.records) == len(CONTENT)


async def test_upload_that_broke_off_is_not_there_and_can_be_tried_again() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(CutRequest(after=1000), kind="upload PUT")
        with pytest.raises(UnavailableError) as caught:
            await put(client)
        assert caught.value.retryable
        assert stored(registry) is None
        await put(client)

    assert stored(registry) == CONTENT


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-33-ecr")])
async def test_session_that_is_said_to_be_unknown_after_the_end_is_looked_into(trap: str) -> None:
    gone = Respond(404, (), b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}')
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.store.add_blob("team/app", CONTENT)
        registry.fault(gone, kind="upload PUT")
        # The closing PUT is refused before its body is read, so let it come in chunks: all of it was sent.
        async with open_client(registry, providers=CHUNKED) as chunking:
            await put(chunking)
        del client

    assert registry.traffic.counts["blob HEAD"] == 1


@pytest.mark.parametrize("providers", [None, CHUNKED], ids=["whole", "chunks"])
async def test_lost_session_is_worth_a_fresh_one(providers: tuple[Provider, ...] | None) -> None:
    kind = "upload PATCH" if providers else "upload PUT"
    async with FakeRegistry() as registry, open_client(registry, providers=providers) as client:
        registry.fault(Around(before=lambda: forget_uploads(registry)), kind=kind)
        with pytest.raises(NotFoundError) as caught:
            await put(client)
        assert caught.value.retryable
        assert "BLOB_UPLOAD_UNKNOWN" in caught.value.error_codes
        await put(client)

    assert stored(registry) == CONTENT


def forget_uploads(registry: FakeRegistry) -> None:
    for upload in registry.store.uploads("team/app"):
        registry.store.cancel_upload(upload)


@pytest.mark.parametrize("trap", [pytest.param("", id="D9:trap-32-distribution-v2")])
async def test_lost_answer_to_a_chunk_means_a_new_session(trap: str) -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry, providers=CHUNKED) as client:
        registry.fault(LoseAnswer(), kind="upload PATCH", nth=2)
        with pytest.raises(UnavailableError) as caught:
            await put(client)
        assert caught.value.retryable
        await put(client)

    assert stored(registry) == CONTENT
    assert registry.traffic.counts["upload POST"] == 2


@pytest.mark.parametrize("providers", [None, CHUNKED], ids=["D32:trap-08-gitlab", "D32:trap-08-dockerhub"])
async def test_token_that_ends_during_an_upload_is_worth_a_fresh_one(providers: tuple[Provider, ...] | None) -> None:
    async with FakeRegistry(BEARER) as registry, open_client(registry, providers=providers) as client:
        registry.fault(Around(before=registry.tokens.revoke_all), kind="upload PATCH" if providers else "upload PUT")
        with pytest.raises(UnauthorizedError) as caught:
            await put(client)
        assert caught.value.retryable
        await put(client)

    assert stored(registry) == CONTENT
    assert closed(registry)


# --- chunks


@pytest.mark.parametrize("status", [405, 415, 501], ids=str)
async def test_registry_that_takes_no_whole_uploads_gets_chunks_from_then_on(status: int) -> None:
    profile = Profile(uploads=Uploads(put_body=Refusal(status=status)))
    async with FakeRegistry(profile) as registry, open_client(registry) as client:
        with pytest.raises(UnsupportedError) as caught:
            await put(client)
        assert caught.value.retryable
        await put(client)
        await client.writer("team/other").put_blob(BLOB, stream(CONTENT))

    assert stored(registry) == CONTENT
    assert registry.traffic.counts["upload PATCH"] == 2
    assert closed(registry)


async def test_registry_that_takes_nothing_is_not_tried_for_ever() -> None:
    refusal = Refusal(status=405)
    async with (
        FakeRegistry(Profile(uploads=Uploads(put_body=refusal, patch=refusal))) as registry,
        open_client(registry) as client,
    ):
        retryable = []
        for _ in range(2):
            with pytest.raises(UnsupportedError) as caught:
                await put(client)
            retryable.append(caught.value.retryable)

    assert retryable == [True, False]


def chunk_sizes(registry: FakeRegistry) -> list[int]:
    return [record.received_bytes for record in registry.traffic.of("upload PATCH")]


async def test_chunks_have_the_length_of_the_provider_and_say_where_they_belong() -> None:
    async with (
        FakeRegistry(Profile(uploads=Uploads(content_range="required"))) as registry,
        open_client(registry, providers=CHUNKED) as client,
    ):
        await put(client)

    assert stored(registry) == CONTENT
    assert chunk_sizes(registry) == [10_000, 10_000, 5_600]
    ranges = [record.header("Content-Range") for record in registry.traffic.of("upload PATCH")]
    assert ranges == ["0-9999", "10000-19999", "20000-25599"]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-30-ecr")])
async def test_least_length_of_chunks_is_kept_to(trap: str) -> None:
    async with (
        FakeRegistry(Profile(uploads=Uploads(min_chunk_bytes=12_000))) as registry,
        open_client(registry, providers=CHUNKED) as client,
    ):
        await put(client)

    assert chunk_sizes(registry) == [12_000, 12_000, 1_600]


@pytest.mark.parametrize(
    ("least", "first"),
    [
        pytest.param("1000000000000", 25_600, id="E58:ten-to-the-twelve"),
        pytest.param("9" * 5000, 25_600, id="E58:five-thousand-digits"),
        pytest.param("-5", 10_000, id="E58:negative"),
        pytest.param("many", 10_000, id="E58:text"),
        pytest.param("²", 10_000, id="E58:superscript"),
        pytest.param("", 10_000, id="E58:empty"),
    ],
)
async def test_odd_least_length_of_chunks_is_clamped_or_ignored(least: str, first: int) -> None:
    async with FakeRegistry() as registry, open_client(registry, providers=CHUNKED) as client:
        registry.fault(Change(lambda answer: with_headers(answer, oci_chunk_min_length=least)), kind="upload POST")
        await put(client)

    assert stored(registry) == CONTENT
    assert chunk_sizes(registry)[0] == first


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("0-0", id="trap-31-distribution"),
        pytest.param("0-9999", id="trap-31-ecr"),
        pytest.param("bytes=0-10000", id="trap-31-quay"),
        pytest.param("0-1000000000000000000", id="E57:ten-to-the-eighteen"),
        pytest.param("9-0", id="E57:backwards"),
        pytest.param(None, id="E57:absent"),
    ],
)
async def test_range_of_a_session_is_not_believed(value: str | None) -> None:
    async with FakeRegistry() as registry, open_client(registry, providers=CHUNKED) as client:
        lie = Change(lambda answer: with_headers(answer, range=value))
        registry.fault(lie, kind="upload PATCH", times=None)
        await put(client)

    assert stored(registry) == CONTENT


async def test_location_of_a_chunk_that_is_not_given_stays_the_one_before() -> None:
    async with FakeRegistry() as registry, open_client(registry, providers=CHUNKED) as client:
        with_location = Change(lambda answer: with_headers(answer, location=None))
        registry.fault(with_location, kind="upload PATCH", nth=3)
        with pytest.raises(NotFoundError):
            await put(client)  # this registry wants the newest one, which it did not tell

    assert registry.traffic.counts["upload PUT"] == 1


# --- what comes of failures


async def test_failing_source_is_the_error_and_the_upload_is_cancelled() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:10_000]
        raise ZeroDivisionError("the source failed")

    for providers in (None, CHUNKED):
        async with FakeRegistry() as registry, open_client(registry, providers=providers) as client:
            with pytest.raises(ZeroDivisionError, match="the source failed"):
                await client.writer().put_blob(BLOB, broken())

        assert closed(registry)
        assert stored(registry) is None
        assert registry.traffic.counts["upload DELETE"] >= 1


async def test_failing_source_that_is_a_registry_is_told_as_it_is() -> None:
    cause = UnavailableError("the source broke off", host="source.test", retryable=True)

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:10_000]
        raise cause

    async with FakeRegistry() as registry, open_client(registry) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.writer().put_blob(BLOB, broken())

    assert caught.value is cause
    assert closed(registry)


async def test_failing_source_does_not_open_the_breaker_of_the_target() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:10]
        raise UnavailableError("the source broke off", host="source.test")

    async with FakeRegistry() as registry, open_client(registry) as client:
        for _ in range(60):
            with pytest.raises(UnavailableError, match="the source broke off"):
                await client.writer().put_blob(BLOB, broken())
        await put(client)

    assert stored(registry) == CONTENT


@pytest.mark.parametrize("profile", [Profile(), BEARER], ids=["open", "bearer"])
async def test_cancelled_task_cancels_its_upload(profile: Profile) -> None:
    """distribution wants a token with ``delete`` for that."""
    waiting = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield CONTENT[:10_000]
        waiting.set()
        await anyio.sleep_forever()

    async with (
        FakeRegistry(profile) as registry,
        open_client(registry) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(client.writer().put_blob, BLOB, endless())
        await waiting.wait()
        assert not closed(registry)
        group.cancel_scope.cancel()

    assert closed(registry)


async def test_upload_is_given_up_where_it_cannot_be_cancelled() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT[:10_000]
        raise ZeroDivisionError

    for action in (Respond(405), Respond(500), Drop(), Respond(404)):
        async with FakeRegistry() as registry, open_client(registry) as client:
            registry.fault(action, kind="upload DELETE", times=None)
            with pytest.raises(ZeroDivisionError):
                await client.writer().put_blob(BLOB, broken())

        assert registry.traffic.counts["upload DELETE"] <= 4


@pytest.mark.covers("C3")
@pytest.mark.parametrize("providers", [None, CHUNKED], ids=["whole", "chunks"])
async def test_bytes_of_another_digest_are_refused_by_the_registry(providers: tuple[Provider, ...] | None) -> None:
    async with FakeRegistry() as registry, open_client(registry, providers=providers) as client:
        with pytest.raises(ContentMismatchError, match="changed on the way") as caught:
            await put(client, ANOTHER)

    assert caught.value.retryable
    assert stored(registry) is None
    assert registry.traffic.counts["upload DELETE"] == 0, "the session is gone"


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-28-distribution-body-limit")])
@pytest.mark.parametrize("size", [100_000, 8 * 1024 * 1024], ids=["small", "large"])
async def test_body_limit_of_a_proxy_is_final_and_named(trap: str, size: int) -> None:
    content = bytes(size)
    async with (
        FakeRegistry(Profile(uploads=Uploads(max_body_bytes=50_000))) as registry,
        open_client(registry) as client,
    ):
        with pytest.raises(RegistryError) as caught:
            await client.writer().put_blob(blob_of(content), stream(content, 64 * 1024))

    if caught.value.status is not None:  # the connection may break before the answer is read
        assert caught.value.code == "BODY_TOO_LARGE_FOR_PROXY"
        assert "client_max_body_size" in caught.value.remedy
        assert not caught.value.retryable


@pytest.mark.covers("E61")
@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_success_of_the_closing_put_is_one(status: int) -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: Answer(status=status, headers=answer.headers)), kind="upload PUT")
        await put(client)

    assert stored(registry) == CONTENT


@pytest.mark.covers("E61")
async def test_odd_answer_to_the_opening_post_is_an_error() -> None:
    async with FakeRegistry() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: Answer(status=200, headers=answer.headers)), kind="upload POST")
        with pytest.raises(ProtocolViolationError, match="UNEXPECTED_STATUS"):
            await put(client)


# --- mounts


ORIGIN = "team/base"


def with_origin(profile: Profile | None = None) -> FakeRegistry:
    registry = FakeRegistry(profile or Profile())
    registry.store.add_blob(ORIGIN, CONTENT)
    return registry


async def mount(client: Client, origin: str = ORIGIN) -> bool:
    return await client.writer().mount_blob(BLOB, Repository(client.host, origin))


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-35-distribution")])
async def test_mount_costs_one_request(trap: str) -> None:
    async with with_origin() as registry, open_client(registry) as client:
        assert await mount(client)

    assert stored(registry) == CONTENT
    assert registry.traffic.counts == {"ping": 1, "mount": 1}
    [request] = registry.traffic.of("mount")
    assert request.target.decode() == f"/v2/team/app/blobs/uploads/?mount={BLOB.digest}&from={ORIGIN}"


@pytest.mark.parametrize("there", [True, False], ids=["there", "not-there"])
async def test_mount_that_names_no_digest_is_looked_into(there: bool) -> None:
    async with with_origin() as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, docker_content_digest=None)), kind="mount")
        if not there:
            registry.fault(Respond(404), kind="blob HEAD")
        assert await mount(client) is there


async def test_mount_that_opens_an_upload_instead_is_cancelled() -> None:
    for profile in (Profile(uploads=Uploads(mount="upload")), BEARER, Profile()):
        async with with_origin(profile) as registry, open_client(registry) as client:
            assert not await mount(client, "team/elsewhere")

        assert closed(registry)
        assert registry.traffic.counts["upload DELETE"] >= 1


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(Refusal(status=401, code="UNAUTHORIZED"), id="trap-35-dockerhub"),
        pytest.param(Refusal(status=403, code="DENIED"), id="trap-35-google"),
        pytest.param(Refusal(status=404, code="NAME_UNKNOWN"), id="trap-35-harbor"),
        pytest.param(Refusal(status=405), id="trap-35-zot"),
        pytest.param(Refusal(status=200), id="odd"),
    ],
)
async def test_refused_mount_is_no_error_and_is_not_asked_for_again_after_three(refusal: Refusal) -> None:
    async with with_origin(Profile(uploads=Uploads(mount=refusal))) as registry, open_client(registry) as client:
        for _ in range(5):
            assert not await mount(client)
        await put(client)

    assert stored(registry) == CONTENT
    assert registry.traffic.counts["mount"] <= 3 * 2


async def test_mount_that_works_again_is_asked_for_again() -> None:
    async with with_origin() as registry, open_client(registry) as client:
        for _ in range(4):
            registry.fault(Respond(405), kind="mount", times=2)
            assert [await mount(client) for _ in range(3)] == [False, False, True]

    assert registry.traffic.counts["mount"] == 12


@pytest.mark.parametrize("location", ["", "\\\\evil", "https://10.0.0.1/u", "http://[", None])
async def test_odd_location_of_a_refused_mount_does_not_matter(location: str | None) -> None:
    async with with_origin(Profile(uploads=Uploads(mount="upload"))) as registry, open_client(registry) as client:
        registry.fault(Change(lambda answer: with_headers(answer, location=location)), kind="mount")
        assert not await mount(client)


async def test_provider_without_mounts_is_never_asked_for_one() -> None:
    class Without(Provider):
        abilities = Abilities(mount=False)

        def matches(self, host: str) -> bool:
            return True

    async with with_origin() as registry, open_client(registry, providers=(Without(),)) as client:
        assert not await mount(client)

    assert registry.traffic.counts["mount"] == 0


async def test_dead_registry_is_no_refused_mount() -> None:
    async with with_origin() as registry, open_client(registry) as client:
        registry.fault(Respond(503), kind="mount", times=None)
        with pytest.raises(UnavailableError):
            await mount(client)


async def test_mounts_of_registries_with_odd_scopes_leave_the_push_token_alone() -> None:
    auth = Auth(scheme="bearer", refused_scopes=(ORIGIN,))
    async with with_origin(Profile(auth=auth)) as registry, open_client(registry) as client:
        await put(client)
        assert not await mount(client)
        await client.writer().put_blob(blob_of(b"another"), stream(b"another"))

    assert registry.traffic.counts["token"] == 2
