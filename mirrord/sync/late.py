"""Signatures and SBOMs that came after their image: found without walking every image again.

Cosign's tags and the fallback tag show in a listing that was made anyway; each costs one look a side, like any tag.
What only a referrers API tells is looked for when the rule's ``referrers.recheck`` says so.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import attachment_subject
from mirrord.planning.rule import Rule
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.sync.context import Context
from mirrord.transfer.graph import Attachment


def attachment_tags(context: Context, source: Location) -> dict[Digest, list[Tag]]:
    """Return the attachment tags of a repository by their subject, as far as it was listed in this run."""
    known = context.listings.known(source)
    found: dict[Digest, list[Tag]] = defaultdict(list)
    for tag in known.entries if known is not None else ():
        subject = attachment_subject(tag)
        if subject is not None:
            found[subject].append(tag)
    return found


async def may_be_late(rule: Rule, reader: RepositoryReader, writer: RepositoryWriter, tags: list[Tag]) -> bool:
    """Say whether an image that the target serves may lack attachments that the source has."""
    if not rule.referrers.enabled:
        return False
    if rule.referrers.recheck == timedelta(0):
        return True
    for tag in tags:
        there = await reader.head(tag)
        here = await writer.head(tag)
        if there is not None and (here is None or here.digest != there.digest):
            return True
    return False


async def is_missing(writer: RepositoryWriter, attachment: Attachment) -> bool:
    """Say whether a target lacks an attachment."""
    digest = attachment.graph.root.descriptor.digest
    head = await writer.head(attachment.tag or digest)
    return head is None or head.digest != digest
