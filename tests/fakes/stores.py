"""What is in the store of an emulated registry: put there and looked at past all switches, and without mirrord."""

from __future__ import annotations

from mirrord.demo.registry import Store
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import parse_manifest
from tests.fakes.images import Content
from tests.fakes.registry import FakeRegistry


def put(place: FakeRegistry | Store, path: str, content: Content, *tags: str) -> Content:
    """Put an image with all that is below it into a repository."""
    store = place.store if isinstance(place, FakeRegistry) else place
    for digest, raw in content.blobs.items():
        store.add_blob(path, raw, digest)
    for manifest in content.graph().manifests:
        own = tags if manifest is content.root else ()
        known = manifest.descriptor
        store.add_manifest(path, manifest.raw, known.media_type, tags=own, digest=known.digest)
    return content


def is_whole(registry: FakeRegistry, path: str, digest: Digest) -> bool:
    """Say whether a manifest and everything below it is there, byte for byte."""
    stored = registry.store.manifest(path, digest)
    if stored is None or Digest.of(stored.raw) != digest:
        return False
    parsed = parse_manifest(stored.raw, media_type=stored.media_type)
    blobs = [(blob.digest, registry.store.blob(path, blob.digest)) for blob in parsed.blobs()]
    return all(raw is not None and Digest.of(raw) == name for name, raw in blobs) and all(
        is_whole(registry, path, child.digest) for child in parsed.children()
    )


def tag_of(registry: FakeRegistry, path: str, tag: str) -> Digest | None:
    """Return what a tag names in a store, if all of it is there."""
    digest = registry.store.tags(path).get(tag)
    return digest if digest is not None and is_whole(registry, path, digest) else None
