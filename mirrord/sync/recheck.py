"""Attachments that came later, behind a referrers API: asked for in turn, without walking an image again.

What the source told of an image's referrers is remembered as a mark. As long as it tells the same, nothing came.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.keeping import Heard
from mirrord.planning.plan import Decision
from mirrord.planning.rule import Referrers, Rule
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.late import attachment_tags, find_late, mark_at_source
from mirrord.sync.platforms import apply_filter
from mirrord.sync.prepare import Planned
from mirrord.sync.remembered import Remembered
from mirrord.transfer.graph import FETCHES_AT_ONCE
from mirrord.transfer.side import each


async def look_for_late(
    context: Context, rule: Rule, source: Location, plans: Sequence[Planned], remembered: Remembered
) -> list[Planned]:
    """Mark the images that are served already, but may lack attachments that came later."""
    tags = attachment_tags(context, source)
    reader = context.gateway.reader(source)

    async def look(planned: Planned) -> Planned:
        if planned.plan.wanted.digest != planned.plan.root.digest:
            return planned  # a rewritten index: what is attached to the original is left behind
        served = [
            target.target
            for target in planned.plan.targets
            if not target.changes and any(tag.decision is Decision.UP_TO_DATE for tag in target.tags)
        ]
        theirs = tags.get(planned.plan.root.digest, [])
        writers = [context.gateway.writer(location) for location in served]
        proofs = {location: remembered.attached(planned.plan, location) for location in served}
        known = proofs if remembered.keeps else None
        compared = await find_late(context, rule, reader, writers, theirs, proofs=known)
        remembered.take_attached(planned.plan, compared.same, compared.mark)
        mark = compared.mark or await _mark_to_come(context, reader, planned, theirs, remembered)
        late = compared.late
        late |= await _recheck(context, reader, planned, [place for place in served if place not in late], remembered)
        return await _read_filter(reader, replace(planned, late=late, attached=mark))

    return await each(plans, look, LOOKS_AT_ONCE) if plans else []


async def _mark_to_come(
    context: Context, reader: RepositoryReader, planned: Planned, tags: Sequence[Tag], remembered: Remembered
) -> str:
    """Return the mark of attachment tags that come along with an image, so that the next run need not compare them.

    It is taken before they are read: what moves in between is another mark then, and is compared.
    """
    referrers = planned.rule.referrers
    compares = remembered.keeps and referrers.enabled and referrers.recheck != timedelta(0)
    if not compares or not planned.plan.changes:
        return ""
    try:
        return await mark_at_source(context, reader, tags)
    except MirrordError:
        return ""


async def _read_filter(reader: RepositoryReader, planned: Planned) -> Planned:
    """Find out what a platform filter leaves of an image that is looked at more closely, where it was remembered.

    Where that fails the closer look is left to the next run: which of its children are wanted is not known.
    """
    filtered = planned.rule.platforms.platforms and planned.wanted.manifest is None and planned.late
    if not filtered or planned.plan.root.is_manifest:
        return planned
    try:
        return replace(planned, wanted=await apply_filter(reader, planned.plan.root, planned.rule.platforms))
    except MirrordError:
        return replace(planned, late=frozenset())


async def _recheck(
    context: Context,
    reader: RepositoryReader,
    planned: Planned,
    targets: Sequence[Location],
    remembered: Remembered,
) -> frozenset[Location]:
    """Return the targets whose turn it is and of which it is not known that they have what the source has.

    Where a look fails, they count as late: the closer look tells what is the matter.
    """
    plan, referrers = planned.plan, planned.rule.referrers
    if not referrers.enabled or not remembered.keeps or referrers.recheck == timedelta(0):
        return frozenset()
    due = {target: remembered.heard(plan, target) for target in targets if remembered.is_due(plan, target)}
    late: set[Location] = set()
    for subjects in sorted({subjects for _, subjects in due.values()}):
        group = {target: mark for target, (mark, theirs) in due.items() if theirs == subjects}
        if not subjects and not reader.metered:
            late |= group.keys()
            continue
        asked = subjects or (plan.root.digest,)
        try:
            heard = await _listen(context, reader, asked, referrers)
        except MirrordError:
            late |= group.keys()
            continue
        # Where pulls are few, an image of which nothing is known is not walked if its root has nothing attached.
        nothing = Heard.of(dict.fromkeys(asked, ()), heard.at).mark if not subjects else None
        same = [target for target, mark in group.items() if heard.mark == (mark or nothing)]
        remembered.take_heard(plan, same, heard)
        late |= group.keys() - set(same)
    return frozenset(late)


async def _listen(context: Context, reader: RepositoryReader, subjects: Sequence[Digest], wanted: Referrers) -> Heard:
    """Ask the source for the referrers of manifests, and for nothing else.

    Raises:
        MirrordError: it could not be asked.
    """
    known = context.listings.known(reader.location)
    tags = known.entries if known is not None and known.complete else None

    async def ask(subject: Digest) -> tuple[Descriptor, ...]:
        fallback = tags is None or fallback_tag(subject) in tags
        return (await reader.referrers(subject, fallback=fallback)).descriptors

    answers = await each(subjects, ask, FETCHES_AT_ONCE)
    return fold(context, dict(zip(subjects, answers, strict=True)), wanted)


def fold(context: Context, answers: Mapping[Digest, Collection[Descriptor]], wanted: Referrers) -> Heard:
    """Return what was heard of an image's attachments, as far as a rule takes their types.

    A registry that does not tell the type of one leaves open whether it is taken: so it counts.
    """
    kept = {
        subject: tuple(
            found.digest
            for found in descriptors
            if not wanted.types or not found.artifact_type or found.artifact_type in wanted.types
        )
        for subject, descriptors in answers.items()
    }
    return Heard.of(kept, context.clock.now())
