"""Builders of images, indexes and artifacts: deterministic, so that equal arguments give equal digests.

    image = make_image("app", layers=3)
    index = make_index("app", platforms=("linux/amd64", "linux/arm64"), attestations=True)
    signature = make_artifact("signature", subject=index.descriptor)

Each returns `Content`: the root, every manifest below it, and the bytes of every blob.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, Manifest, parse_manifest
from mirrord.oci.mediatype import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from mirrord.oci.platform import Platform
from mirrord.planning.graph import ImageGraph, order_graph

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ATTESTATION_SUBJECT = "vnd.docker.reference.digest"
ATTESTATION_TYPE = "vnd.docker.reference.type"
IN_TOTO = "application/vnd.in-toto+json"
LAYER_SIZE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A root manifest with everything below it: ``manifests`` by digest, the root among them, and ``blobs``."""

    root: AnyManifest
    manifests: Mapping[Digest, AnyManifest] = field(repr=False)
    blobs: Mapping[Digest, bytes] = field(repr=False)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the root."""
        return self.root.descriptor

    @property
    def digest(self) -> Digest:
        """The digest of the root."""
        return self.root.descriptor.digest

    @property
    def raw(self) -> bytes:
        """The bytes of the root."""
        return self.root.raw

    @property
    def index(self) -> Index:
        """The root, where it is an index."""
        assert isinstance(self.root, Index)
        return self.root

    @property
    def manifest(self) -> Manifest:
        """The root, where it is a manifest."""
        assert isinstance(self.root, Manifest)
        return self.root

    def graph(self, absent: frozenset[Digest] = frozenset()) -> ImageGraph:
        """Return the content as a graph, children before parents."""
        return order_graph(self.root, self.manifests, absent)


def content(name: str, size: int = LAYER_SIZE) -> bytes:
    """Return ``size`` bytes that look random and depend on ``name`` alone."""
    return hashlib.shake_256(name.encode()).digest(size)


def digest_of(name: str) -> Digest:
    """Return a digest that depends on ``name`` alone."""
    return Digest.of(name.encode())


def describe(raw: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of ``raw``."""
    return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw))


def descriptor_json(descriptor: Descriptor) -> dict[str, object]:
    """Return a descriptor as manifests write it."""
    fields: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    if descriptor.urls:
        fields["urls"] = list(descriptor.urls)
    if descriptor.annotations:
        fields["annotations"] = dict(descriptor.annotations)
    if descriptor.artifact_type:
        fields["artifactType"] = descriptor.artifact_type
    if descriptor.platform is not None:
        fields["platform"] = platform_json(descriptor.platform)
    return fields


def platform_json(platform: Platform) -> dict[str, str]:
    """Return a platform as indexes and configs write it."""
    fields = {
        "architecture": platform.architecture,
        "os": platform.os,
        "variant": platform.variant,
        "os.version": platform.os_version,
    }
    return {key: value for key, value in fields.items() if value}


def to_json(fields: Mapping[str, object]) -> bytes:
    """Return the bytes of a JSON document as build tools write it."""
    return json.dumps(fields, indent=2).encode()


def make_image(
    name: str = "image",
    *,
    layers: int | Sequence[bytes] = 2,
    layer_size: int = LAYER_SIZE,
    platform: str = "linux/amd64",
    docker: bool = False,
    foreign: Sequence[Descriptor] = (),
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """Return an image of one platform.

    ``layers`` is a number (their bytes depend on ``name``), or the bytes themselves, to share layers between
    images. ``foreign`` are further layers, of which there are no bytes.
    """
    blobs = (
        [content(f"{name}/{platform}/layer{i}", layer_size) for i in range(layers)]
        if isinstance(layers, int)
        else list(layers)
    )
    config = json.dumps(
        {
            **platform_json(Platform.parse(platform)),
            "config": {"Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(blob)) for blob in blobs]},
        }
    ).encode()
    layer_type = DOCKER_LAYER if docker else OCI_LAYER_GZIP
    fields: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": descriptor_json(describe(config, DOCKER_CONFIG if docker else OCI_CONFIG)),
        "layers": [descriptor_json(layer) for layer in (*(describe(blob, layer_type) for blob in blobs), *foreign)],
    }
    if annotations is not None:
        fields["annotations"] = dict(annotations)
    return _content(to_json(fields), blobs=[config, *blobs])


def make_artifact(
    name: str = "artifact",
    *,
    subject: Descriptor | None = None,
    artifact_type: str = "application/vnd.example.artifact",
    size: int = LAYER_SIZE,
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """Return an artifact with one layer and the empty config, about ``subject`` where that is given."""
    empty, blob = b"{}", content(f"{name}/blob", size)
    fields: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor_json(describe(empty, OCI_EMPTY)),
        "layers": [descriptor_json(describe(blob, artifact_type))],
    }
    if subject is not None:
        plain = Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
        fields["subject"] = descriptor_json(plain)
    if annotations is not None:
        fields["annotations"] = dict(annotations)
    return _content(to_json(fields), blobs=[empty, blob])


def make_attestation(image: Content) -> Content:
    """Return what build tools attach to ``image`` inside its index: an attestation in the form of an image."""
    statement = json.dumps({"subject": str(image.digest)}).encode()
    config = json.dumps({"architecture": "unknown", "os": "unknown", "of": str(image.digest)}).encode()
    fields: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor_json(describe(config, OCI_CONFIG)),
        "layers": [descriptor_json(describe(statement, IN_TOTO))],
    }
    return _content(to_json(fields), blobs=[config, statement])


def make_index(
    name: str = "image",
    *,
    platforms: Sequence[str] = ("linux/amd64", "linux/arm64"),
    layers: int | Sequence[bytes] = 2,
    layer_size: int = LAYER_SIZE,
    attestations: bool = False,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> Content:
    """Return an image of several platforms; with ``attestations``, one for each of them follows at the end."""
    images = [
        make_image(name, layers=layers, layer_size=layer_size, platform=platform, docker=docker)
        for platform in platforms
    ]
    members: list[tuple[Content, Descriptor]] = [
        (image, child(image, platform)) for image, platform in zip(images, platforms, strict=True)
    ]
    if attestations:
        members += [
            (attestation, attestation_child(attestation, image))
            for image in images
            for attestation in [make_attestation(image)]
        ]
    return index_of(members, docker=docker, annotations=annotations)


def child(member: Content, platform: str | Platform | None = None) -> Descriptor:
    """Return the descriptor by which an index names ``member``."""
    known = Platform.parse(platform) if isinstance(platform, str) else platform
    return replace(member.descriptor, platform=known)


def attestation_child(attestation: Content, image: Content) -> Descriptor:
    """Return the descriptor by which an index names an attestation about ``image``."""
    return replace(
        attestation.descriptor,
        platform=Platform("unknown", "unknown"),
        annotations={ATTESTATION_SUBJECT: str(image.digest), ATTESTATION_TYPE: "attestation-manifest"},
    )


def index_of(
    members: Iterable[tuple[Content, Descriptor]],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> Content:
    """Return an index of ``members``, each with the descriptor that names it; ``extra`` are further fields."""
    pairs = list(members)
    fields: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": [descriptor_json(descriptor) for _, descriptor in pairs],
    }
    if annotations is not None:
        fields["annotations"] = dict(annotations)
    return _content(to_json({**fields, **(extra or {})}), below=[member for member, _ in pairs])


def _content(raw: bytes, *, blobs: Iterable[bytes] = (), below: Iterable[Content] = ()) -> Content:
    root = parse_manifest(raw)
    manifests: dict[Digest, AnyManifest] = {}
    contents = {Digest.of(blob): blob for blob in blobs}
    for member in below:
        manifests |= member.manifests
        contents |= member.blobs
    manifests[root.descriptor.digest] = root
    return Content(root=root, manifests=manifests, blobs=contents)
