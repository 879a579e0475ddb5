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

    Each manifest is looked at once, however many indexes name it, and the limits do not depend on the order in
    which they name it.

    Raises:
        InvalidManifestError: deeper than 8 (GRAPH_TOO_DEEP), a cycle (GRAPH_CYCLE), more than 5,000 manifests
            (GRAPH_TOO_LARGE), one that is not what its parent says (SIZE_MISMATCH, MEDIA_TYPE_MISMATCH), or one
            that ``known`` lacks (GRAPH_INCOMPLETE).
    """
    walk = _Walk(root.descriptor.digest, known, absent)
    walk.visit(root, 1)
    return ImageGraph(manifests=tuple(walk.ordered), absent=absent)


class _Walk:
    """One walk through a graph, depth first."""

    def __init__(self, root: Digest, known: Mapping[Digest, AnyManifest], absent: frozenset[Digest]) -> None:
        self.ordered: list[AnyManifest] = []
        self._root = root
        self._known = known
        self._absent = absent
        self._heights: dict[Digest, int] = {}
        """Levels below and with each manifest met; 0 while the walk is still below it."""

    def visit(self, node: AnyManifest, depth: int) -> int:
        """Append ``node`` and what is below it to the order, and return how many levels that are."""
        digest = node.descriptor.digest
        if digest in self._heights:
            return self._seen(digest, depth)
        if depth > MAX_DEPTH:
            raise self._too_deep()
        if len(self._heights) == MAX_NODES:
            raise InvalidManifestError(
                f"the index {self._root} holds more than {MAX_NODES} manifests", code="GRAPH_TOO_LARGE"
            )
        self._heights[digest] = 0
        below = [self.visit(self._child(child), depth + 1) for child in self._children(node)]
        self._heights[digest] = height = 1 + max(below, default=0)
        self.ordered.append(node)
        return height

    def _seen(self, digest: Digest, depth: int) -> int:
        height = self._heights[digest]
        if not height:
            raise InvalidManifestError(f"the index {digest} contains itself", code="GRAPH_CYCLE")
        if depth + height - 1 > MAX_DEPTH:
            raise self._too_deep()
        return height

    def _children(self, node: AnyManifest) -> list[Descriptor]:
        return [child for child in node.children() if child.digest not in self._absent]

    def _child(self, said: Descriptor) -> AnyManifest:
        """Return what the parent's descriptor names, if it is what the parent says."""
        child = self._known.get(said.digest)
        if child is None:
            raise InvalidManifestError(
                f"the index {self._root} needs {said.digest}, which was not read", code="GRAPH_INCOMPLETE"
            )
        found = child.descriptor
        if found.size != said.size:
            raise InvalidManifestError(
                f"the index {self._root} says that {said.digest} has {said.size} bytes; it has {found.size}",
                code="SIZE_MISMATCH",
            )
        if found.is_index != said.is_index:
            raise InvalidManifestError(
                f'the index {self._root} says that {said.digest} is "{said.media_type}"; it is "{found.media_type}"',
                code="MEDIA_TYPE_MISMATCH",
            )
        return child

    def _too_deep(self) -> InvalidManifestError:
        return InvalidManifestError(
            f"the index {self._root} nests deeper than {MAX_DEPTH} levels", code="GRAPH_TOO_DEEP"
        )
