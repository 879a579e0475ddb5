"""From plans to jobs: fetches the content of images that need copying, and finds what is attached to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.plan import Decision, ImagePlan, TagPlan, TargetPlan
from mirrord.planning.planner import why_not_moved
from mirrord.planning.report import Problem
from mirrord.planning.rule import Rule
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import Context
from mirrord.sync.late import is_missing
from mirrord.sync.platforms import Wanted
from mirrord.transfer.graph import Attachment, ManifestCache, find_attachments
from mirrord.transfer.job import CopyJob, Order

LATE = "attachments came after the image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan with the rule that it is for. ``late`` are targets that serve the image but may lack attachments.

    ``attached`` is the mark of the source's attachment tags; empty where they were not asked for.
    """

    rule: Rule
    plan: ImagePlan
    wanted: Wanted
    late: frozenset[Location] = frozenset()
    attached: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What plans have in common that can be carried out together: the same content from the same place."""
        plan, referrers = self.plan, self.rule.referrers
        attached = referrers.types if referrers.enabled else None
        return (plan.source, plan.root.digest, plan.wanted.digest, self.wanted.absent, attached)

    @property
    def needs_work(self) -> bool:
        """Whether anything has to be carried out or looked at more closely."""
        return bool(self.plan.changes or self.late)


async def prepare(
    context: Context, group: Sequence[Planned], heard: dict[Digest, tuple[Descriptor, ...]] | None = None
) -> CopyJob | None:
    """Return the job for plans with the same key, or None if a closer look finds nothing to do or to tell.

    ``heard`` takes what the source told of the referrers of each manifest.

    Raises:
        MirrordError: the source could not tell all of the image's content.
    """
    first = group[0]
    reader = context.gateway.reader(first.plan.source)
    root = first.wanted.manifest or await reader.manifest(first.plan.root.digest)
    cache = ManifestCache(reader, known=(root,))
    graph = await cache.graph(root, first.wanted.absent)
    rewritten = first.plan.rewritten is not None
    attachments = await find_attachments(
        reader,
        graph,
        first.rule.referrers,
        tags=await _known_tags(context, reader),
        omit=(first.plan.wanted.digest,) if rewritten else (),
        heard=heard,
    )
    orders = [
        Order(rule=planned.rule.name, policy=planned.rule.policy, target=target)
        for planned in group
        for target in planned.plan.changes
    ]
    orders += [order for planned in group for order in await _late_orders(context, planned, attachments)]
    if not orders:
        return None
    problems = [await _why_blocked(context, order, attachments) for order in orders]
    return CopyJob(
        source=first.plan.source,
        root=first.plan.root if rewritten else graph.root.descriptor,
        graph=graph,
        attachments=attachments,
        orders=tuple(order for order, problem in zip(orders, problems, strict=True) if problem is None),
        blocked=tuple((order, problem) for order, problem in zip(orders, problems, strict=True) if problem is not None),
    )


async def _why_blocked(context: Context, order: Order, attachments: Sequence[Attachment]) -> Problem | None:
    """Say what keeps a target from getting an image: a tag of an attachment that would have to move and must not.

    Cosign's tags move when an image is signed once more. A look that fails blocks nothing: the copy looks again.
    """
    writer = context.gateway.writer(order.target.target)
    for attachment in attachments:
        tag = attachment.tag
        problem = why_not_moved(order.policy, tag, tag) if tag is not None else None
        if tag is None or problem is None:
            continue
        try:
            head = await writer.head(tag)
        except MirrordError:
            continue
        if head is not None and head.digest != attachment.graph.root.descriptor.digest:
            return problem
    return None


async def _known_tags(context: Context, reader: RepositoryReader) -> Collection[Tag] | None:
    """Return all tags of a source that was listed in this run, None if it was not: each is asked for then.

    What an API told may lack a signature that exists, and an image would be copied without it: so the repository is
    listed once more, plainly. That is done only in runs that copy.
    """
    known = context.listings.known(reader.location)
    if known is None or known.complete:
        return known.entries if known is not None else None
    whole = await context.listings.complete_if_possible(reader)
    return whole.entries if whole is not None else None


async def _late_orders(context: Context, planned: Planned, attachments: Sequence[Attachment]) -> list[Order]:
    """Return orders for targets that serve the image already, where any attachment is indeed missing."""
    orders = []
    for target in planned.plan.targets:
        if target.target not in planned.late:
            continue
        writer = context.gateway.writer(target.target)
        if any([await is_missing(context, writer, attachment) for attachment in attachments]):
            served = tuple(_as_late(tag) for tag in target.tags if tag.decision is Decision.UP_TO_DATE)
            orders.append(
                Order(
                    rule=planned.rule.name,
                    policy=planned.rule.policy,
                    target=TargetPlan(target=target.target, tags=served),
                    serves_root=True,
                )
            )
    return orders


def _as_late(tag: TagPlan) -> TagPlan:
    return replace(tag, decision=Decision.COPY, reason=LATE)
