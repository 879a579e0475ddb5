from __future__ import annotations

import httpx2
import pytest

from mirrord.demo.registry import BasicUser, RegistryApp, Traffic
from mirrord.demo.registry.routes import Route, RouteKind, parse_route, request_class
from mirrord.demo.serving import serve

pytestmark = pytest.mark.anyio

DIGEST = f"sha256:{'0' * 64}"


async def test_ping_says_which_api_this_is(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v2/")

    assert (response.status_code, response.content) == (200, b"{}")
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


async def test_path_without_slash_is_redirected(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v2")

    assert (response.status_code, response.headers["Location"]) == (301, "/v2/")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/",
        "/v2/Team/app/tags/list",
        "/v2/team/app/tags",
        "/v2/team/app/tags/list/more",
        "/v2/team/app/manifests/",
        "/v2/team//app/tags/list",
        "/v2/team/app/blobs/uploads/a/b",
    ],
)
async def test_unknown_path_is_404_in_plain_text(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("PUT", "/v2/team/app/tags/list", "GET"),
        ("POST", "/v2/team/app/manifests/1.0", "GET, HEAD, PUT, DELETE"),
        ("GET", "/v2/team/app/blobs/uploads/", "POST"),
        ("POST", "/v2/team/app/blobs/uploads/0123", "GET, PATCH, PUT, DELETE"),
    ],
)
async def test_unknown_method_is_405(client: httpx2.AsyncClient, method: str, path: str, allowed: str) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "authorization",
    [None, "Basic", "Basic !", "Basic YWxpY2U6d3Jvbmc=", "Bearer YWxpY2U6c2VjcmV0"],
    ids=["none", "empty", "no-base64", "wrong-password", "other-scheme"],
)
async def test_user_is_asked_for(authorization: str | None) -> None:
    app = RegistryApp(user=BasicUser(name="alice", password="secret"), realm="demo")
    headers = {"Authorization": authorization} if authorization else {}

    async with serve(app) as host, httpx2.AsyncClient(base_url=f"http://{host}", verify=False) as client:
        response = await client.get("/v2/", headers=headers)

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="demo"'
    assert response.json()["errors"][0]["code"] == "UNAUTHORIZED"


async def test_user_is_let_in() -> None:
    app = RegistryApp(user=BasicUser(name="alice", password="secret"))

    async with serve(app) as host, httpx2.AsyncClient(base_url=f"http://{host}", verify=False) as client:
        response = await client.get("/v2/", auth=("alice", "secret"))

    assert response.status_code == 200
    assert app.traffic.records[0].header("authorization") is not None


def test_user_does_not_show_the_password() -> None:
    assert "secret" not in repr(BasicUser(name="alice", password="secret"))


async def test_traffic_keeps_requests_byte_for_byte(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    await client.get("/v2/team/app/tags/list?last=a%2fb&n=1")
    await client.put("/v2/team/app/manifests/1.0", content=b"12345")

    listed, put = app.traffic.records

    assert listed.target == b"/v2/team/app/tags/list?last=a%2fb&n=1"
    assert (listed.method, listed.kind, listed.status, listed.route.repository) == ("GET", "tags/list", 404, "team/app")
    assert listed.header("Host") == client.base_url.netloc.decode()
    assert listed.header("X-None") is None
    assert (put.received_bytes, put.status) == (5, 400)
    assert app.traffic.of("manifest PUT") == [put]
    assert app.traffic.received_bytes == 5
    assert (app.traffic.in_flight, app.traffic.most_in_flight) == (0, 1)


async def test_traffic_starts_anew(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    await client.get("/v2/")

    app.traffic.clear()

    assert (dict(app.traffic.counts), len(app.traffic.records), app.traffic.sent_bytes) == ({}, 0, 0)


async def test_traffic_is_bounded(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    app.traffic = Traffic(max_records=2)

    for _ in range(3):
        await client.get("/v2/")

    assert len(app.traffic.records) == 2
    assert app.traffic.counts["ping"] == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/", Route(kind=RouteKind.PING)),
        ("/v2/_catalog", Route(kind=RouteKind.CATALOG)),
        ("/v2/a/tags/list", Route(kind=RouteKind.TAGS, repository="a")),
        ("/v2/a/b/manifests/1.0", Route(kind=RouteKind.MANIFEST, repository="a/b", reference="1.0")),
        ("/v2/a/blobs/" + DIGEST, Route(kind=RouteKind.BLOB, repository="a", reference=DIGEST)),
        ("/v2/a/blobs/uploads/", Route(kind=RouteKind.UPLOAD, repository="a")),
        ("/v2/a/blobs/uploads/7", Route(kind=RouteKind.UPLOAD, repository="a", reference="7")),
        ("/v2/a/referrers/" + DIGEST, Route(kind=RouteKind.REFERRERS, repository="a", reference=DIGEST)),
        (
            "/v2/manifests/manifests/manifests",
            Route(kind=RouteKind.MANIFEST, repository="manifests", reference="manifests"),
        ),
        ("/v2/blobs/uploads/tags/list", Route(kind=RouteKind.TAGS, repository="blobs/uploads")),
    ],
)
def test_route_is_found_by_its_path(path: str, expected: Route) -> None:
    assert parse_route(path) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/v2/", b"", "ping"),
        ("GET", "/v2/a/tags/list", b"", "tags/list"),
        ("HEAD", "/v2/a/manifests/1", b"", "manifest HEAD"),
        ("POST", "/v2/a/blobs/uploads/", b"", "upload POST"),
        ("POST", "/v2/a/blobs/uploads/", b"mount=x&from=b", "mount"),
        ("DELETE", "/v2/a/blobs/x", b"", "blob DELETE"),
        ("GET", "/metrics", b"", "other"),
    ],
)
def test_request_is_counted_by_route_and_method(method: str, path: str, query: bytes, expected: str) -> None:
    assert request_class(method, parse_route(path), query) == expected
