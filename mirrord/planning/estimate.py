"""What plans will probably cost, for `mirrord plan`: blobs, bytes, requests and metered pulls.

These are estimates. They know what was observed and what earlier plans of the run will have done, and not which
further blobs a target happens to hold, nor what fails and is tried again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository
from mirrord.planning.graph import ImageGraph
from mirrord.planning.plan import ImagePlan, TargetPlan

ASK = 1
"""Requests to ask whether a target holds a blob."""
MOUNT = 2
"""Requests to ask, and to mount."""
UPLOAD = 3
"""Requests to ask, to begin an upload, and to send it."""
TAG = 2
"""Requests to put the root by one tag, and to read it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The cost of an image on one target; ``upload``, ``mount`` and ``existing`` are (blobs, bytes).

    What several targets share, the reading at the source, counts at the first of them: the sum over all targets is
    the cost of the run. ``read_bytes`` are bytes of blobs, ``pulls`` manifests fetched at a source that counts them.
    """

    upload: tuple[int, int] = (0, 0)
    mount: tuple[int, int] = (0, 0)
    existing: tuple[int, int] = (0, 0)
    read_bytes: int = 0
    requests: int = 0
    pulls: int = 0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            upload=_sum(self.upload, other.upload),
            mount=_sum(self.mount, other.mount),
            existing=_sum(self.existing, other.existing),
            read_bytes=self.read_bytes + other.read_bytes,
            requests=self.requests + other.requests,
            pulls=self.pulls + other.pulls,
        )


class Estimator:
    """Adds up the plans of one run, in the order in which they will be carried out."""

    def __init__(self) -> None:
        self.total = Estimate()
        self._held: set[tuple[Location, Digest]] = set()
        self._mountable: set[tuple[str, Digest]] = set()
        self._fetched: set[tuple[Location, Digest]] = set()

    def add(
        self,
        plan: ImagePlan,
        graph: ImageGraph,
        held: Collection[tuple[Location, Digest]] = (),
        *,
        fetch_foreign: bool = False,
        metered: bool = False,
    ) -> Mapping[Location, Estimate]:
        """Count a plan, and return the estimate of each of its targets; nothing where nothing changes.

        Args:
            plan: what is going to be done.
            graph: the content that the targets will serve, below ``plan.wanted``.
            held: blobs that locations are known to hold, from now on to the end of the run.
            fetch_foreign: whether layers that are kept elsewhere are fetched (``foreign_layers: fetch``).
            metered: whether the source counts manifests that are fetched.

        Note:
            The requests of one target are ``1 * existing + 2 * mounted + 3 * uploaded`` blobs, one for each manifest
            below the root, and two for each tag (put, read back). To these the first target adds one for each manifest
            fetched and one for each blob read at the source. Retries, chunks, tokens and referrers are not counted.
        """
        for location, digest in held:
            self._hold(location, digest)
        blobs = [blob for blob in graph.blobs() if fetch_foreign or not blob.is_foreign]
        if isinstance(plan.source, Repository):
            self._mountable.update((plan.source.host, blob.digest) for blob in blobs if not blob.is_foreign)
        read: set[Digest] = set()
        estimates = {}
        for target in plan.targets:
            estimate = Estimate()
            if target.changes:
                estimate = (
                    self._fetch(plan, graph, metered=metered)
                    + self._move(target.target, blobs, read)
                    + _put(target, graph)
                )
            estimates[target.target] = estimate
            self.total += estimate
        return estimates

    def _hold(self, location: Location, digest: Digest) -> None:
        self._held.add((location, digest))
        if isinstance(location, Repository):
            self._mountable.add((location.host, digest))

    def _fetch(self, plan: ImagePlan, graph: ImageGraph, *, metered: bool) -> Estimate:
        """Count the manifests that are read: a rewritten root is made of the one at the source."""
        digests = {manifest.descriptor.digest for manifest in graph.manifests[:-1]} | {plan.root.digest}
        new = {(plan.source, digest) for digest in digests} - self._fetched
        self._fetched |= new
        return Estimate(requests=len(new), pulls=len(new) if metered else 0)

    def _move(self, target: Location, blobs: Collection[Descriptor], read: set[Digest]) -> Estimate:
        """Count the blobs of one target; ``read`` are those that an earlier target of this image reads already."""
        total = Estimate()
        for blob in blobs:
            total += self._move_blob(target, blob, read)
            self._hold(target, blob.digest)
        return total

    def _move_blob(self, target: Location, blob: Descriptor, read: set[Digest]) -> Estimate:
        once = (1, blob.size)
        if (target, blob.digest) in self._held:
            return Estimate(existing=once, requests=ASK)
        if isinstance(target, Repository) and (target.host, blob.digest) in self._mountable:
            return Estimate(mount=once, requests=MOUNT)
        if blob.digest in read:
            return Estimate(upload=once, requests=UPLOAD)
        read.add(blob.digest)
        return Estimate(upload=once, read_bytes=blob.size, requests=UPLOAD + 1)


def _put(target: TargetPlan, graph: ImageGraph) -> Estimate:
    return Estimate(requests=len(graph.manifests) - 1 + TAG * len(target.changes))


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
