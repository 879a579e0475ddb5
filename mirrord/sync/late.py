"""Signatures and SBOMs that came after their image: found without walking every image again.

Cosign's tags and the fallback tag show in a listing that was made anyway; each costs one look a side, like any tag.
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
    rule: Rule, reader: RepositoryReader, writers: Sequence[RepositoryWriter], tags: Sequence[Tag]
) -> frozenset[Location]:
    """Return which targets, of those that serve an image, may lack attachments that the source has under ``tags``.

    Where a look fails, the target counts as late: the closer look tells what is the matter.
    """
    everywhere = frozenset(writer.location for writer in writers)
    if not rule.referrers.enabled or not everywhere:
        return frozenset()
    if rule.referrers.recheck == timedelta(0):
        return everywhere
    try:
        heads = await each(tags, reader.head, LOOKS_AT_ONCE)
    except MirrordError:
        return everywhere
    wanted = [(tag, head.digest) for tag, head in zip(tags, heads, strict=True) if head is not None]

    async def is_late(writer: RepositoryWriter) -> bool:
        for tag, digest in wanted:
            if await _lacks(writer, tag, digest):
                return True
        return False

    found = await each(writers, is_late, LOOKS_AT_ONCE)
    return frozenset(writer.location for writer, late in zip(writers, found, strict=True) if late)


async def is_missing(writer: RepositoryWriter, attachment: Attachment) -> bool:
    """Say whether a target lacks an attachment; one that does not say is found out about when it gets it."""
    digest = attachment.graph.root.descriptor.digest
    return await _lacks(writer, attachment.tag or digest, digest)


async def _lacks(writer: RepositoryWriter, ref: Tag | Digest, digest: Digest) -> bool:
    try:
        head = await writer.head(ref)
    except MirrordError:
        return True
    return head is None or head.digest != digest
