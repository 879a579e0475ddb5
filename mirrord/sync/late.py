"""Signatures and SBOMs that came after their image: found without walking every image again.

Cosign's tags and the fallback tag show in a listing that was made anyway; each costs one look a side, like any tag, or
none where listings tell that both sides have the same, or where it is remembered that a target had what the source has.
What only a referrers API tells is looked for when the rule's ``referrers.recheck`` says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mirrord.errors import MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import attachment_subject, fallback_tag
from mirrord.planning.memory import mark_of_tags
from mirrord.planning.rule import Rule
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.looking import ask_source, ask_target, source_hint
from mirrord.sync.remembered import Proof
from mirrord.transfer.graph import FETCHES_AT_ONCE, Attachment
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Which targets may be ``late``, and which were found to have all that the source has under attachment tags.

    ``mark`` tells what the source has, to be remembered; it is empty where nothing is.
    """

    late: frozenset[Location] = frozenset()
    same: frozenset[Location] = frozenset()
    mark: str = ""


async def find_late(
    context: Context,
    rule: Rule,
    reader: RepositoryReader,
    writers: Sequence[RepositoryWriter],
    tags: Sequence[Tag],
    *,
    proofs: Mapping[Location, Proof] | None = None,
) -> Compared:
    """Return which targets, of those that serve an image, may lack attachments that the source has under ``tags``.

    ``proofs`` are what is remembered of each target; None where nothing is remembered from run to run.
    Where a look fails, the target counts as late: the closer look tells what is the matter.
    """
    everywhere = frozenset(writer.location for writer in writers)
    if not rule.referrers.enabled or not everywhere:
        return Compared()
    if rule.referrers.recheck == timedelta(0):
        return Compared(late=everywhere)
    try:
        there = await _at_source(context, reader, tags) if proofs is not None else {}
        mark = mark_of_tags(there) if there else ""
        asked: set[Location] = set()

        async def is_late(writer: RepositoryWriter) -> bool:
            proof = (proofs or {}).get(writer.location, Proof())
            for tag in tags:
                if mark and proof.mark == mark and _is_proven(context, writer, tag, there.get(tag), proof):
                    continue
                asked.add(writer.location)
                if await _differs(context, reader, writer, tag):
                    return True
            return False

        found = await each(writers, is_late, LOOKS_AT_ONCE)
    except MirrordError:
        return Compared(late=everywhere)
    late = frozenset(writer.location for writer, is_behind in zip(writers, found, strict=True) if is_behind)
    return Compared(late=late, same=frozenset(asked - late), mark=mark)


async def mark_at_source(context: Context, reader: RepositoryReader, tags: Sequence[Tag]) -> str:
    """Return the mark of what the source has under attachment tags; empty where there is nothing.

    Raises:
        MirrordError: it could not be asked.
    """
    there = await _at_source(context, reader, tags)
    return mark_of_tags(there) if there else ""


async def _at_source(context: Context, reader: RepositoryReader, tags: Sequence[Tag]) -> dict[Tag, Digest]:
    """Return what attachment tags point to at the source, by its listing or by itself."""

    async def resolve(tag: Tag) -> Digest | None:
        if (hint := source_hint(context, reader.location, tag)) is not None:
            return hint
        head = await ask_source(context, reader, tag)
        return head.digest if head is not None else None

    digests = await each(tags, resolve, FETCHES_AT_ONCE) if tags else []
    return {tag: digest for tag, digest in zip(tags, digests, strict=True) if digest is not None}


def _is_proven(context: Context, writer: RepositoryWriter, tag: Tag, digest: Digest | None, proof: Proof) -> bool:
    """Say whether a target need not be asked for a tag, since it had all that the source still has.

    A listing of the target that was made anyway and tells something else contradicts that.

    A fallback tag is no content of its own: a target may keep what it lists otherwise, or behind its API. While the
    source has the same under it, nothing came.
    """
    subject = attachment_subject(tag)
    if subject is not None and tag == fallback_tag(subject):
        return True
    hints, in_turn = context.hints, writer.listing.has_digests
    if not proof.is_recent or hints.told(writer.location, tag) not in {None, digest}:
        return False
    return not hints.is_open(writer.location, tag, in_turn=in_turn, clock=context.clock)


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
