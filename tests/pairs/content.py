"""What every pair of registries has to mirror: the kinds of content that people keep in registries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.mediatype import OCI_CONFIG, OCI_MANIFEST
from mirrord.oci.reference import Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from tests.fakes.images import (
    Content,
    content,
    describe,
    descriptor_json,
    index_of,
    make_artifact,
    make_image,
    make_index,
    to_json,
)

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
SBOM = "application/spdx+json"


@dataclass(frozen=True, slots=True)
class Shelf:
    """One repository: content by tag, and attachments that have no tag of their own but a subject.

    ``listed`` is the index that tells of them under the fallback tag, at registries without the referrers API.
    """

    tagged: Mapping[str, Content]
    attached: tuple[Content, ...]
    listed: Mapping[str, Content]

    @property
    def everything(self) -> tuple[Content, ...]:
        """All content."""
        return (*self.tagged.values(), *self.attached)


def make_shelf() -> Shelf:
    """Return a multi-arch image, a single-arch one, a Helm chart, and a signed image with an SBOM as referrer."""
    signed = make_image("signed")
    signature_tag: Tag = cosign_tags(signed.digest)[0]
    sbom = make_artifact("sbom", subject=signed.descriptor, artifact_type=SBOM)
    return Shelf(
        tagged={
            "multi": make_index("multi", platforms=("linux/amd64", "linux/arm64"), attestations=True),
            "single": make_image("single", docker=True),
            "chart": make_chart(),
            "signed": signed,
            str(signature_tag): make_signature(signed),
        },
        attached=(sbom,),
        listed={str(fallback_tag(signed.digest)): index_of([(sbom, sbom.descriptor)])},
    )


def make_chart() -> Content:
    """Return a Helm chart as `helm push` makes it: a manifest without artifactType, known by its config."""
    config, chart = b'{"name":"demo","version":"1.0.0","apiVersion":"v2"}', content("chart")
    return _manifest(config, HELM_CONFIG, chart, HELM_CHART)


def make_signature(image: Content) -> Content:
    """Return a signature as cosign keeps it under a tag of the image's digest."""
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": str(image.digest)}}}).encode()
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    return _manifest(config, OCI_CONFIG, payload, SIGNATURE)


def _manifest(config: bytes, config_type: str, layer: bytes, layer_type: str) -> Content:
    raw = to_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor_json(describe(config, config_type)),
            "layers": [descriptor_json(describe(layer, layer_type))],
        }
    )
    root = parse_manifest(raw)
    return Content(
        root=root,
        manifests={root.descriptor.digest: root},
        blobs={Digest.of(config): config, Digest.of(layer): layer},
    )
