from __future__ import annotations

import json

import httpx2
import pytest

from mirrord.demo.registry import RegistryApp, Store
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST

pytestmark = pytest.mark.anyio

SUBJECT = Digest.of(b"subject")


def tag_all(store: Store, *tags: str) -> None:
    store.add_manifest("team/app", b"{}", OCI_MANIFEST, tags=tags)


def add_referrer(store: Store, *, config_type: str = OCI_EMPTY, **extra: object) -> Digest:
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": config_type, "digest": str(Digest.of(b"{}")), "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7},
        **extra,
    }
    return store.add_manifest("team/app", json.dumps(body).encode(), OCI_MANIFEST)


async def test_tags_are_listed_sorted_and_whole_without_n(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "b", "a", "C")

    response = await client.get("/v2/team/app/tags/list")

    assert response.json() == {"name": "team/app", "tags": ["C", "a", "b"]}
    assert "Link" not in response.headers


async def test_tags_are_paged_by_link(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "a", "b", "c", "d", "e")
    pages = []
    url: str | None = "/v2/team/app/tags/list?n=2"

    while url is not None:
        response = await client.get(url)
        pages.append(response.json()["tags"])
        url = response.links["next"]["url"] if "next" in response.links else None

    assert pages == [["a", "b"], ["c", "d"], ["e"]]


async def test_link_is_relative_and_encoded(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "a", "b")

    response = await client.get("/v2/team/app/tags/list?n=1")

    assert response.headers["Link"] == '</v2/team/app/tags/list?last=a&n=1>; rel="next"'


async def test_last_need_not_exist(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "a", "c", "d")

    response = await client.get("/v2/team/app/tags/list?n=1&last=b")

    assert response.json()["tags"] == ["c"]


async def test_page_of_tags_is_clamped(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, *(f"t{i:04}" for i in range(1001)))

    response = await client.get("/v2/team/app/tags/list?n=5000")

    assert len(response.json()["tags"]) == 1000
    assert "Link" in response.headers


async def test_page_of_none_is_empty_without_link(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "a")

    response = await client.get("/v2/team/app/tags/list?n=0")

    assert response.json()["tags"] == []
    assert "Link" not in response.headers


@pytest.mark.parametrize("path", ["/v2/team/app/tags/list?n=x", "/v2/_catalog?n=-1", "/v2/_catalog?n=1001"])
async def test_page_size_that_is_none_is_400(app: RegistryApp, client: httpx2.AsyncClient, path: str) -> None:
    tag_all(app.store, "a")

    response = await client.get(path)

    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "PAGINATION_NUMBER_INVALID"


async def test_repository_that_never_had_a_tag_is_unknown(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    app.store.add_blob("team/app", b"x")

    response = await client.get("/v2/team/app/tags/list")

    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "NAME_UNKNOWN"
    assert response.json()["errors"][0]["detail"] == {"name": "team/app"}


async def test_repository_without_tags_left_is_empty(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    tag_all(app.store, "a")
    app.store.untag("team/app", "a")

    response = await client.get("/v2/team/app/tags/list")

    assert response.json() == {"name": "team/app", "tags": []}


async def test_catalog_lists_repositories_in_pages(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    for name in ("b", "a/b", "c"):
        app.store.add_blob(name, b"x")
    app.store.open_upload("only/uploads")

    whole = await client.get("/v2/_catalog")
    first = await client.get("/v2/_catalog?n=1")
    second = await client.get(first.links["next"]["url"])

    assert whole.json() == {"repositories": ["a/b", "b", "c"]}
    assert first.headers["Link"] == '</v2/_catalog?last=a%2Fb&n=1>; rel="next"'
    assert second.json() == {"repositories": ["b"]}


async def test_catalog_has_100_entries_a_page(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    for number in range(101):
        app.store.add_blob(f"r{number:03}", b"x")

    response = await client.get("/v2/_catalog")

    assert len(response.json()["repositories"]) == 100
    assert "Link" in response.headers


async def test_referrers_are_an_index_of_those_who_name_the_subject(
    app: RegistryApp, client: httpx2.AsyncClient
) -> None:
    sbom = add_referrer(app.store, artifactType="application/spdx+json", annotations={"a": "b"})
    old = add_referrer(app.store, config_type=OCI_CONFIG)
    add_referrer(app.store, subject={"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"x")), "size": 1})

    response = await client.get(f"/v2/team/app/referrers/{SUBJECT}")

    assert (response.status_code, response.headers["Content-Type"]) == (200, OCI_INDEX)
    first, second = response.json()["manifests"]
    assert (first["digest"], first["artifactType"], first["annotations"]) == (
        str(sbom),
        "application/spdx+json",
        {"a": "b"},
    )
    assert (second["digest"], second["artifactType"]) == (str(old), OCI_CONFIG)
    assert "OCI-Filters-Applied" not in response.headers


async def test_referrers_are_filtered_by_artifact_type(app: RegistryApp, client: httpx2.AsyncClient) -> None:
    sbom = add_referrer(app.store, artifactType="application/spdx+json")
    add_referrer(app.store, artifactType="application/x")

    response = await client.get(f"/v2/team/app/referrers/{SUBJECT}?artifactType=application/spdx%2Bjson")

    assert [entry["digest"] for entry in response.json()["manifests"]] == [str(sbom)]
    assert response.headers["OCI-Filters-Applied"] == "artifactType"


async def test_referrers_of_an_index_without_artifact_type_have_none(
    app: RegistryApp, client: httpx2.AsyncClient
) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 7}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject}
    app.store.add_manifest("team/app", json.dumps(index).encode(), OCI_INDEX)

    response = await client.get(f"/v2/team/app/referrers/{SUBJECT}")

    assert "artifactType" not in response.json()["manifests"][0]


async def test_nobody_refers_to_the_unknown(client: httpx2.AsyncClient) -> None:
    response = await client.get(f"/v2/team/app/referrers/{SUBJECT}")

    assert (response.status_code, response.json()["manifests"]) == (200, [])


async def test_referrers_of_no_digest_are_400(client: httpx2.AsyncClient) -> None:
    response = await client.get("/v2/team/app/referrers/latest")

    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "DIGEST_INVALID")
