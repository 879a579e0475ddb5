"""The content of one image as an ordered whole: manifests with children before parents, and their blobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mirrord.errors import InvalidManifestError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest

MAX_NODES = 5_000
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGraph:
    """All manifests that one root needs, each digest once, children before their parents, the root last.

    ``absent`` are children that a sparse index names but that are left out on purpose.
    """

    manifests: tuple[AnyManifest, ...]
    absent: frozenset[Digest] = frozenset()

    @property
    def root(self) -> AnyManifest:
        """The manifest or index that a tag will point to."""
        return self.manifests[-1]

    def blobs(self) -> tuple[Descriptor, ...]:
        """Return every blob of the graph once, in the order of the manifests that need it."""
        unique: dict[Digest, Descriptor] = {}
        for manifest in self.manifests:
            for blob in manifest.blobs():
                unique.setdefault(blob.digest, blob)
        return tuple(unique.values())


def order_graph(
    root: AnyManifest, known: Mapping[Digest, AnyManifest], absent: frozenset[Digest] = frozenset()
) -> ImageGraph:
    """Return the graph below ``root``; ``known`` holds all manifests below it but those in ``absent``.

    Raises:
        InvalidManifestError: deeper than 8 (GRAPH_TOO_DEEP), a cycle (GRAPH_CYCLE), or more than 5,000 manifests
            (GRAPH_TOO_LARGE).
    """
    ordered: dict[Digest, AnyManifest] = {}
    path: set[Digest] = set()

    def visit(node: AnyManifest, depth: int) -> None:
        digest = node.descriptor.digest
        if digest in ordered:
            return
        if digest in path:
            raise InvalidManifestError(f"the index {digest} contains itself", code="GRAPH_CYCLE")
        if depth > MAX_DEPTH:
            raise InvalidManifestError(
                f"the index {root.descriptor.digest} nests deeper than {MAX_DEPTH} levels", code="GRAPH_TOO_DEEP"
            )
        path.add(digest)
        for child in node.children():
            if child.digest not in absent:
                visit(known[child.digest], depth + 1)
        path.remove(digest)
        ordered[digest] = node
        if len(ordered) > MAX_NODES:
            raise InvalidManifestError(
                f"the index {root.descriptor.digest} holds more than {MAX_NODES} manifests", code="GRAPH_TOO_LARGE"
            )

    visit(root, 1)
    return ImageGraph(manifests=tuple(ordered.values()), absent=absent)
