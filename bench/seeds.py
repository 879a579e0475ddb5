"""What the benchmark copies: images made from fixed seeds, pushed straight into a registry."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.integration.servers import LOOPBACK, DockerRegistry

MIB = 1 << 20
PIECE_BYTES = MIB
TIMEOUT_S = 120
PUSHERS = 4
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Descriptor: TypeAlias = dict[str, object]
# The descriptors of a config and of the layers.
Image: TypeAlias = tuple[Descriptor, list[Descriptor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One workload: which repositories and tags stand in the source, and what they hold.

    Attributes:
        name: What the command line and the results call it.
        repositories: Repositories of the source.
        tags: Tags of each repository; every tag is an image of its own.
        layers: Layers of an image.
        layer_bytes: Content of each layer, which no compression makes smaller.
        shared: Whether all repositories hold the same images.
        again: Whether a second pass over the unchanged target is measured too.
        goals: For each pass, the share of skopeo's time that mirrord may take.
    """

    name: str
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    layers: int
    layer_bytes: int
    shared: bool
    again: bool
    goals: tuple[float, ...]


def scenarios(*, quick: bool) -> list[Scenario]:
    """Return the workloads; `quick` ones are small, to try the benchmark itself."""
    return [
        Scenario(
            name="large",
            repositories=("large",),
            tags=("1",),
            layers=4,
            layer_bytes=8 * MIB if quick else 256 * MIB,
            shared=False,
            again=False,
            goals=(0.9,),
        ),
        Scenario(
            name="tags",
            repositories=tuple(f"tags-{number}" for number in range(1, 5)),
            tags=tuple(f"1.{number}" for number in range(10 if quick else 250)),
            layers=1,
            layer_bytes=512,
            shared=False,
            again=True,
            goals=(0.5, 0.15),
        ),
        Scenario(
            name="same",
            repositories=tuple(f"same-{number}" for number in range(1, 4 if quick else 21)),
            tags=("1",),
            layers=5,
            layer_bytes=8 * MIB,
            shared=True,
            again=False,
            goals=(0.2,),
        ),
    ]


def seed(registry: DockerRegistry, scenario: Scenario) -> None:
    """Push all images of a scenario into a running registry."""
    first, *others = scenario.repositories
    with ThreadPoolExecutor(PUSHERS) as pool:
        if scenario.shared:
            images = _push_repository(registry.port, scenario, first)
            list(pool.map(lambda repository: _mount_repository(registry.port, repository, first, images), others))
        else:
            list(
                pool.map(
                    lambda repository: _push_repository(registry.port, scenario, repository), scenario.repositories
                )
            )


def push_image(port: int, repository: str, tag: str, *, seed_text: str, layer_bytes: int) -> str:
    """Push an image of one layer, which the seed alone decides, under a tag; return the digest of its manifest."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)) as connection:
        pusher = _Pusher(connection, repository)
        layer = _Layer(seed_text, layer_bytes)
        descriptor = pusher.push_layer(layer)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"seed": seed_text}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
        return pusher.push_manifest(tag, pusher.push_config(json.dumps(config).encode()), [descriptor])


def faults(source: Path, target: Path, scenario: Scenario, prefix: str) -> list[str]:
    """Compare the storage directories of two registries; a run that left something out must not be counted.

    Args:
        source: Storage of the source registry.
        target: Storage of the target registry.
        scenario: What was to be copied.
        prefix: Path under which the target holds the repositories.

    Returns:
        What the target lacks: nothing when the copy is whole.
    """
    found = []
    for repository in scenario.repositories:
        here, there = _repository(source, repository), _repository(target, f"{prefix}/{repository}")
        for tag in scenario.tags:
            link = Path("_manifests/tags", tag, "current/link")
            if not (there / link).exists() or (there / link).read_text() != (here / link).read_text():
                found.append(f"{repository}:{tag} is missing or another")
        layers = [layer.name for layer in (here / "_layers/sha256").iterdir()]
        absent = [name for name in layers if not (there / "_layers/sha256" / name / "link").exists()]
        found.extend(f"{repository} lacks the blob sha256:{name}" for name in absent)
    contents = _blobs(target)
    found.extend(
        f"the blob sha256:{name} is missing or short"
        for name, size in _blobs(source).items()
        if contents.get(name) != size
    )
    return found


def tags_of(storage: Path, repository: str) -> dict[str, str]:
    """Return the digests of a repository's tags as they stand in a registry's storage directory."""
    links = (_repository(storage, repository) / "_manifests/tags").glob("*/current/link")
    return {link.parent.parent.name: link.read_text() for link in links}


def is_whole(storage: Path, repository: str, digest: str) -> bool:
    """Say whether a registry stores an image of `push_image`: its manifest, and config and layer of their sizes."""
    manifest = _blob_file(storage, digest)
    if not manifest.exists():
        return False
    document = json.loads(manifest.read_bytes())
    return all(
        _blob_file(storage, blob["digest"]).exists()
        and _blob_file(storage, blob["digest"]).stat().st_size == blob["size"]
        and (_repository(storage, repository) / "_layers/sha256" / blob["digest"].removeprefix("sha256:")).exists()
        for blob in [document["config"], *document["layers"]]
    )


def stored_bytes(storage: Path) -> int:
    """Return the size of all blobs and manifests that a registry stores."""
    return sum(_blobs(storage).values())


def _repository(storage: Path, name: str) -> Path:
    return storage / "docker/registry/v2/repositories" / name


def _blob_file(storage: Path, digest: str) -> Path:
    encoded = digest.removeprefix("sha256:")
    return storage / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"


def _blobs(storage: Path) -> dict[str, int]:
    files = (storage / "docker/registry/v2/blobs/sha256").glob("*/*/data")
    return {file.parent.name: file.stat().st_size for file in files}


def _push_repository(port: int, scenario: Scenario, repository: str) -> dict[str, Image]:
    images = {}
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)) as connection:
        pusher = _Pusher(connection, repository)
        for tag in scenario.tags:
            seeds = [f"{repository}:{tag}:{number}" for number in range(scenario.layers)]
            layers = [_Layer(text, scenario.layer_bytes) for text in seeds]
            descriptors = [pusher.push_layer(layer) for layer in layers]
            config = {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {"seed": seeds[0]}},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            }
            images[tag] = (pusher.push_config(json.dumps(config).encode()), descriptors)
            pusher.push_manifest(tag, *images[tag])
    return images


def _mount_repository(port: int, repository: str, first: str, images: dict[str, Image]) -> None:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)) as connection:
        pusher = _Pusher(connection, repository)
        for tag, (config, layers) in images.items():
            for descriptor in (config, *layers):
                pusher.mount(descriptor, first)
            pusher.push_manifest(tag, config, layers)


class _Layer:
    """A gzip of a tar with one file of random content, made piece by piece: it never stands in memory."""

    def __init__(self, seed_text: str, content_bytes: int) -> None:
        self._seed = seed_text
        self._content_bytes = content_bytes
        self.digest = ""
        self.diff_id = ""
        self.size_bytes = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the compressed bytes; digests and size are known at the end."""
        compressed, plain = hashlib.sha256(), hashlib.sha256()
        # Stored, not deflated: random bytes shrink no further, and seeding takes seconds instead of minutes.
        compressor = zlib.compressobj(level=0, wbits=31)
        for piece in self._tar():
            plain.update(piece)
            packed = compressor.compress(piece)
            compressed.update(packed)
            self.size_bytes += len(packed)
            yield packed
        packed = compressor.flush()
        compressed.update(packed)
        self.size_bytes += len(packed)
        self.digest = f"sha256:{compressed.hexdigest()}"
        self.diff_id = f"sha256:{plain.hexdigest()}"
        yield packed

    def _tar(self) -> Iterator[bytes]:
        entry = tarfile.TarInfo(hashlib.sha256(self._seed.encode()).hexdigest())
        entry.size = self._content_bytes
        yield entry.tobuf()
        generator = random.Random(self._seed)
        left = self._content_bytes
        while left:
            piece = generator.randbytes(min(PIECE_BYTES, left))
            left -= len(piece)
            yield piece
        yield bytes(-self._content_bytes % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


class _Pusher:
    """Pushes into one repository over one connection."""

    def __init__(self, connection: http.client.HTTPConnection, repository: str) -> None:
        self._connection = connection
        self._path = f"/v2/{repository}"

    def push_layer(self, layer: _Layer) -> Descriptor:
        """Push a layer and return its descriptor."""
        location = self._send("POST", f"{self._path}/blobs/uploads/", expect=202)
        headers = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        location = self._send("PATCH", location, body=layer.pieces(), headers=headers, expect=202)
        self._send("PUT", f"{location}&digest={layer.digest}", expect=201)
        return {"mediaType": LAYER, "digest": layer.digest, "size": layer.size_bytes}

    def mount(self, descriptor: Descriptor, repository: str) -> None:
        """Take over a blob that another repository holds."""
        query = f"mount={descriptor['digest']}&from={repository}"
        self._send("POST", f"{self._path}/blobs/uploads/?{query}", expect=201)

    def push_config(self, content: bytes) -> Descriptor:
        """Push a config and return its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._send("POST", f"{self._path}/blobs/uploads/", expect=202)
        self._send("PUT", f"{location}&digest={digest}", body=content, expect=201)
        return {"mediaType": CONFIG, "digest": digest, "size": len(content)}

    def push_manifest(self, tag: str, config: Descriptor, layers: list[Descriptor]) -> str:
        """Push the manifest that makes the image, under a tag, and return its digest."""
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        body = json.dumps(manifest).encode()
        self._send("PUT", f"{self._path}/manifests/{tag}", body=body, headers={"Content-Type": MANIFEST}, expect=201)
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def _send(
        self,
        method: str,
        url: str,
        *,
        expect: int,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> str:
        path = url[url.index("/v2/") :]
        chunked = body is not None and not isinstance(body, bytes)
        self._connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != expect:
            raise RuntimeError(f"{method} {path}: {response.status} where {expect} was due: {answer[:200]!r}")
        return response.headers.get("Location", "")
