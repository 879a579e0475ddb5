"""The traps of an nginx with TLS and htpasswd before docker-registry: the real programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trustme

from mirrord.errors import RegistryError, UnauthorizedError
from mirrord.oci.reference import Tag
from mirrord.planning.listing import ListingTraits
from mirrord.ports.credentials import Credential
from mirrord.ports.settings import RegistrySettings, TlsSettings
from mirrord.registry.providers.base import Abilities, Limits, Provider
from tests.contract.images import blob_of, build_image, stream, write_image
from tests.fakes.clients import Client, open_client
from tests.integration.servers import Credentials, DockerRegistry, TLSFront

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

PATH = "team/app"
IMAGE = build_image(padding=4096)
TAG = Tag("1.0")
SECRET = Credentials("mirror", "s3cret")


class Chunked(Provider):
    """Uploads in chunks."""

    abilities = Abilities(chunked_only=True)
    limits = Limits(chunk_size=10_000)
    listing = ListingTraits()

    def matches(self, host: str) -> bool:
        """Match every host."""
        return True


class StartFront(Protocol):
    """Starts an nginx before a docker-registry, with the options of `TLSFront`."""

    def __call__(
        self, *, forwarded_proto: bool = True, limit_bodies: bool = False, compress: bool = False
    ) -> TLSFront: ...


@pytest.fixture
def start_front(tmp_path: Path, require_tool: Callable[..., None]) -> Iterator[StartFront]:
    """Start an nginx before a docker-registry; both end with the test."""
    require_tool("docker-registry", "nginx", "htpasswd")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("certificate_file", "key_file", "ca_file")}
    for chained in issued.cert_chain_pems:
        chained.write_to_path(str(files["certificate_file"]), append=True)
    issued.private_key_pem.write_to_path(str(files["key_file"]))
    authority.cert_pem.write_to_path(str(files["ca_file"]))
    with ExitStack() as running:

        def start(*, forwarded_proto: bool = True, limit_bodies: bool = False, compress: bool = False) -> TLSFront:
            backend = running.enter_context(DockerRegistry(tmp_path / "registry"))
            front = TLSFront(
                tmp_path / "front",
                backend=backend,
                credentials=SECRET,
                forwarded_proto=forwarded_proto,
                limit_bodies=limit_bodies,
                compress=compress,
                **files,
            )
            return running.enter_context(front)

        yield start


@asynccontextmanager
async def connected(
    front: TLSFront, *, password: str = SECRET.password, providers: tuple[Provider, ...] | None = None
) -> AsyncIterator[Client]:
    settings = RegistrySettings(host=front.address, tls=TlsSettings(ca_file=str(front.ca_file)))
    credential = Credential(username=SECRET.username, secret=password)
    async with open_client(front.address, settings=settings, credential=credential, providers=providers) as client:
        yield client


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-15-nginx")])
async def test_compression_that_nobody_asks_for_does_not_happen(trap: str, start_front: StartFront) -> None:
    front = start_front(compress=True)
    async with connected(front) as client:
        await write_image(client.writer(PATH), IMAGE, "1.0")
        manifest = f"/v2/{PATH}/manifests/1.0"
        accept = {"Accept": IMAGE.manifest.descriptor.media_type, "Accept-Encoding": "gzip"}
        packed = front.send("GET", manifest, headers=accept)

        assert packed.headers["content-encoding"] == "gzip", "the trap is there"
        assert (await client.reader(PATH).manifest(IMAGE.digest)).raw == IMAGE.manifest.raw
        for blob in IMAGE.manifest.blobs():
            async with client.reader(PATH).blob(blob) as pieces:
                assert b"".join([piece async for piece in pieces]) == IMAGE.contents[blob.digest]


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-19-nginx")])
async def test_page_in_place_of_an_error_is_told_by_its_title(trap: str, start_front: StartFront) -> None:
    front = start_front()
    async with connected(front, password="wrong") as client:
        with pytest.raises(UnauthorizedError, match="401 Authorization Required") as caught:
            await client.tags(PATH)

    assert "<html" not in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert front.forwarded() == [], "nginx let nothing through"


@pytest.mark.parametrize("providers", [None, (Chunked(),)], ids=["whole", "chunks"])
@pytest.mark.parametrize("trap", [pytest.param("", id="trap-28-nginx")])
async def test_body_limit_is_final_and_named(
    trap: str, providers: tuple[Provider, ...] | None, start_front: StartFront
) -> None:
    content = bytes(3 << 20)

    class InLargeChunks(Chunked):
        limits = Limits(chunk_size=2 << 20)

    front = start_front(limit_bodies=True)
    async with connected(front, providers=(InLargeChunks(),) if providers else None) as client:
        with pytest.raises(RegistryError) as caught:
            await client.writer(PATH).put_blob(blob_of(content), stream(content))
        small = bytes(1 << 19)
        await client.writer(PATH).put_blob(blob_of(small), stream(small))

    refused = [request for request in front.requests() if request.status == 413]
    assert len(refused) == 1, "it is not tried again"
    if caught.value.status is not None:  # nginx may close the connection before its answer is read
        assert caught.value.code == "BODY_TOO_LARGE_FOR_PROXY"
        assert not caught.value.retryable


@pytest.mark.parametrize("providers", [None, (Chunked(),)], ids=["whole", "chunks"])
@pytest.mark.parametrize("trap", [pytest.param("", id="trap-29-nginx")])
async def test_location_that_lost_its_tls_is_repaired(
    trap: str, providers: tuple[Provider, ...] | None, start_front: StartFront
) -> None:
    content = bytes(range(256)) * 100
    front = start_front(forwarded_proto=False)
    async with connected(front, providers=providers) as client:
        started = front.send("POST", f"/v2/{PATH}/blobs/uploads/")
        assert started.headers["location"].startswith("http://"), "the trap is there"
        front.forget_requests()
        await client.writer(PATH).put_blob(blob_of(content), stream(content))
        assert await client.writer(PATH).has_blob(blob_of(content))

    asked = [(request.method, request.status) for request in front.requests()]
    chunks = [("PATCH", 202)] * (3 if providers else 0)
    assert asked == [("GET", 401), ("GET", 200), ("POST", 202), *chunks, ("PUT", 201), ("HEAD", 200)], (
        "all of it by way of TLS"
    )
