from __future__ import annotations

import io
import tarfile

import httpx2
import pytest

from mirrord.demo.images import API, CHART, LEGACY, RELEASES, SAMPLES, TOOL, WEB, WORKER, load, release
from mirrord.demo.registry import RegistryApp, Store
from mirrord.demo.serving import serve
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, Manifest, parse_manifest
from mirrord.oci.mediatype import DOCKER_MANIFEST


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store()
    load(store)
    return store


def view(store: Store, repository: str, reference: str | Digest) -> AnyManifest:
    stored = store.manifest(repository, reference)
    assert stored is not None
    return parse_manifest(stored.raw, media_type=stored.media_type)


def test_samples_have_their_tags(store: Store) -> None:
    assert store.repositories() == sorted(sample.repository for sample in SAMPLES)
    for sample in SAMPLES:
        assert set(sample.tags) <= set(store.tags(sample.repository))


def test_samples_are_complete(store: Store) -> None:
    for repository in store.repositories():
        for digest, stored in store.manifests(repository).items():
            manifest = parse_manifest(stored.raw, media_type=stored.media_type)
            assert Digest.of(stored.raw) == digest
            assert all(child.digest in store.manifests(repository) for child in manifest.children())
            for blob in manifest.blobs():
                content = store.blob(repository, blob.digest)
                assert content is not None
                assert (len(content), Digest.of(content)) == (blob.size, blob.digest)


def test_samples_are_the_same_every_time(store: Store) -> None:
    other = Store()
    load(other)

    assert {name: other.tags(name) for name in other.repositories()} == {
        name: store.tags(name) for name in store.repositories()
    }


def test_samples_have_something_to_show_a_progress_bar(store: Store) -> None:
    sizes = {
        digest: len(store.blob(repository, digest) or b"")
        for repository in store.repositories()
        for digest in store.blobs(repository)
    }

    assert 60 * 2**20 < sum(sizes.values()) < 100 * 2**20


def test_web_has_two_platforms_with_attestations(store: Store) -> None:
    index = view(store, WEB.repository, "latest")

    assert isinstance(index, Index)
    assert [str(child.platform) for child in index.manifests] == [
        "linux/amd64",
        "linux/arm64",
        "unknown/unknown",
        "unknown/unknown",
    ]
    assert [child.annotations.get("vnd.docker.reference.digest") for child in index.manifests[2:]] == [
        str(child.digest) for child in index.manifests[:2]
    ]


def test_web_and_api_share_their_base_layer(store: Store) -> None:
    def base(repository: str, tag: str) -> Digest:
        image = view(store, repository, view(store, repository, tag).children()[0].digest)
        assert isinstance(image, Manifest)
        return image.layers[0].digest

    assert {base(WEB.repository, tag) for tag in WEB.tags} == {base(API.repository, tag) for tag in API.tags}


def test_layers_are_tar_archives(store: Store) -> None:
    image = view(store, TOOL.repository, TOOL.tags[0])
    assert isinstance(image, Manifest)

    content = store.blob(TOOL.repository, image.layers[0].digest)

    assert content is not None
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getnames() == ["usr/bin/cli"]


def test_worker_has_an_sbom_as_referrer(store: Store) -> None:
    (sbom,) = store.referrers(WORKER.repository, store.tags(WORKER.repository)[WORKER.tags[0]])

    assert sbom.artifact_type == "application/spdx+json"


def test_tool_has_a_signature_by_tag(store: Store) -> None:
    tags = store.tags(TOOL.repository)

    assert tags.keys() == {*TOOL.tags, f"sha256-{tags[TOOL.tags[0]].hex}.sig"}


def test_chart_and_legacy_have_their_types(store: Store) -> None:
    chart = view(store, CHART.repository, CHART.tags[0])

    assert isinstance(chart, Manifest)
    assert chart.config.media_type == "application/vnd.cncf.helm.config.v1+json"
    assert view(store, LEGACY.repository, LEGACY.tags[0]).descriptor.media_type == DOCKER_MANIFEST


def test_release_moves_latest_and_adds_a_tag() -> None:
    store = Store()
    load(store)
    before = store.tags(WEB.repository)["latest"]

    tag = release(store, 1)

    tags = store.tags(WEB.repository)
    assert tag == "1.3.0"
    assert tags["latest"] == tags["1.3.0"] != before


def test_release_sends_small_layers_alone() -> None:
    store = Store()
    load(store)
    known = store.blobs(WEB.repository)

    release(store, 1)

    new = [len(store.blob(WEB.repository, digest) or b"") for digest in store.blobs(WEB.repository) - known]
    assert sum(new) < 2 * 2**20


def test_releases_repeat_after_a_while() -> None:
    store = Store()
    load(store)
    first = release(store, 1)
    digest = store.tags(WEB.repository)[first]

    assert release(store, 1 + RELEASES) == first
    assert store.tags(WEB.repository)["latest"] == digest


@pytest.mark.anyio
async def test_sample_images_can_be_put_again_over_http(store: Store) -> None:
    target = RegistryApp()
    for digest in store.blobs(WEB.repository):
        target.store.add_blob(WEB.repository, store.blob(WEB.repository, digest) or b"")
    async with (
        serve(target) as host,
        httpx2.AsyncClient(base_url=f"http://{host}/v2/{WEB.repository}/manifests/", verify=False) as client,
    ):
        statuses = {
            (await client.put(str(digest), content=found.raw, headers={"Content-Type": found.media_type})).status_code
            for digest, found in store.manifests(WEB.repository).items()
        }

    assert statuses == {201}
