"""Images pushed straight to a registry, configurations, and what access logs tell: the words of integration tests."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.integration.servers import HTTPServer, LoggedRequest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
BLOB_ROUTE = re.compile(r"/v2/(?P<repository>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})$")


class Pushed(NamedTuple):
    """An image on a registry: its digest, and the digests of its config and layers."""

    digest: str
    blobs: tuple[str, ...]


def noise(seed: int, size: int) -> bytes:
    """Return bytes that are the same for the same seed, and that nothing compresses."""
    return random.Random(seed).randbytes(size)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push_blob(registry: HTTPServer, repository: str, content: bytes) -> str:
    """Upload a blob in one request."""
    digest = digest_of(content)
    location = registry.send("POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
    path = location[location.index("/v2/") :]
    answer = registry.send("PUT", f"{path}&digest={digest}", body=content)
    assert answer.status == 201, answer.body
    return digest


def push_image(
    registry: HTTPServer, repository: str, tag: str, layers: Sequence[bytes], *, note: str = "", **extra: object
) -> Pushed:
    """Push an image of the given layers; `note` makes its config differ, `extra` stands in its manifest."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "note": note}).encode()
    contents = [config, *layers]
    digests = [push_blob(registry, repository, content) for content in contents]
    descriptors = [
        {"mediaType": LAYER if i else CONFIG, "digest": digest, "size": len(content)}
        for i, (digest, content) in enumerate(zip(digests, contents, strict=True))
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptors[0], "layers": descriptors[1:], **extra}
    ).encode()
    digest = put_manifest(registry, repository, tag, manifest)
    return Pushed(digest, tuple(digests))


def put_manifest(
    registry: HTTPServer, repository: str, reference: str, manifest: bytes, media_type: str = MANIFEST
) -> str:
    """Put a manifest's bytes; the reference `by digest` stands for their own digest."""
    name = digest_of(manifest) if reference == "by digest" else reference
    answer = registry.send(
        "PUT", f"/v2/{repository}/manifests/{name}", headers={"Content-Type": media_type}, body=manifest
    )
    assert answer.status == 201, answer.body
    return digest_of(manifest)


def tag_digest(registry: HTTPServer, repository: str, tag: str) -> str | None:
    """Return what a registry serves under a tag."""
    answer = registry.send("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{MANIFEST}, */*"})
    return answer.headers.get("docker-content-digest") if answer.status == 200 else None


def write_config(directory: Path, rules: Sequence[Mapping[str, object]], registries: Mapping[str, object]) -> Path:
    """Write a configuration file (JSON is YAML) and return its path."""
    file = directory / "config.yaml"
    file.write_text(json.dumps({"version": 1, "registries": dict(registries), "rules": list(rules)}))
    return file


def plain(*registries: HTTPServer) -> dict[str, object]:
    """Return registry entries for servers without TLS."""
    return {registry.address: {"plain_http": True} for registry in registries}


def writes(requests: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """Return the requests that change something."""
    return [request for request in requests if request.method not in ("GET", "HEAD")]


def blob_reads(requests: Sequence[LoggedRequest]) -> Counter[str]:
    """Return how often each blob was fetched."""
    return Counter(
        match["digest"]
        for request in requests
        if request.method == "GET" and (match := BLOB_ROUTE.match(request.route))
    )


def uploads_finished(requests: Sequence[LoggedRequest]) -> Counter[str]:
    """Return how often each blob was uploaded to its end."""
    found = (
        re.search(r"digest=(sha256(?::|%3A)[0-9a-f]{64})", request.path)
        for request in requests
        if request.method == "PUT" and "/blobs/uploads/" in request.path and request.status == 201
    )
    return Counter(match[1].replace("%3A", ":") for match in found if match)


def mounts(requests: Sequence[LoggedRequest]) -> Counter[str]:
    """Return how often each blob was mounted."""
    found = (
        re.search(r"mount=(sha256(?::|%3A)[0-9a-f]{64})", request.path)
        for request in requests
        if request.method == "POST" and request.status == 201
    )
    return Counter(match[1].replace("%3A", ":") for match in found if match)
