from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest

from mirrord.demo.registry import RegistryApp
from mirrord.oci.digest import Digest

pytestmark = pytest.mark.anyio

CONTENT = b"layer" * 1000
DIGEST = Digest.of(CONTENT)
START = "/v2/team/app/blobs/uploads/"


def error_code(response: httpx2.Response) -> str:
    return str(response.json()["errors"][0]["code"])


async def begin(client: httpx2.AsyncClient) -> str:
    response = await client.post(START)
    assert response.status_code == 202
    return str(response.headers["Location"])


async def test_post_begins_a_session_at_a_relative_location(client: httpx2.AsyncClient) -> None:
    response = await client.post(START)

    assert response.status_code == 202
    assert response.headers["Location"].startswith(START + response.headers["Docker-Upload-UUID"] + "?_state=")
    assert response.headers["Location"].endswith("%3D%3D")
    assert response.headers["Range"] == "0-0"


async def test_put_stores_a_whole_blob(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    response = await client.put(f"{location}&digest={DIGEST}", content=CONTENT)

    assert response.status_code == 201
    assert response.headers["Location"] == f"/v2/team/app/blobs/{DIGEST}"
    assert response.headers["Docker-Content-Digest"] == str(DIGEST)
    assert app.store.blob("team/app", DIGEST) == CONTENT
    assert app.store.uploads("team/app") == ()


async def test_put_stores_a_blob_under_its_sha512(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = Digest.of(CONTENT, "sha512")
    location = await begin(client)

    response = await client.put(f"{location}&digest={digest}", content=CONTENT)

    assert response.status_code == 201
    assert app.store.blob("team/app", digest) == CONTENT


async def test_chunks_in_order_make_a_blob(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    first = await client.patch(location, content=CONTENT[:2000], headers={"Content-Range": "0-1999"})
    second = await client.patch(
        first.headers["Location"], content=CONTENT[2000:], headers={"Content-Range": f"2000-{len(CONTENT) - 1}"}
    )
    closed = await client.put(f"{second.headers['Location']}&digest={DIGEST}")

    assert (first.status_code, first.headers["Range"]) == (202, "0-1999")
    assert (second.status_code, second.headers["Range"]) == (202, f"0-{len(CONTENT) - 1}")
    assert closed.status_code == 201
    assert app.store.blob("team/app", DIGEST) == CONTENT


async def test_stream_without_length_is_stored(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(CONTENT), 700):
            yield CONTENT[start : start + 700]

    location = await begin(client)

    patched = await client.patch(location, content=pieces(), headers={"Content-Type": "application/octet-stream"})
    closed = await client.put(f"{patched.headers['Location']}&digest={DIGEST}")

    assert (patched.status_code, closed.status_code) == (202, 201)
    assert app.traffic.received_bytes == len(CONTENT)


@pytest.mark.parametrize(
    ("content_range", "status", "code"),
    [
        pytest.param("5-14", 416, "RANGE_INVALID", id="gap"),
        pytest.param("9-0", 416, "RANGE_INVALID", id="backwards"),
        pytest.param("bytes 0-9/10", 416, "RANGE_INVALID", id="other-form"),
        pytest.param("0-20", 400, "SIZE_INVALID", id="length-differs"),
    ],
)
async def test_chunk_with_a_wrong_range_is_refused(
    app: RegistryApp, client: httpx2.AsyncClient, content_range: str, status: int, code: str
) -> None:
    location = await begin(client)

    response = await client.patch(location, content=b"0123456789", headers={"Content-Range": content_range})

    assert (response.status_code, error_code(response)) == (status, code)
    assert app.store.uploads("team/app")[0].offset == 0


async def test_chunk_of_another_content_type_is_refused(client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    response = await client.patch(location, content=b"x", headers={"Content-Type": "text/plain"})

    assert (response.status_code, error_code(response)) == (500, "UNKNOWN")


async def test_status_tells_what_is_stored_to_any_location_given_out(client: httpx2.AsyncClient) -> None:
    location = await begin(client)
    await client.patch(location, content=CONTENT)

    response = await client.get(location)

    assert response.status_code == 204
    assert response.headers["Range"] == f"0-{len(CONTENT) - 1}"
    assert response.headers["Location"] != location


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_stale_location_is_refused(client: httpx2.AsyncClient, method: str) -> None:
    location = await begin(client)
    await client.patch(location, content=CONTENT)

    response = await client.request(method, f"{location}&digest={DIGEST}", content=b"")

    assert (response.status_code, error_code(response)) == (404, "BLOB_UPLOAD_INVALID")


@pytest.mark.parametrize("state", ["", "?_state=", "?_state=nonsense", "?_state=%C3%A9", "?_state=AAAAAAAAAAA%3D"])
async def test_location_without_its_state_is_refused(client: httpx2.AsyncClient, state: str) -> None:
    location = await begin(client)

    response = await client.get(location.partition("?")[0] + state)

    assert (response.status_code, error_code(response)) == (404, "BLOB_UPLOAD_INVALID")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_unknown_session_is_404(client: httpx2.AsyncClient, method: str) -> None:
    response = await client.request(method, f"{START}0123?digest={DIGEST}")

    assert (response.status_code, error_code(response)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_wrong_digest_is_refused_and_ends_the_session(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    response = await client.put(f"{location}&digest={DIGEST}", content=b"something else")

    assert (response.status_code, error_code(response)) == (400, "DIGEST_INVALID")
    assert app.store.uploads("team/app") == ()
    assert app.store.blobs("team/app") == frozenset()


async def test_closing_without_a_digest_is_refused(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    response = await client.put(location, content=CONTENT)

    assert (response.status_code, error_code(response)) == (400, "DIGEST_INVALID")


async def test_cancel_ends_the_session(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)

    response = await client.delete(location)

    assert response.status_code == 204
    assert app.store.uploads("team/app") == ()


async def test_single_post_stores_the_blob(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    response = await client.post(f"{START}?digest={DIGEST}", content=CONTENT)

    assert response.status_code == 201
    assert app.store.blob("team/app", DIGEST) == CONTENT


@pytest.mark.parametrize("digest", [str(Digest.of(b"other")), "sha256:short", ""])
async def test_single_post_with_a_wrong_digest_is_refused(
    app: RegistryApp, client: httpx2.AsyncClient, digest: str
) -> None:
    response = await client.post(f"{START}?digest={digest}", content=CONTENT)

    assert (response.status_code, error_code(response)) == (400, "DIGEST_INVALID")
    assert app.store.uploads("team/app") == ()


async def test_mount_links_a_blob_of_another_repository(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    app.store.add_blob("team/base", CONTENT)

    response = await client.post(f"{START}?mount={DIGEST}&from=team/base")

    assert response.status_code == 201
    assert response.headers["Docker-Content-Digest"] == str(DIGEST)
    assert app.store.blob("team/app", DIGEST) == CONTENT
    assert app.traffic.counts == {"mount": 1}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(f"mount={DIGEST}&from=team/nothing", id="source-unknown"),
        pytest.param(f"mount={DIGEST}", id="no-source"),
        pytest.param("mount=sha256:short&from=team/base", id="no-digest"),
    ],
)
async def test_mount_that_cannot_be_begins_a_session(app: RegistryApp, client: httpx2.AsyncClient, query: str) -> None:
    app.store.add_blob("team/base", CONTENT)

    response = await client.post(f"{START}?{query}")

    assert response.status_code == 202
    assert len(app.store.uploads("team/app")) == 1


async def test_broken_connection_keeps_what_arrived(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    location = await begin(client)
    url = client.base_url.copy_with(path="/")
    async with await anyio.connect_tcp(url.host, url.port or 0) as stream:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        await stream.send(head.encode() + b"0123456789")
        while not app.store.uploads("team/app")[0].offset:
            await anyio.lowlevel.checkpoint()

    status = await client.get(location)

    assert status.headers["Range"] == "0-9"
