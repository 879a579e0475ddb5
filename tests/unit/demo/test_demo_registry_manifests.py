from __future__ import annotations

import json
from dataclasses import dataclass

import httpx2
import pytest

from mirrord.demo.registry import RegistryApp
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

pytestmark = pytest.mark.anyio

ALL_TYPES = {"Accept": ", ".join(ACCEPT)}
ABSENT = Digest.of(b"absent")
FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@dataclass(frozen=True)
class Image:
    raw: bytes
    digest: Digest

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": OCI_MANIFEST, "digest": str(self.digest), "size": len(self.raw)}


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def make_image(app: RegistryApp | None = None, *, media_type: str = OCI_MANIFEST, **extra: object) -> Image:
    config, layer = b'{"architecture":"amd64"}', b"layer"
    if app is not None:
        app.store.add_blob("team/app", config)
        app.store.add_blob("team/app", layer)
    body: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER)],
        **extra,
    }
    raw = json.dumps(body).encode()
    return Image(raw, Digest.of(raw))


def make_index(*children: dict[str, object], media_type: str = OCI_INDEX) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": children}).encode()


async def put(
    client: httpx2.AsyncClient, reference: object, raw: bytes, media_type: str = OCI_MANIFEST
) -> httpx2.Response:
    return await client.put(
        f"/v2/team/app/manifests/{reference}", content=raw, headers={"Content-Type": media_type} if media_type else {}
    )


def error_codes(response: httpx2.Response) -> list[str]:
    return [error["code"] for error in response.json()["errors"]]


async def test_put_by_tag_stores_the_exact_bytes(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    image = make_image(app)

    response = await put(client, "1.0", image.raw, f"{OCI_MANIFEST}; charset=utf-8")

    assert response.status_code == 201
    assert response.headers["Location"] == f"/v2/team/app/manifests/{image.digest}"
    assert response.headers["Docker-Content-Digest"] == str(image.digest)
    assert "OCI-Subject" not in response.headers
    stored = app.store.manifest("team/app", "1.0")
    assert stored is not None
    assert (stored.raw, stored.media_type) == (image.raw, OCI_MANIFEST)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_put_by_digest_makes_no_tag(app: RegistryApp, client: httpx2.AsyncClient, algorithm: str) -> None:
    image = make_image(app)
    digest = Digest.of(image.raw, algorithm)

    response = await put(client, digest, image.raw)

    assert (response.status_code, response.headers["Docker-Content-Digest"]) == (201, str(digest))
    assert app.store.tags("team/app") == {}
    assert list(app.store.manifests("team/app")) == [digest]


async def test_put_under_another_digest_is_refused(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    response = await put(client, ABSENT, make_image(app).raw)

    assert (response.status_code, error_codes(response)) == (400, ["DIGEST_INVALID"])


async def test_put_with_missing_blobs_names_each(client: httpx2.AsyncClient) -> None:
    response = await put(client, "1.0", make_image().raw)

    assert response.status_code == 400
    assert error_codes(response) == ["MANIFEST_BLOB_UNKNOWN"] * 2
    details = [error["detail"]["digest"] for error in response.json()["errors"]]
    assert details == [str(Digest.of(b'{"architecture":"amd64"}')), str(Digest.of(b"layer"))]


async def test_put_does_not_ask_for_foreign_layers(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    elsewhere = {**descriptor(b"elsewhere", FOREIGN_LAYER), "urls": ["https://example.com/layer"]}

    response = await put(client, "1.0", make_image(app, layers=[elsewhere]).raw)

    assert response.status_code == 201


async def test_put_of_an_index_needs_its_children(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    image = make_image(app)
    index = make_index(image.descriptor)

    early = await put(client, "1.0", index, OCI_INDEX)
    await put(client, image.digest, image.raw)
    late = await put(client, "1.0", index, OCI_INDEX)

    assert (early.status_code, error_codes(early)) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    assert early.json()["errors"][0]["detail"] == {"digest": str(image.digest)}
    assert late.status_code == 201


async def test_put_with_a_subject_says_so(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(ABSENT), "size": 7}
    image = make_image(app, subject=subject)

    response = await put(client, image.digest, image.raw)

    assert (response.status_code, response.headers["OCI-Subject"]) == (201, str(ABSENT))


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        pytest.param(make_image().raw, "", id="no-content-type"),
        pytest.param(make_image().raw, OCI_INDEX, id="other-content-type"),
        pytest.param(b"{", OCI_MANIFEST, id="no-json"),
        pytest.param(make_image(manifests=[]).raw, OCI_MANIFEST, id="image-and-index"),
        pytest.param(make_image(config={"mediaType": "x", "digest": "y", "size": 1}).raw, OCI_MANIFEST, id="no-digest"),
        pytest.param(b" " * (4 * 1024 * 1024 + 1), OCI_MANIFEST, id="over-4-mib"),
    ],
)
async def test_put_of_what_is_no_manifest_is_refused(
    app: RegistryApp, client: httpx2.AsyncClient, raw: bytes, media_type: str
) -> None:
    response = await put(client, "1.0", raw, media_type)

    assert (response.status_code, error_codes(response)) == (400, ["MANIFEST_INVALID"])
    assert app.store.manifests("team/app") == {}


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_get_returns_type_digest_and_bytes(app: RegistryApp, client: httpx2.AsyncClient, by: str) -> None:
    image = make_image()
    app.store.add_manifest("team/app", image.raw, OCI_MANIFEST, tags=["1.0"])
    path = f"/v2/team/app/manifests/{'1.0' if by == 'tag' else image.digest}"

    got = await client.get(path, headers=ALL_TYPES)
    head = await client.head(path, headers=ALL_TYPES)

    assert (got.status_code, got.content) == (200, image.raw)
    for response in (got, head):
        assert response.headers["Content-Type"] == OCI_MANIFEST
        assert response.headers["Docker-Content-Digest"] == str(image.digest)
        assert response.headers["Content-Length"] == str(len(image.raw))
    assert head.content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("accept", ["*/*", DOCKER_MANIFEST])
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
async def test_oci_types_must_be_accepted(
    app: RegistryApp, client: httpx2.AsyncClient, media_type: str, accept: str, method: str
) -> None:
    app.store.add_manifest("team/app", b"{}", media_type, tags=["1.0"])

    response = await client.request(method, "/v2/team/app/manifests/1.0", headers={"Accept": accept})

    assert response.status_code == 404
    if method == "GET":
        assert error_codes(response) == ["MANIFEST_UNKNOWN"]


async def test_docker_manifest_needs_no_accept(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    app.store.add_manifest("team/app", b"{}", DOCKER_MANIFEST, tags=["1.0"])

    response = await client.get("/v2/team/app/manifests/1.0")

    assert (response.status_code, response.headers["Content-Type"]) == (200, DOCKER_MANIFEST)


async def test_docker_list_not_accepted_becomes_its_amd64_child(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    image = make_image(media_type=DOCKER_MANIFEST)
    child = {**image.descriptor, "mediaType": DOCKER_MANIFEST}
    index = make_index(
        {**child, "digest": str(ABSENT), "platform": {"os": "linux", "architecture": "amd64"}},
        {**child, "digest": str(Digest.of(b"arm")), "platform": {"os": "linux", "architecture": "arm64"}},
        {**child, "platform": {"os": "linux", "architecture": "amd64"}},
        media_type=DOCKER_LIST,
    )
    app.store.add_manifest("team/app", image.raw, DOCKER_MANIFEST)
    digest = app.store.add_manifest("team/app", index, DOCKER_LIST, tags=["1.0"])
    only_images = {"Accept": DOCKER_MANIFEST}

    by_tag = await client.get("/v2/team/app/manifests/1.0", headers=only_images)
    by_digest = await client.get(f"/v2/team/app/manifests/{digest}", headers=only_images)

    assert by_tag.headers["Docker-Content-Digest"] == str(image.digest)
    assert by_digest.headers["Docker-Content-Digest"] == str(digest)


async def test_docker_list_without_amd64_is_not_found(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    app.store.add_manifest("team/app", make_index(media_type=DOCKER_LIST), DOCKER_LIST, tags=["1.0"])

    response = await client.get("/v2/team/app/manifests/1.0", headers={"Accept": DOCKER_MANIFEST})

    assert error_codes(response) == ["MANIFEST_UNKNOWN"]


async def test_known_etag_is_not_modified(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_manifest("team/app", make_image().raw, OCI_MANIFEST, tags=["1.0"])

    response = await client.get(
        "/v2/team/app/manifests/1.0", headers={**ALL_TYPES, "If-None-Match": f'"other", "{digest}"'}
    )

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("reference", ["1.0", str(ABSENT), "-bad"])
async def test_unknown_manifest_is_404(client: httpx2.AsyncClient, reference: str, method: str) -> None:
    response = await client.request(method, f"/v2/team/app/manifests/{reference}", headers=ALL_TYPES)

    assert response.status_code == 404
    if method != "HEAD":
        assert error_codes(response) == ["MANIFEST_UNKNOWN"]


async def test_malformed_digest_is_400(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v2/team/app/manifests/sha256:short", headers=ALL_TYPES)

    assert (response.status_code, error_codes(response)) == (400, ["DIGEST_INVALID"])


async def test_delete_by_tag_leaves_manifest_and_other_tags(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_manifest("team/app", make_image().raw, OCI_MANIFEST, tags=["1.0", "latest"])

    response = await client.delete("/v2/team/app/manifests/1.0")

    assert response.status_code == 202
    assert app.store.tags("team/app") == {"latest": digest}
    assert digest in app.store.manifests("team/app")


async def test_delete_by_digest_takes_all_its_tags(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    digest = app.store.add_manifest("team/app", make_image().raw, OCI_MANIFEST, tags=["1.0", "latest"])
    kept = app.store.add_manifest("team/app", make_image(annotations={"a": "b"}).raw, OCI_MANIFEST, tags=["2.0"])

    response = await client.delete(f"/v2/team/app/manifests/{digest}")

    assert response.status_code == 202
    assert app.store.tags("team/app") == {"2.0": kept}
