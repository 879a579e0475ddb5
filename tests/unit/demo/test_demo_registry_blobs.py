from __future__ import annotations

import httpx2
import pytest

from mirrord.demo.registry import RegistryApp
from mirrord.oci.digest import Digest

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(100))
ABSENT = Digest.of(b"absent")


def error_code(response: httpx2.Response) -> str:
    (error,) = response.json()["errors"]
    assert error["message"]
    return str(error["code"])


async def test_get_returns_the_content_with_its_digest(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_blob("team/app", CONTENT)

    response = await client.get(f"/v2/team/app/blobs/{digest}")

    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["Docker-Content-Digest"] == str(digest)
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert response.headers["Content-Type"] == "application/octet-stream"


async def test_get_returns_a_blob_larger_than_one_piece(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    content = CONTENT * 10_000
    digest = app.store.add_blob("team/app", content)

    response = await client.get(f"/v2/team/app/blobs/{digest}")

    assert Digest.of(response.content) == digest
    assert app.traffic.sent_bytes == len(content)


async def test_head_has_the_length_and_no_body(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_blob("team/app", CONTENT)

    response = await client.head(f"/v2/team/app/blobs/{digest}", headers={"Range": "bytes=0-9"})

    assert response.status_code == 200
    assert response.headers["Content-Length"] == "100"
    assert response.content == b""


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        pytest.param("bytes=10-19", 10, 19, id="both"),
        pytest.param("bytes=90-", 90, 99, id="open"),
        pytest.param("bytes=-5", 95, 99, id="suffix"),
        pytest.param("bytes=-500", 0, 99, id="suffix-longer-than-the-blob"),
        pytest.param("bytes=95-500", 95, 99, id="end-past-the-blob"),
    ],
)
async def test_range_returns_that_part(
    app: RegistryApp, client: httpx2.AsyncClient, wanted: str, first: int, last: int
) -> None:
    digest = app.store.add_blob("team/app", CONTENT)

    response = await client.get(f"/v2/team/app/blobs/{digest}", headers={"Range": wanted})

    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/100"
    assert response.content == CONTENT[first : last + 1]


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=20-10", "bytes=-0", "bytes=-", "bytes=a-b", "lines=1-2"])
async def test_range_outside_the_blob_is_416(app: RegistryApp, client: httpx2.AsyncClient, wanted: str) -> None:
    digest = app.store.add_blob("team/app", CONTENT)

    response = await client.get(f"/v2/team/app/blobs/{digest}", headers={"Range": wanted})

    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */100"


async def test_several_ranges_return_the_whole(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_blob("team/app", CONTENT)

    response = await client.get(f"/v2/team/app/blobs/{digest}", headers={"Range": "bytes=0-1,5-6"})

    assert (response.status_code, response.content) == (200, CONTENT)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_unknown_blob_is_404(client: httpx2.AsyncClient, method: str) -> None:
    response = await client.request(method, f"/v2/team/app/blobs/{ABSENT}")

    assert response.status_code == 404
    assert int(response.headers["Content-Length"]) > 0
    if method != "HEAD":
        assert error_code(response) == "BLOB_UNKNOWN"


async def test_blob_of_another_repository_is_not_seen(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_blob("team/other", CONTENT)

    response = await client.head(f"/v2/team/app/blobs/{digest}")

    assert response.status_code == 404


async def test_malformed_digest_is_400(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v2/team/app/blobs/sha256:xyz")

    assert (response.status_code, error_code(response)) == (400, "DIGEST_INVALID")


async def test_delete_takes_the_blob_from_one_repository_alone(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_blob("team/app", CONTENT)
    app.store.mount("team/other", "team/app", digest)

    response = await client.delete(f"/v2/team/app/blobs/{digest}")

    assert response.status_code == 202
    assert app.store.blob("team/app", digest) is None
    assert app.store.blob("team/other", digest) == CONTENT
