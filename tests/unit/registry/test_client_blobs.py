"""Blobs over the wire: ranges, breaks, lengths that lie, and layers that are elsewhere."""

from __future__ import annotations

import pytest

from mirrord.demo.registry.asgi import Answer
from mirrord.errors import (
    AddressRefusedError,
    ContentMismatchError,
    NotFoundError,
    ProtocolViolationError,
    RegistryError,
    UnavailableError,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.ports.credentials import Credential
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import Action, Change, CutBody, Drop, Endless, Raw, Respond
from tests.fakes.profiles import Blobs, Profile
from tests.fakes.registry import DISTRIBUTION_V2, FakeRegistry
from tests.fakes.routes import Routes

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 1000
BLOB = blob_of(CONTENT)
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def filled(blobs: Blobs | None = None) -> FakeRegistry:
    registry = FakeRegistry(Profile(blobs=blobs or Blobs()))
    registry.store.add_blob("team/app", CONTENT)
    return registry


async def read(client: Client, offset: int = 0, blob: Descriptor = BLOB) -> bytes:
    async with client.reader().blob(blob, offset=offset) as pieces:
        return b"".join([piece async for piece in pieces])


# --- ranges


@pytest.mark.covers("C21")
async def test_rest_of_a_blob_is_asked_for_by_range() -> None:
    async with filled() as registry, open_client(registry) as client:
        assert await read(client, 1000) == CONTENT[1000:]

    [request] = registry.traffic.of("blob GET")
    assert request.header("Range") == "bytes=1000-"
    assert request.header("Accept-Encoding") == "identity"
    assert request.sent_bytes == len(CONTENT) - 1000


@pytest.mark.parametrize(
    "offset", [1, 128_000, len(CONTENT) - 1], ids=lambda offset: f"D6:trap-13-distribution-{offset}"
)
async def test_whole_answer_to_a_range_is_cut_to_the_rest(offset: int) -> None:
    async with filled(Blobs(ranges=False)) as registry, open_client(registry) as client:
        assert await read(client, offset) == CONTENT[offset:]

    assert registry.traffic.counts["blob GET"] == 1


def part(first: int, content_range: str) -> Change:
    def change(_answer: Answer) -> Answer:
        return Answer(status=206, headers=(("Content-Range", content_range),), body=CONTENT[first:])

    return Change(change)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(part(0, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"), id="D7:from-the-beginning"),
        pytest.param(part(999, f"bytes 999-{len(CONTENT) - 1}/{len(CONTENT)}"), id="D7:one-too-early"),
        pytest.param(part(1000, "bytes */5"), id="D7:unsatisfied"),
        pytest.param(part(1000, ""), id="D7:empty"),
        pytest.param(part(1000, "nonsense"), id="D7:nonsense"),
    ],
)
async def test_part_that_begins_elsewhere_is_refused_and_the_whole_is_read(wrong: Change) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(wrong, kind="blob GET")
        assert await read(client, 1000) == CONTENT[1000:]

    assert [request.header("Range") for request in registry.traffic.of("blob GET")] == ["bytes=1000-", None]


async def test_part_that_nobody_asked_for_is_an_error() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(part(999, f"bytes 999-{len(CONTENT) - 1}/{len(CONTENT)}"), kind="blob GET", times=2)
        with pytest.raises(ProtocolViolationError, match="in parts that nobody asked for"):
            await read(client, 1000)


async def test_part_that_is_the_whole_is_taken() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(part(0, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"), kind="blob GET")
        assert await read(client) == CONTENT


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-14-distribution-v2")])
async def test_range_that_does_not_suit_the_registry_is_an_error(trap: str) -> None:
    """Nobody asks from the end on; a registry whose blob is shorter than said answers so."""
    longer = Descriptor(media_type=BLOB.media_type, digest=BLOB.digest, size=len(CONTENT) + 10)
    async with FakeRegistry(DISTRIBUTION_V2) as registry, open_client(registry) as client:
        registry.store.add_blob("team/app", CONTENT)
        with pytest.raises(RegistryError, match="RANGE_REFUSED"):
            await read(client, len(CONTENT), longer)


async def test_range_goes_along_with_a_redirect_and_the_registry_is_asked_for_a_new_one() -> None:
    """Trap 13: a signed URL does not live long; only the registry can give another."""
    async with filled(Blobs(redirect=307, signature_life_s=60)) as registry, open_client(registry) as client:
        registry.fault(CutBody(after=500), kind="storage")
        with pytest.raises(UnavailableError):
            await read(client)
        registry.clock.advance(120)
        assert await read(client, 500) == CONTENT[500:]

    first, second = registry.storage_traffic.records
    assert first.target != second.target
    assert second.header("Range") == "bytes=500-"


# --- breaks and lies


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(CutBody(after=0), id="D1:at-once"),
        pytest.param(CutBody(after=1000, reset=True), id="D1:reset-in-the-middle"),
        pytest.param(CutBody(after=len(CONTENT) - 1), id="D2:trap-13-distribution-last-byte"),
    ],
)
async def test_body_that_breaks_off_says_where(action: Action) -> None:
    received = bytearray()

    async def collect(client: Client) -> None:
        async with client.reader().blob(BLOB) as pieces:
            async for piece in pieces:
                received.extend(piece)

    async with filled() as registry, open_client(registry) as client:
        registry.fault(action, kind="blob GET")
        with pytest.raises(UnavailableError) as caught:
            await collect(client)
        received += await read(client, len(received))

    assert received == CONTENT
    assert caught.value.retryable
    assert f"of {len(CONTENT)}" in str(caught.value) or "connection was lost" in str(caught.value)


@pytest.mark.parametrize("by", [-1, 1], ids=["D3:longer", "shorter"])
async def test_announced_length_that_is_not_the_descriptors_is_refused_before_a_byte_is_read(by: int) -> None:
    lied = Descriptor(media_type=BLOB.media_type, digest=BLOB.digest, size=len(CONTENT) + by)
    async with filled() as registry, open_client(registry) as client:
        for offset in (0, 100):
            with pytest.raises(ContentMismatchError, match="SIZE_MISMATCH"):
                async with client.reader().blob(lied, offset=offset):
                    pytest.fail("nothing is to be read")


def chunked(*pieces: bytes) -> Raw:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


@pytest.mark.covers("D3")
async def test_body_without_a_length_is_stopped_at_the_size() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Endless(), kind="blob GET")
        with pytest.raises(ContentMismatchError, match=r"SIZE_MISMATCH.*at least"):
            await read(client)
        registry.fault(chunked(CONTENT, b"x"), kind="blob GET")
        with pytest.raises(ContentMismatchError, match="SIZE_MISMATCH"):
            await read(client)


@pytest.mark.covers("D2")
async def test_body_without_a_length_that_ends_early_is_a_break() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(chunked(CONTENT[:-1]), kind="blob GET")
        with pytest.raises(UnavailableError, match=f"ended at byte {len(CONTENT) - 1} of {len(CONTENT)}"):
            await read(client)
        registry.fault(chunked(CONTENT[:1000], CONTENT[1000:]), kind="blob GET")
        assert await read(client) == CONTENT
        registry.fault(chunked(CONTENT[:1000], CONTENT[1000:]), kind="blob GET")
        assert await read(client, 1500) == CONTENT[1500:]


@pytest.mark.parametrize("trap", [pytest.param("", id="E65:trap-15-distribution")])
async def test_compressed_blob_is_refused(trap: str) -> None:
    async with filled(Blobs(gzip=True)) as registry, open_client(registry) as client:
        with pytest.raises(ProtocolViolationError, match="CONTENT_ENCODING_UNEXPECTED") as caught:
            await read(client)

    assert "compression" in caught.value.remedy


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-20-ecr")])
async def test_type_of_a_blob_is_not_looked_at(trap: str) -> None:
    async with (
        filled(Blobs(content_type="application/vnd.docker.container.image.v1+json")) as registry,
        open_client(registry) as client,
    ):
        assert await read(client) == CONTENT


@pytest.mark.covers("D37")
async def test_blob_that_is_not_there_is_not_found() -> None:
    async with filled() as registry, open_client(registry) as client:
        with pytest.raises(NotFoundError, match="no such blob"):
            await read(client, blob=blob_of(b"elsewhere"))


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_failed_exchange_is_not_repeated_behind_the_callers_back(status: int) -> None:
    """The caller holds places and a position; it decides."""
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Respond(status), kind="blob GET")
        with pytest.raises(RegistryError) as caught:
            await read(client)

    assert caught.value.retryable
    assert registry.traffic.counts["blob GET"] == 1


async def test_empty_blob_is_read_and_put() -> None:
    empty = blob_of(b"")
    async with filled() as registry, open_client(registry) as client:
        await client.writer().put_blob(empty, stream(b""))
        assert await read(client, blob=empty) == b""
        assert await client.writer().has_blob(empty)


# --- looking up


@pytest.mark.parametrize(
    ("header", "there"),
    [(f"Content-Length: {len(CONTENT)}", True), (f"Content-Length: {len(CONTENT) + 1}", False), ("X: 1", True)],
    ids=["right", "wrong", "untold"],
)
async def test_blob_is_there_if_its_size_is_right_where_it_is_told(header: str, there: bool) -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Raw(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{header}\r\n\r\n".encode()), kind="blob HEAD")
        assert await client.writer().has_blob(BLOB) is there


# --- foreign layers


def foreign(*urls: str, media_type: str = FOREIGN) -> Descriptor:
    return Descriptor(media_type=media_type, digest=BLOB.digest, size=BLOB.size, urls=urls)


def routes_without_the_blob() -> Routes:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/").respond(200)
    routes.get(path__startswith="/v2/team/app/blobs/").respond(404)
    return routes


@pytest.mark.covers("A1", "A10", "C31")
@pytest.mark.parametrize(
    "url",
    [
        "http://layers.test/x",
        "https://127.0.0.1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/x",
        "https://user:word@layers.test/x",
        "file:///etc/passwd",
        "/v2/team/secret/blobs/x",
        "//127.0.0.1/x",
        "",
    ],
)
async def test_url_of_a_layer_is_not_trusted(url: str) -> None:
    routes = routes_without_the_blob()
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(AddressRefusedError, match="FOREIGN_URL_REFUSED"):
            await read(client, blob=foreign(url))

    assert len(routes.asked) == 2


@pytest.mark.covers("A1", "A10")
async def test_layer_is_fetched_from_its_urls_without_any_credential() -> None:
    routes = Routes()
    routes.get("https://8.8.8.8/v2/", headers={"Authorization": "Basic dTpjYW5hcnk="}).respond(200)
    routes.get("https://8.8.8.8/v2/").respond(401, headers={"WWW-Authenticate": "Basic"})
    routes.get(path__startswith="/v2/team/app/blobs/").respond(404)
    routes.get("https://gone.test/x").respond(404)
    challenge = {"WWW-Authenticate": 'Bearer realm="https://8.8.8.8/token"'}
    routes.get("https://canary.test/x").respond(401, headers=challenge)
    routes.get("https://layers.test/x?sig=a%2Fb").respond(200, content=CONTENT)
    credential = Credential(username="u", secret="canary")
    async with open_client("8.8.8.8", transport=routes.everywhere(), credential=credential) as client:
        assert await read(client, blob=foreign("https://gone.test/x", "https://layers.test/x?sig=a%2Fb")) == CONTENT
        with pytest.raises(RegistryError):
            await read(client, blob=foreign("https://canary.test/x"))

    outside = [request for request in routes.asked if request.url.host != "8.8.8.8"]
    assert [request.url.host for request in outside] == ["gone.test", "layers.test", "canary.test"]
    assert not [request for request in outside if "authorization" in request.headers]


async def test_urls_of_an_ordinary_layer_are_left_alone() -> None:
    routes = routes_without_the_blob()
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        with pytest.raises(NotFoundError):
            await read(client, blob=foreign("https://layers.test/x", media_type="application/octet-stream"))

    assert len(routes.asked) == 2


@pytest.mark.covers("A10")
@pytest.mark.parametrize("there", ["https://127.0.0.1/x", "http://layers.test/y", "https://8.8.8.8/v2/secret/blobs/x"])
async def test_redirect_of_a_foreign_layer_is_judged_too(there: str) -> None:
    routes = routes_without_the_blob()
    routes.get("https://layers.test/x").respond(302, headers={"Location": there})
    routes.get("https://8.8.8.8/v2/secret/blobs/x").respond(200, content=CONTENT)
    async with open_client("8.8.8.8", transport=routes.everywhere()) as client:
        if "8.8.8.8" in there:
            assert await read(client, blob=foreign("https://layers.test/x")) == CONTENT
            assert "authorization" not in routes.asked[-1].headers
        else:
            with pytest.raises(AddressRefusedError):
                await read(client, blob=foreign("https://layers.test/x"))


async def test_connection_that_drops_before_the_answer_is_retryable() -> None:
    async with filled() as registry, open_client(registry) as client:
        registry.fault(Drop(), kind="blob GET")
        with pytest.raises(UnavailableError) as caught:
            await read(client)

    assert caught.value.retryable
