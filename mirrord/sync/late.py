"""Signatures and SBOMs that came after their image: found without walking every image again.

Cosign's tags and the fallback tag show in a listing that was made anyway; each costs one look a side, like any tag, or
none where listings tell that both sides have the same.
What only a referrers API tells is looked for when the rule's ``referrers.recheck`` says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from mirrord.errors import MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import attachment_subject
from mirrord.planning.rule import Rule
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.looking import ask_source, ask_target, source_hint
from mirrord.transfer.graph import Attachment
from mirrord.transfer.side import each


def attachment_tags(context: Context, source: Location) -> dict[Digest, list[Tag]]:
    """Return the attachment tags of a repository by their subject, as far as it was listed in this run."""
    known = context.listings.known(source)
    found: dict[Digest, list[Tag]] = defaultdict(list)
    for tag in known.entries if known is not None else ():
        subject = attachment_subject(tag)
        if subject is not None:
            found[subject].append(tag)
    return found


async def find_late(
    context: Context, rule: Rule, reader: RepositoryReader, writers: Sequence[RepositoryWriter], tags: Sequence[Tag]
) -> frozenset[Location]:
    """Return which targets, of those that serve an image, may lack attachments that the source has under ``tags``.

    Where a look fails, the target counts as late: the closer look tells what is the matter.
    """
    everywhere = frozenset(writer.location for writer in writers)
    if not rule.referrers.enabled or not everywhere:
        return frozenset()
    if rule.referrers.recheck == timedelta(0):
        return everywhere

    async def is_late(writer: RepositoryWriter) -> bool:
        for tag in tags:
            if await _differs(context, reader, writer, tag):
                return True
        return False

    try:
        found = await each(writers, is_late, LOOKS_AT_ONCE)
    except MirrordError:
        return everywhere
    return frozenset(writer.location for writer, late in zip(writers, found, strict=True) if late)


async def _differs(context: Context, reader: RepositoryReader, writer: RepositoryWriter, tag: Tag) -> bool:
    """Say whether a target lacks what the source has under ``tag``; what a listing tells is enough for "no"."""
    hint = source_hint(context, reader.location, tag)
    if hint is not None:
        if context.hints.believed(writer.location, tag, context.clock) == hint:
            return False
        if not await _lacks(context, writer, tag, hint):
            return False
    head = await ask_source(context, reader, tag)
    if head is None or context.hints.believed(writer.location, tag, context.clock) == head.digest:
        return False
    return await _lacks(context, writer, tag, head.digest)


async def is_missing(context: Context, writer: RepositoryWriter, attachment: Attachment) -> bool:
    """Say whether a target lacks an attachment; one that does not say is found out about when it gets it."""
    digest = attachment.graph.root.descriptor.digest
    return await _lacks(context, writer, attachment.tag or digest, digest)


async def _lacks(context: Context, writer: RepositoryWriter, ref: Tag | Digest, digest: Digest) -> bool:
    try:
        head = await ask_target(context, writer, ref)
    except MirrordError:
        return True
    return head is None or head.digest != digest
