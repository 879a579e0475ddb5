"""Media types of manifests and layers, and the questions asked about them.

Source: image-spec v1.1.1 media-types.md; the Docker image manifest v2 schema 2 specification.
"""

from __future__ import annotations

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
IMAGE_CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})

ACCEPT = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
"""What to accept when a manifest is asked for: without all four, registries convert or hide what they hold."""

_FOREIGN_LAYERS = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
)


def essence(content_type: str) -> str:
    """Return a Content-Type without parameters, in lower case, as registries write it in any case."""
    return content_type.partition(";")[0].strip().lower()


def is_manifest(media_type: str) -> bool:
    """Say whether this is the type of an image manifest (one platform, or an artifact)."""
    return media_type in MANIFESTS


def is_index(media_type: str) -> bool:
    """Say whether this is the type of an index (the Docker manifest list among them)."""
    return media_type in INDEXES


def is_foreign_layer(media_type: str) -> bool:
    """Say whether the spec lets a registry leave this layer's content elsewhere, under the descriptor's urls."""
    return media_type.startswith(_FOREIGN_LAYERS)
