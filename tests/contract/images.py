"""Images, indexes and artifacts with real layers, made in memory: the same arguments make the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

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
from mirrord.oci.reference import Tag
from mirrord.ports.registry import RepositoryWriter

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """A manifest, and the content of its blobs."""

    manifest: Manifest
    contents: Mapping[Digest, bytes]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.manifest.descriptor.digest


def build_image(
    text: str = "hello",
    *,
    architecture: str = "amd64",
    docker: bool = False,
    padding: int = 0,
    algorithm: str = "sha256",
    typed: bool = True,
) -> BuiltImage:
    """Return an image of one layer that holds one file.

    Args:
        text: what the file says.
        architecture: as the config has it.
        docker: whether it is of Docker's types.
        padding: bytes of a file in a second layer, which shrinks by half only; no such layer if 0.
        algorithm: of all digests.
        typed: whether the manifest says its own media type.
    """
    tar = _tar(text)
    layers = [gzip.compress(tar, mtime=0)]
    diff_ids = [str(Digest.of(tar))]
    if padding:
        noise = _tar("".join(Digest.of(str(i).encode()).hex for i in range(padding // 64 + 1))[:padding])
        layers.append(gzip.compress(noise, mtime=0))
        diff_ids.append(str(Digest.of(noise)))
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    )
    layer_type, config_type = (DOCKER_LAYER, DOCKER_CONFIG) if docker else (OCI_LAYER_GZIP, OCI_CONFIG)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    raw = _json(
        {
            "schemaVersion": 2,
            **({"mediaType": media_type} if typed else {}),
            "config": _entry(config_type, config, algorithm),
            "layers": [_entry(layer_type, layer, algorithm) for layer in layers],
        }
    )
    return _built(raw, media_type, [config, *layers], algorithm)


def build_artifact(
    subject: Descriptor, text: str = "signed", *, artifact_type: str = "application/vnd.example.signature"
) -> BuiltImage:
    """Return an artifact that refers to ``subject``, with an annotation that carries ``text``."""
    config = b"{}"
    layer = text.encode()
    raw = _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": _entry(OCI_EMPTY, config),
            "layers": [_entry("text/plain", layer)],
            "subject": as_fields(subject),
            "annotations": {"org.example.text": text},
        }
    )
    return _built(raw, OCI_MANIFEST, [config, layer], "sha256")


def build_index(*children: AnyManifest, docker: bool = False, subject: Descriptor | None = None) -> Index:
    """Return an index over ``children``."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    raw = _json(
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [as_fields(child.descriptor) for child in children],
            **({"subject": as_fields(subject)} if subject else {}),
        }
    )
    built = parse_manifest(raw)
    assert isinstance(built, Index)
    return built


def as_fields(descriptor: Descriptor) -> dict[str, object]:
    """Return a descriptor as JSON has it."""
    return {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}


def blob_of(content: bytes, media_type: str = "application/octet-stream", algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of ``content``."""
    return Descriptor(media_type=media_type, digest=Digest.of(content, algorithm), size=len(content))


async def stream(content: bytes, piece: int = 64 * 1024) -> AsyncIterator[bytes]:
    """Yield ``content`` in pieces."""
    for start in range(0, len(content), piece):
        yield content[start : start + piece]


async def write_blobs(writer: RepositoryWriter, image: BuiltImage) -> None:
    """Put the blobs of an image."""
    for blob in image.manifest.blobs():
        await writer.put_blob(blob, stream(image.contents[blob.digest]))


async def write_image(writer: RepositoryWriter, image: BuiltImage, tag: str | None = None) -> None:
    """Put an image whole, under ``tag`` or by digest."""
    await write_blobs(writer, image)
    await writer.put_manifest(image.manifest, Tag.parse(tag) if tag else None)


def _built(raw: bytes, media_type: str, contents: list[bytes], algorithm: str) -> BuiltImage:
    manifest = parse_manifest(raw, media_type=media_type, digest=Digest.of(raw, algorithm))
    assert isinstance(manifest, Manifest)
    return BuiltImage(manifest=manifest, contents={Digest.of(content, algorithm): content for content in contents})


def _entry(media_type: str, content: bytes, algorithm: str = "sha256") -> dict[str, object]:
    return as_fields(blob_of(content, media_type, algorithm))


def _tar(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("hello")
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
