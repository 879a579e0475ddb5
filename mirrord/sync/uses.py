"""What refers to a digest in its repository: found whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirrord.errors import ListingIncompleteError, NotFoundError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.graph import MAX_DEPTH
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.transfer.graph import FETCHES_AT_ONCE
from mirrord.transfer.side import each


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What refers to a digest in its repository.

    ``tags`` name it, ``indexes`` (each by one of its tags) contain it, ``attachments`` are the manifests about it, in
    the order in which they have to go, and ``attachment_tags`` are names that people gave to these.
    """

    tags: tuple[Tag, ...]
    indexes: tuple[str, ...] = ()
    attachments: tuple[Digest, ...] = ()
    attachment_tags: tuple[Tag, ...] = ()


async def find_uses(context: Context, location: Location, digest: Digest) -> Uses:
    """Return what refers to a digest: asks for every tag of the repository, and reads every index.

    Untagged indexes cannot be found: no registry lists them.

    Raises:
        ListingIncompleteError: the tags could not be listed to their end.
        RegistryError: one of the tags or indexes could not be asked for; nothing is ever taken for unused then.
    """
    reader, writer = context.gateway.reader(location), context.gateway.writer(location)
    listing = await context.listings.complete(reader)
    tags = list(listing.entries)
    found = dict(zip(tags, await each(tags, writer.head, LOOKS_AT_ONCE) if tags else [], strict=True))
    heads = {tag: head for tag, head in found.items() if head is not None}
    by_digest: dict[Digest, list[Tag]] = {}
    for tag, head in heads.items():
        by_digest.setdefault(head.digest, []).append(tag)
    attachments = await _find_attachments(reader, digest, heads)
    own = {fallback_tag(digest), *cosign_tags(digest)}
    theirs = [tag for attachment in attachments for tag in by_digest.get(attachment, []) if tag not in own]
    roots = {head.digest for tag, head in heads.items() if not head.is_manifest and tag not in own} - {digest}
    parents = await _find_parents(writer, sorted(roots), digest)
    return Uses(
        tags=tuple(sorted(by_digest.get(digest, []))),
        indexes=tuple(f"{location}:{by_digest[parent][0]}" for parent in parents),
        attachments=attachments,
        attachment_tags=tuple(sorted(theirs)),
    )


async def _find_attachments(
    reader: RepositoryReader, digest: Digest, heads: Mapping[Tag, Descriptor]
) -> tuple[Digest, ...]:
    """Return the manifests attached to a digest; the index that lists the others, under the fallback tag, is last."""
    answer = await reader.referrers(digest)
    found = [heads[tag].digest for tag in cosign_tags(digest) if tag in heads]
    found += [descriptor.digest for descriptor in answer.descriptors]
    if fallback_tag(digest) in heads:
        found.append(heads[fallback_tag(digest)].digest)
    return tuple(attachment for attachment in dict.fromkeys(found) if attachment != digest)


async def _find_parents(writer: RepositoryWriter, roots: Sequence[Digest], digest: Digest) -> list[Digest]:
    """Return those of ``roots`` that have ``digest`` below them."""
    known: dict[Digest, frozenset[Digest]] = {}
    inner: dict[Digest, None] = {}

    async def fetch(wanted: Digest) -> None:
        try:
            manifest = await writer.manifest(wanted)
        except NotFoundError:  # an index that lacks one of its own: what is missing holds nothing
            known[wanted] = frozenset()
            return
        known[wanted] = frozenset(child.digest for child in manifest.children())
        inner.update((child.digest, None) for child in manifest.children() if child.is_index)

    level = list(roots)
    for _ in range(MAX_DEPTH):
        if not level:
            break
        await each(level, fetch, FETCHES_AT_ONCE)
        level = [wanted for wanted in inner if wanted not in known]
    if level:
        raise ListingIncompleteError(f"the indexes of {writer.location} nest deeper than {MAX_DEPTH} levels")

    def holds(parent: Digest, depth: int) -> bool:
        children = known.get(parent, frozenset())
        return digest in children or (depth > 0 and any(holds(child, depth - 1) for child in children & known.keys()))

    return [root for root in roots if holds(root, MAX_DEPTH)]
