"""An image as JSON; the keys are documented in docs/reference/output.md."""

from __future__ import annotations

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.manifest import AnyManifest, Index, Manifest
from mirrord.oci.platform import Platform
from mirrord.sync.inspect import AttachedFacts, Inspection, Member

Json = dict[str, object]


def inspection_json(found: Inspection) -> Json:
    """Return all that was found out about an image."""
    return {
        "reference": str(found.reference),
        **_manifest(found.root),
        "total_bytes": found.size,
        "config": {"platform": _platform(found.config.platform), "created": found.config.created or None},
        "manifests": [_member(member) for member in found.members],
        "attached": [_attached(attached) for attached in found.attached],
        "warnings": list(found.warnings),
    }


def _manifest(manifest: AnyManifest) -> Json:
    values: Json = {
        "kind": "index" if isinstance(manifest, Index) else "manifest",
        "media_type": manifest.descriptor.media_type,
        "digest": str(manifest.descriptor.digest),
        "size": manifest.descriptor.size,
        "artifact_type": manifest.artifact_type or None,
        "subject": str(manifest.subject.digest) if manifest.subject is not None else None,
        "annotations": dict(manifest.annotations),
    }
    if isinstance(manifest, Manifest):
        values["config_descriptor"] = _descriptor(manifest.config)
        values["layers"] = [_descriptor(layer) for layer in manifest.layers]
    return values


def _member(member: Member) -> Json:
    descriptor = member.descriptor
    return {
        "digest": str(descriptor.digest),
        "media_type": descriptor.media_type,
        "platform": _platform(descriptor.platform),
        "annotations": dict(descriptor.annotations),
        "attests": member.attests or None,
        "missing": member.manifest is None,
        "total_bytes": member.size,
        "layers": [_descriptor(layer) for layer in member.manifest.layers]
        if isinstance(member.manifest, Manifest)
        else [],
    }


def _attached(attached: AttachedFacts) -> Json:
    return {
        "digest": str(attached.digest),
        "artifact_type": attached.artifact_type or None,
        "total_bytes": attached.size,
        "tag": str(attached.tag) if attached.tag is not None else None,
        "subject": str(attached.subject) if attached.subject is not None else None,
    }


def _descriptor(descriptor: Descriptor) -> Json:
    return {"digest": str(descriptor.digest), "media_type": descriptor.media_type, "size": descriptor.size}


def _platform(platform: Platform | None) -> str | None:
    return str(platform) if platform is not None and platform.os else None
