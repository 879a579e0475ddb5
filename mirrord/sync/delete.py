"""Deleting one tag or one image by hand, so that nothing else goes with it unasked.

A tag is deleted alone wherever the registry can do that. Where it deletes by digest only, or where a digest was named,
everything that refers to the digest is found first: a complete listing, and one look at every tag. What would go or
break with it makes mirrord refuse, unless the caller asked for that too. The same holds for the last tag of a digest at
a registry that deletes the image with it (ECR does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirrord.errors import (
    DeniedError,
    MirrordError,
    NotFoundError,
    PolicyRefusedError,
    RegistryError,
    UnsupportedError,
    UsageError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Reference, Tag
from mirrord.ports.registry import RepositoryWriter
from mirrord.sync.context import Context
from mirrord.sync.uses import Uses, find_uses

_CANNOT = frozenset({400, 405, 501})
"""How registries say that they do not delete by tag: distribution 2.8 with 400 DIGEST_INVALID, Harbor with 400."""

_HELD = frozenset({400, 405, 409, 412})
"""How registries say that an index still holds a manifest: Google with 400, zot with 405, others as a conflict."""

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What is deleted, or would be: ``tag`` alone where it is set, else the manifest ``digest`` with all its tags."""

    location: Location
    tag: Tag | None
    digest: Digest
    uses: Uses

    @property
    def others(self) -> tuple[Tag, ...]:
        """The other tags of the same digest."""
        return tuple(tag for tag in self.uses.tags if tag != self.tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What went: tags by name, and manifests by digest (none where a tag alone was deleted)."""

    location: Location
    tags: tuple[Tag, ...]
    manifests: tuple[Digest, ...] = ()


async def look_up(context: Context, reference: Reference) -> Deletion:
    """Return what a deletion would do, with everything that refers to the digest. Changes nothing.

    Raises:
        NotFoundError: there is no such tag or manifest, or the tag of ``repository:tag@digest`` is of another digest.
        UsageError: the reference names no image.
        UnsupportedError: it names a digest, and the registry deletes tags alone.
        ListingIncompleteError: the tags could not be listed to their end.
    """
    writer = context.gateway.writer(reference.location)
    digest = await _resolve(writer, reference)
    return Deletion(
        location=reference.location,
        tag=reference.tag,
        digest=digest,
        uses=await find_uses(context, reference.location, digest),
    )


async def delete(
    context: Context, reference: Reference, *, with_tags: bool = False, with_attachments: bool = False
) -> Deleted:
    """Delete a tag or an image.

    Args:
        context: the outside world.
        reference: a tag, which goes alone; or a digest, which goes with its tags. ``repository:tag@digest`` is the
            digest, and names its tag as one that may go with it.
        with_tags: the other tags of the digest may go too.
        with_attachments: signatures, SBOMs and whatever else is attached to the digest go too, before it.

    Raises:
        PolicyRefusedError: something else would go or break; the message says what. Nothing was deleted.
        NotFoundError: there is no such tag or manifest.
        UnsupportedError: the registry deletes nothing, or nothing by digest.
        RegistryError: the listing was incomplete, or the deletion failed.
    """
    writer = context.gateway.writer(reference.location)
    digest = await _resolve(writer, reference)
    if reference.digest is None and writer.keeps_untagged:
        assert reference.tag is not None
        if await _delete_tag(writer, reference.tag):
            return Deleted(location=reference.location, tags=(reference.tag,))
    uses = await find_uses(context, reference.location, digest)
    deletion = Deletion(location=reference.location, tag=reference.tag, digest=digest, uses=uses)
    alone = reference.tag if reference.digest is None and not writer.keeps_untagged else None
    if alone is not None and deletion.others and await _delete_tag(writer, alone):
        return Deleted(location=reference.location, tags=(alone,))
    cause = _cause(reference, writer)
    _check(deletion, cause=cause, with_tags=with_tags, with_attachments=with_attachments)
    await _delete_attachments(writer, uses.attachments)
    if alone is not None and not deletion.others and await _delete_tag(writer, alone):
        gone = (digest,) if await writer.head(digest) is None else ()
        return Deleted(
            location=reference.location, tags=(alone, *uses.attachment_tags), manifests=(*uses.attachments, *gone)
        )
    await _delete_digest(writer, digest, uses.tags)
    tags = (*uses.tags, *uses.attachment_tags)
    return Deleted(location=reference.location, tags=tags, manifests=(*uses.attachments, digest))


async def _resolve(writer: RepositoryWriter, reference: Reference) -> Digest:
    """Return the digest that a reference names now, asked of the registry itself."""
    if reference.tag is None and reference.digest is None:
        raise UsageError(
            f"{reference} names neither a tag nor a digest",
            remedy=f"write {reference}:TAG or {reference}@sha256:...; whole repositories are not deleted",
        )
    digest = await _ask(writer, reference.tag or reference.digest)
    if reference.digest is not None and not writer.deletes_digests:
        raise UnsupportedError(
            f"{reference.location}@{reference.digest} is not deleted: {reference.location.host} deletes tags, and no "
            "manifests by digest",
            host=reference.location.host,
            remedy="delete its tags by name",
        )
    if reference.digest is not None and digest != reference.digest:
        raise NotFoundError(
            f"{reference.location}:{reference.tag} is not {reference.digest} but {digest}",
            host=reference.location.host,
            remedy="it was moved; look at it again before deleting",
        )
    return digest


async def _ask(writer: RepositoryWriter, ref: Tag | Digest | None) -> Digest:
    assert ref is not None
    head = await writer.head(ref)
    if head is None:
        name = f"{writer.location}{'@' if isinstance(ref, Digest) else ':'}{ref}"
        raise NotFoundError(
            f"{name} does not exist, or the credential for {writer.location.host} may not see it",
            host=writer.location.host,
            remedy=f"`mirrord tags {writer.location}` lists the tags",
        )
    return head.digest


async def _delete_tag(writer: RepositoryWriter, tag: Tag) -> bool:
    """Delete a tag alone; False where the registry does not delete by tag."""
    try:
        await writer.delete(tag)
    except DeniedError:  # locked, immutable or protected: the digest must not go in the tag's place
        raise
    except RegistryError as exc:
        if exc.status in _CANNOT:
            return False
        raise
    await _see_gone(writer, tag)
    return True


async def _delete_attachments(writer: RepositoryWriter, attachments: Sequence[Digest]) -> None:
    """Delete what is attached to an image, the index that lists it last: it shows what is left where this breaks off.

    Some registries keep a manifest while any index holds it, this one too. There the index goes before the others.
    """
    held = []
    for attachment in attachments:
        try:
            await writer.delete(attachment)
        except RegistryError as exc:
            if attachment == attachments[-1] or not (exc.code == "DIGEST_IN_INDEX" or exc.status in _HELD):
                raise
            held.append(attachment)
    for attachment in held:
        await writer.delete(attachment)


async def _delete_digest(writer: RepositoryWriter, digest: Digest, tags: Sequence[Tag]) -> None:
    """Delete a manifest with its tags; the tags first where the registry wants that, as Google's does."""
    try:
        await writer.delete(digest)
    except RegistryError as exc:
        dangling = any("DANGLING_TAG" in code for code in exc.error_codes)
        if not dangling:
            raise
        for tag in tags:
            await writer.delete(tag)
        await writer.delete(digest)
    for tag in tags:
        await _see_gone(writer, tag)
    await _see_gone(writer, digest)


async def _see_gone(writer: RepositoryWriter, ref: Tag | Digest) -> None:
    if await writer.head(ref) is not None:
        raise MirrordError(
            f"{writer.location}: the registry took the deletion of {ref}, but serves it still",
            code="DELETION_NOT_SEEN",
            remedy="look again in a moment: a cache may be slow, or something else has written it anew",
        )


def _cause(reference: Reference, writer: RepositoryWriter) -> str:
    """Say why more than the tag that was named would go; nothing where a digest was named."""
    if reference.digest is not None:
        return ""
    if not writer.keeps_untagged:
        return "the image goes with its last tag, and "
    return "the registry deletes by digest only, and "


def _check(deletion: Deletion, *, cause: str, with_tags: bool, with_attachments: bool) -> None:
    """Refuse to delete a digest that is used by more than the caller named."""
    uses = deletion.uses
    name = f"{deletion.location}@{deletion.digest}"
    if uses.indexes:
        raise PolicyRefusedError(
            f"{cause}{name} is part of {_list(uses.indexes)}, which would break",
            code="DIGEST_IN_INDEX",
            remedy="delete the index first",
        )
    if deletion.others and not with_tags:
        raise PolicyRefusedError(
            f"{cause}{name} has {'also ' if deletion.tag else ''}the "
            f"{'tag' if len(deletion.others) == 1 else 'tags'} {_list(deletion.others)}, which would go with it",
            code="DIGEST_HAS_TAGS",
            remedy=f"--with-tags deletes {name} with all its tags",
        )
    if uses.attachments and not with_attachments:
        count = len(uses.attachments)
        raise PolicyRefusedError(
            f"{cause}{name} has {count} attachment{'s' if count > 1 else ''} ({_list(uses.attachments)}), which would "
            "be left without an image",
            code="DIGEST_HAS_ATTACHMENTS",
            remedy="--with-attachments deletes these too",
        )
    if uses.attachment_tags and not with_tags:
        raise PolicyRefusedError(
            f"what is attached to {name} has tags of its own ({_list(uses.attachment_tags)}), which would go with it",
            code="DIGEST_HAS_TAGS",
            remedy="--with-tags deletes these too",
        )


def _list(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
