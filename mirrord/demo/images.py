"""Sample images for the demo: what a real source registry holds, small, deterministic and built from bytes.

An application in two platforms with attestations and several tags, a second one on the same base layer, a Helm chart,
an image with a cosign signature, one with an SBOM as its referrer, one in Docker's older format.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirrord.demo.content import json_bytes, noise, packed, tar
from mirrord.demo.registry.store import Store
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import Manifest, parse_manifest
from mirrord.oci.mediatype import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

MIB = 1024 * 1024
ARCHITECTURES = ("amd64", "arm64")
RELEASES = 50
"""After so many releases they repeat, so that a demo that is left alone does not grow for ever."""

_CREATED = "2026-01-01T00:00:00Z"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_IN_TOTO = "application/vnd.in-toto+json"
_SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
_SPDX = "application/spdx+json"
_TITLE = "org.opencontainers.image.title"

Descriptor = dict[str, object]
"""A descriptor as it stands in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleImage:
    """A repository of the demo's source registry, with its tags at the start."""

    repository: str
    tags: tuple[str, ...]
    description: str


WEB = SampleImage(
    repository="shop/web", tags=("1.0.0", "1.1.0", "1.2.0", "latest"), description="two platforms with attestations"
)
API = SampleImage(repository="shop/api", tags=("2.0.0", "2.1.0"), description="shares the base layer of shop/web")
WORKER = SampleImage(repository="shop/worker", tags=("0.9.0",), description="with an SBOM as its referrer")
CHART = SampleImage(repository="charts/shop", tags=("1.2.0",), description="a Helm chart")
TOOL = SampleImage(repository="tools/cli", tags=("3.0.0",), description="signed in the manner of cosign")
LEGACY = SampleImage(repository="tools/legacy", tags=("2019.4",), description="in Docker's image manifest v2")
SAMPLES = (WEB, API, WORKER, CHART, TOOL, LEGACY)


def load(store: Store) -> tuple[SampleImage, ...]:
    """Put the sample images into ``store``: about 90 MiB of blobs. Returns what they are."""
    push = _Push(store, WEB.repository)
    for architecture in ARCHITECTURES:
        push.layer(f"usr/lib/base-{architecture}", 12 * MIB)
        push.layer(f"opt/runtime-{architecture}", 8 * MIB)
    for version in WEB.tags[:-1]:
        _put_web(push, version, 3 * MIB, tags=[version])
    store.tag(WEB.repository, "latest", store.tags(WEB.repository)[WEB.tags[-2]])
    _put_api(push)
    _put_worker(store)
    _put_chart(store)
    _put_tool(store)
    _put_legacy(store)
    return SAMPLES


def release(store: Store, n: int) -> str:
    """Release the ``n``-th new version of shop/web (from 1): a tag of its own, and ``latest`` moves to it.

    The store must hold the sample images; the new version is built on their layers.

    Returns:
        The new tag.
    """
    version = f"1.{3 + (n - 1) % RELEASES}.0"
    push = _Push(store, WEB.repository)
    push.remember(WEB.tags[0])
    _put_web(push, version, MIB // 2, tags=[version, "latest"])
    return version


def _put_web(push: _Push, version: str, size: int, *, tags: Sequence[str]) -> None:
    children: list[Descriptor] = []
    for architecture in ARCHITECTURES:
        layers = [
            push.layer(f"usr/lib/base-{architecture}", 12 * MIB),
            push.layer(f"opt/runtime-{architecture}", 8 * MIB),
            push.layer(f"srv/web-{version}-{architecture}", size),
        ]
        image = push.image(layers, architecture=architecture)
        children.append({**image, "platform": {"os": "linux", "architecture": architecture}})
    children += [push.attestation(image) for image in children]
    push.index(children, tags=tags)


def _put_api(web: _Push) -> None:
    push = web.beside(API.repository)
    for version in API.tags:
        children: list[Descriptor] = []
        for architecture in ARCHITECTURES:
            layers = [
                push.layer(f"usr/lib/base-{architecture}", 12 * MIB),
                push.layer(f"srv/api-{version}-{architecture}", 6 * MIB),
            ]
            image = push.image(layers, architecture=architecture)
            children.append({**image, "platform": {"os": "linux", "architecture": architecture}})
        push.index(children, tags=[version])


def _put_worker(store: Store) -> None:
    push = _Push(store, WORKER.repository)
    image = push.image([push.layer("srv/worker", 4 * MIB)], architecture="amd64", tags=WORKER.tags)
    packages = [{"name": f"package-{i}", "versionInfo": f"1.{i}.0"} for i in range(200)]
    sbom = {"spdxVersion": "SPDX-2.3", "name": WORKER.repository, "packages": packages}
    push.artifact(_SPDX, push.blob(json_bytes(sbom), _SPDX), subject=image)


def _put_chart(store: Store) -> None:
    push = _Push(store, CHART.repository)
    chart = {"apiVersion": "v2", "name": "shop", "version": CHART.tags[0], "appVersion": CHART.tags[0]}
    text = "".join(f"{key}: {value}\n" for key, value in chart.items()).encode()
    files = {"shop/Chart.yaml": text, "shop/values.yaml": b"replicas: 2\n"}
    config = push.blob(json_bytes(chart), _HELM_CONFIG)
    push.manifest(config, [push.blob(packed(tar(files)), _HELM_CHART)], tags=CHART.tags)


def _put_tool(store: Store) -> None:
    push = _Push(store, TOOL.repository)
    image = push.image([push.layer("usr/bin/cli", 4 * MIB)], architecture="amd64", tags=TOOL.tags)
    digest = str(image["digest"])
    critical = {
        "identity": {"docker-reference": TOOL.repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    payload = push.blob(json_bytes({"critical": critical, "optional": None}), _SIMPLE_SIGNING)
    signature = base64.b64encode(noise(f"signature of {digest}", 71)).decode("ascii")
    payload["annotations"] = {"dev.cosignproject.cosign/signature": signature}
    config = push.blob(
        json_bytes({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}), OCI_CONFIG
    )
    push.manifest(config, [payload], tags=[digest.replace(":", "-") + ".sig"])


def _put_legacy(store: Store) -> None:
    push = _Push(store, LEGACY.repository)
    archive = tar({"usr/bin/legacy": noise("legacy", 64 * 1024)})
    config = _config("amd64", [str(Digest.of(archive))])
    layer = push.blob(packed(archive), _DOCKER_LAYER)
    push.manifest(push.blob(config, DOCKER_CONFIG), [layer], tags=LEGACY.tags, media_type=DOCKER_MANIFEST)


def _config(architecture: str, diff_ids: Sequence[str]) -> bytes:
    return json_bytes(
        {
            "created": _CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/usr/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
    )


class _Push:
    """Puts content into one repository, and returns descriptors of it. Layers made before are not made again."""

    def __init__(self, store: Store, repository: str, layers: dict[str, Descriptor] | None = None) -> None:
        self._store = store
        self._repository = repository
        self._layers = {} if layers is None else layers

    def beside(self, repository: str) -> _Push:
        """Return the same for another repository; layers made for this one are mounted there."""
        return _Push(self._store, repository, self._layers)

    def remember(self, tag: str) -> None:
        """Learn the layers of the images that an index in the repository has."""
        index = self._store.manifest(self._repository, tag)
        children = parse_manifest(index.raw).children() if index else ()
        for child in children:
            image = self._store.manifest(self._repository, child.digest)
            view = parse_manifest(image.raw) if image else None
            for layer in view.layers if isinstance(view, Manifest) else ():
                name = layer.annotations.get(_TITLE)
                if name:
                    self._layers[name] = _descriptor(layer.media_type, layer.digest, layer.size, name)

    def blob(self, content: bytes, media_type: str) -> Descriptor:
        digest = self._store.add_blob(self._repository, content)
        return _descriptor(media_type, digest, len(content))

    def layer(self, name: str, size: int) -> Descriptor:
        """Put a layer with one file of noise. It is not compressed: noise would not get smaller."""
        known = self._layers.get(name)
        if known is None:
            content = tar({name: noise(name, size)})
            digest = self._store.add_blob(self._repository, content)
            known = self._layers[name] = _descriptor(OCI_LAYER, digest, len(content), name)
        elif self._repository != WEB.repository:
            self._store.mount(self._repository, WEB.repository, Digest.parse(str(known["digest"])))
        return known

    def image(self, layers: Sequence[Descriptor], *, architecture: str, tags: Sequence[str] = ()) -> Descriptor:
        config = _config(architecture, [str(layer["digest"]) for layer in layers])
        return self.manifest(self.blob(config, OCI_CONFIG), layers, tags=tags)

    def manifest(
        self,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        tags: Sequence[str] = (),
        media_type: str = OCI_MANIFEST,
        extra: Mapping[str, object] | None = None,
    ) -> Descriptor:
        body = {
            "schemaVersion": 2,
            "mediaType": media_type,
            **(extra or {}),
            "config": config,
            "layers": list(layers),
        }
        raw = json_bytes(body)
        digest = self._store.add_manifest(self._repository, raw, media_type, tags=tags)
        return _descriptor(media_type, digest, len(raw))

    def artifact(self, artifact_type: str, content: Descriptor, *, subject: Descriptor) -> Descriptor:
        """Put an artifact that refers to ``subject``."""
        extra = {
            "artifactType": artifact_type,
            "subject": subject,
            "annotations": {"org.opencontainers.image.created": _CREATED},
        }
        return self.manifest(self.blob(b"{}", OCI_EMPTY), [content], extra=extra)

    def attestation(self, image: Descriptor) -> Descriptor:
        """Put the provenance of ``image`` as build tools do: a child of the index for no platform."""
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": self._repository, "digest": {"sha256": str(image["digest"]).removeprefix("sha256:")}}],
        }
        content = self.blob(json_bytes(statement), _IN_TOTO)
        found = self.manifest(self.blob(_config("unknown", [str(content["digest"])]), OCI_CONFIG), [content])
        return {
            **found,
            "annotations": {
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"os": "unknown", "architecture": "unknown"},
        }

    def index(self, children: Sequence[Descriptor], *, tags: Sequence[str]) -> None:
        raw = json_bytes({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children)})
        self._store.add_manifest(self._repository, raw, OCI_INDEX, tags=tags)


def _descriptor(media_type: str, digest: Digest, size: int, title: str = "") -> Descriptor:
    found: Descriptor = {"mediaType": media_type, "digest": str(digest), "size": size}
    return {**found, "annotations": {_TITLE: title}} if title else found
