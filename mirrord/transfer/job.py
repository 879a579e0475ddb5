"""What the executor is given: one image with all its content, and the targets that need it, of one rule or several."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import Location
from mirrord.planning.graph import ImageGraph
from mirrord.planning.plan import TargetPlan
from mirrord.planning.report import Problem
from mirrord.planning.rule import ForeignLayers, Policy
from mirrord.transfer.graph import Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One target's part of a job, for the rule that asks for it.

    A target that ``serves_root`` already lacks nothing but attachments.
    """

    rule: str
    policy: Policy
    target: TargetPlan
    serves_root: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """One image to copy. ``root`` is what the source resolved to; ``graph.root`` what targets will serve.

    ``blocked`` are orders that are not carried out, each with the reason: an attachment's tag would have to move.
    """

    source: Location
    root: Descriptor
    graph: ImageGraph
    attachments: tuple[Attachment, ...]
    orders: tuple[Order, ...]
    blocked: tuple[tuple[Order, Problem], ...] = ()

    def blobs(self, order: Order) -> tuple[Descriptor, ...]:
        """Return every blob that a target needs, each once; foreign layers only where they are fetched."""
        graphs = [attachment.graph for attachment in self.attachments]
        if not order.serves_root:
            graphs.insert(0, self.graph)
        return tuple({blob.digest: blob for graph in graphs for blob in movable(graph, order.policy)}.values())


def movable(graph: ImageGraph, policy: Policy) -> tuple[Descriptor, ...]:
    """Return the blobs of ``graph`` that are moved at all.

    Source: image-spec layer.md, "Non-Distributable Layers": their content stays where their urls point.
    """
    keep = policy.foreign_layers is ForeignLayers.KEEP
    return tuple(blob for blob in graph.blobs() if not (keep and blob.is_foreign))
