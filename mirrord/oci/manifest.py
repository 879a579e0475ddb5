"""Manifests and indexes: typed views over raw bytes.

The bytes are the manifest; parsed fields only say what they mean. Nothing here ever writes JSON.
Source: image-spec v1.1.1 manifest.md and image-index.md; Docker image manifest v2 schema 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mirrord.errors import InvalidManifestError, quote
from mirrord.oci.descriptor import Descriptor, parse_annotations, parse_descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.jsontext import check_keys, fold, parse_object
from mirrord.oci.mediatype import SCHEMA1, essence, is_index, is_manifest

MAX_MANIFEST_SIZE = 8 * 1024 * 1024
MAX_LAYERS = 1_000
MAX_CHILDREN = 5_000

_KEYS = fold("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image manifest, or an artifact in its form."""

    raw: bytes = field(repr=False)
    descriptor: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False, hash=False)

    def children(self) -> tuple[Descriptor, ...]:
        """Return the manifests below this one: none."""
        return ()

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return the blobs that this manifest needs, each digest once, in the order of the manifest."""
        unique: dict[Digest, Descriptor] = {}
        for blob in (self.config, *self.layers):
            unique.setdefault(blob.digest, blob)
        return tuple(unique.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index: the Docker manifest list is one too."""

    raw: bytes = field(repr=False)
    descriptor: Descriptor
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False, hash=False)

    def children(self) -> tuple[Descriptor, ...]:
        """Return the manifests below this one, each digest once, in the order of the index."""
        unique: dict[Digest, Descriptor] = {}
        for child in self.manifests:
            unique.setdefault(child.digest, child)
        return tuple(unique.values())

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return the blobs of the index itself: none."""
        return ()


AnyManifest = Manifest | Index


def parse_manifest(
    raw: bytes, *, media_type: str = "", digest: Digest | None = None, what: str = "the manifest"
) -> AnyManifest:
    """Return the view of ``raw``.

    Args:
        raw: the bytes as the registry holds them.
        media_type: what the registry's Content-Type or the parent's descriptor says; empty if neither does.
        digest: the digest that the bytes were checked against; computed as sha256 if None.
        what: how to name it in errors.

    Raises:
        InvalidManifestError: the bytes are too large, no JSON, can be read in two ways, are of a type that mirrord
            does not copy, or break the specification; ``code`` says which.
        InvalidDigestError: a descriptor's digest is none.
    """
    if len(raw) > MAX_MANIFEST_SIZE:
        raise InvalidManifestError(
            f"{what} has {len(raw)} bytes; at most {MAX_MANIFEST_SIZE} are read", code="MANIFEST_TOO_LARGE"
        )
    fields = parse_object(raw, what)
    check_keys(fields, _KEYS, what)
    found = _media_type(fields, essence(media_type), what)
    descriptor = Descriptor(media_type=found, digest=digest or Digest.of(raw), size=len(raw))
    subject = parse_descriptor(fields["subject"], f"{what}: subject") if fields.get("subject") is not None else None
    if subject is not None and subject.digest == descriptor.digest:
        raise InvalidManifestError(f"{what} names itself as its subject", code="GRAPH_CYCLE")
    artifact_type = _artifact_type(fields.get("artifactType"))
    annotations = parse_annotations(fields.get("annotations"), f"{what}: annotations")
    if is_index(found):
        return Index(
            raw=raw,
            descriptor=descriptor,
            manifests=_children(fields.get("manifests"), descriptor.digest, what),
            subject=subject,
            artifact_type=artifact_type,
            annotations=annotations,
        )
    return Manifest(
        raw=raw,
        descriptor=descriptor,
        config=parse_descriptor(fields.get("config"), f"{what}: config"),
        layers=_layers(fields.get("layers"), what),
        subject=subject,
        artifact_type=artifact_type,
        annotations=annotations,
    )


def _media_type(fields: dict[str, object], declared: str, what: str) -> str:
    """Decide what the bytes are, and refuse those that two readers could take for two things.

    Source: the image-spec advisory on type confusion (CVE-2021-41190): a manifest must not look like an index.
    """
    named = fields.get("mediaType")
    if not isinstance(named, str | None):
        raise InvalidManifestError(f"{what}: mediaType is not text")
    inside = essence(named or "")
    if declared in SCHEMA1 or inside in SCHEMA1 or "fsLayers" in fields:
        raise InvalidManifestError(
            f"{what} is a Docker schema 1 manifest",
            code="SCHEMA1_UNSUPPORTED",
            remedy="pull the image and push it again with a current docker or skopeo to convert it",
        )
    version = fields.get("schemaVersion")
    if type(version) is not int or version != 2:  # noqa: PLR2004 - the only version there is
        raise InvalidManifestError(f"{what}: schemaVersion must be the integer 2, not {quote(repr(version), 40)}")
    if "manifests" in fields and ("layers" in fields or "config" in fields):
        raise InvalidManifestError(
            f'{what} can be read as an image and as an index: it has "manifests" and '
            f'"{"layers" if "layers" in fields else "config"}"',
            code="MANIFEST_AMBIGUOUS",
        )
    if inside and declared and inside != declared:
        raise InvalidManifestError(
            f'{what} says it is "{quote(inside)}", the registry says "{quote(declared)}"',
            code="MEDIA_TYPE_MISMATCH",
        )
    found = inside or declared
    if not found:
        raise InvalidManifestError(f"{what} has no media type, inside or outside", code="MEDIA_TYPE_MISSING")
    if not (is_index(found) or is_manifest(found)):
        raise InvalidManifestError(
            f'{what} is of the type "{quote(found)}", which mirrord does not copy',
            code="MEDIA_TYPE_UNSUPPORTED",
        )
    if is_index(found) != ("manifests" in fields):
        raise InvalidManifestError(
            f'{what} says it is "{found}", but it {"lacks" if is_index(found) else "has"} "manifests"',
            code="MANIFEST_AMBIGUOUS",
        )
    return found


def _artifact_type(value: object) -> str:
    return value if isinstance(value, str) else ""


def _layers(value: object, what: str) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidManifestError(f'{what}: "layers" is not a list')
    unique = {repr(layer) for layer in value} if len(value) > MAX_LAYERS else value
    if len(unique) > MAX_LAYERS:
        raise InvalidManifestError(
            f"{what} has {len(value)} layers; at most {MAX_LAYERS} are copied", code="TOO_MANY_LAYERS"
        )
    return tuple(parse_descriptor(layer, f"{what}: layers[{i}]") for i, layer in enumerate(value))


def _children(value: object, own: Digest, what: str) -> tuple[Descriptor, ...]:
    if not isinstance(value, list):
        raise InvalidManifestError(f'{what}: "manifests" is not a list')
    if len(value) > MAX_CHILDREN:
        raise InvalidManifestError(
            f"{what} has {len(value)} children; at most {MAX_CHILDREN} are copied", code="GRAPH_TOO_LARGE"
        )
    children = []
    for i, item in enumerate(value):
        child = parse_descriptor(item, f"{what}: manifests[{i}]")
        if child.digest == own:
            raise InvalidManifestError(f"{what} names itself as its child", code="GRAPH_CYCLE")
        if not (child.is_index or child.is_manifest):
            code = "SCHEMA1_UNSUPPORTED" if child.media_type in SCHEMA1 else "INDEX_CHILD_NOT_MANIFEST"
            raise InvalidManifestError(
                f'{what}: manifests[{i}] is of the type "{quote(child.media_type)}", which is no manifest',
                code=code,
            )
        if child.size > MAX_MANIFEST_SIZE:
            raise InvalidManifestError(
                f"{what}: manifests[{i}] has {child.size} bytes; at most {MAX_MANIFEST_SIZE} are read",
                code="MANIFEST_TOO_LARGE",
            )
        children.append(child)
    return tuple(children)
