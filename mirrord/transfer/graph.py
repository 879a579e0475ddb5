"""Fetches the content below a root from the source: its manifests, and what is attached to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mirrord.errors import InvalidManifestError, ListingIncompleteError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index
from mirrord.oci.reference import Tag
from mirrord.planning.attachment import cosign_tags, fallback_tag
from mirrord.planning.graph import MAX_DEPTH, MAX_NODES, ImageGraph, order_graph
from mirrord.planning.rule import Referrers
from mirrord.ports.registry import RepositoryReader
from mirrord.transfer.side import each

FETCHES_AT_ONCE = 8
MAX_METADATA = 32 * 1024 * 1024
"""Bytes of all manifests of one image, or of its attachments, together: 5,000 of the largest would fill any memory."""
MAX_ATTACHMENTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Something attached to an image: a graph, pushed by digest, and under ``tag`` where it is found by one."""

    graph: ImageGraph
    tag: Tag | None = None


class ManifestCache:
    """The manifests that one image needs, or its attachments, each fetched once; bounded in number and bytes."""

    def __init__(self, reader: RepositoryReader, known: Collection[AnyManifest] = ()) -> None:
        """Read from ``reader`` what is not known yet."""
        self._reader = reader
        self._known = {manifest.descriptor.digest: manifest for manifest in known}
        self._size = sum(len(manifest.raw) for manifest in self._known.values())

    async def get(self, digest: Digest) -> AnyManifest:
        """Return a manifest, from the source if it is not known yet.

        Raises:
            InvalidManifestError: all manifests together are too many or too large.
        """
        if digest not in self._known:
            manifest = await self._reader.manifest(digest)
            self._size += len(manifest.raw)
            if len(self._known) == MAX_NODES or self._size > MAX_METADATA:
                raise InvalidManifestError(
                    f"{self._reader.location}: one image, or what is attached to it, has more than {MAX_NODES} "
                    f"manifests or {MAX_METADATA} bytes of them",
                    code="GRAPH_TOO_LARGE",
                )
            self._known[digest] = manifest
        return self._known[digest]

    async def graph(self, root: AnyManifest, absent: frozenset[Digest] = frozenset()) -> ImageGraph:
        """Return everything below ``root`` but ``absent``; level by level, a few fetches side by side.

        Raises:
            InvalidManifestError: the graph is too deep or too large.
        """
        found: dict[Digest, AnyManifest] = {root.descriptor.digest: root}
        level: Sequence[AnyManifest] = (root,)
        for _ in range(MAX_DEPTH):
            wanted = {
                child.digest: None
                for manifest in level
                for child in manifest.children()
                if child.digest not in found and child.digest not in absent
            }
            if not wanted:
                break
            if len(found) + len(wanted) > MAX_NODES:
                raise InvalidManifestError(
                    f"the index {root.descriptor.digest} holds more than {MAX_NODES} manifests", code="GRAPH_TOO_LARGE"
                )
            level = await self._get_all(list(wanted))
            found |= {manifest.descriptor.digest: manifest for manifest in level}
        else:
            raise InvalidManifestError(
                f"the index {root.descriptor.digest} nests deeper than {MAX_DEPTH} levels", code="GRAPH_TOO_DEEP"
            )
        return order_graph(root, found, absent)

    async def _get_all(self, digests: Sequence[Digest]) -> list[AnyManifest]:
        return await each(digests, self.get, FETCHES_AT_ONCE)


async def find_attachments(
    reader: RepositoryReader,
    graph: ImageGraph,
    wanted: Referrers,
    *,
    tags: Collection[Tag] | None,
    omit: Collection[Digest] = (),
    heard: dict[Digest, tuple[Descriptor, ...]] | None = None,
) -> tuple[Attachment, ...]:
    """Return what is attached to the manifests of ``graph``, and to the attachments themselves.

    Args:
        reader: the source.
        graph: the image; each of its manifests may have attachments.
        wanted: which artifact types.
        tags: all tags of the source repository, if they are known; None asks for each possible name instead.
        omit: manifests whose attachments are left behind, such as those of a rewritten index.
        heard: takes what the source told of each manifest's referrers, as it told it.

    Raises:
        ListingIncompleteError: there are more than 1,000.
        RegistryError: the source could not be asked; an error is never taken for "none".
    """
    if not wanted.enabled:
        return ()
    found: dict[tuple[Digest, Tag | None], Attachment] = {}
    cache = ManifestCache(reader)
    heard = {} if heard is None else heard
    subjects = [m.descriptor.digest for m in graph.manifests if m.descriptor.digest not in omit]
    seen = set(subjects) | set(omit)
    for _ in range(MAX_DEPTH):
        batches = await each(
            subjects, lambda subject: _attached_to(reader, cache, subject, wanted, tags), FETCHES_AT_ONCE
        )
        heard.update((subject, told) for subject, (told, _) in zip(subjects, batches, strict=True))
        fresh = [attachment for _, batch in batches for attachment in batch]
        subjects = []
        for attachment in fresh:
            digest = attachment.graph.root.descriptor.digest
            found.setdefault((digest, attachment.tag), attachment)
            if digest not in seen:
                seen.add(digest)
                subjects.append(digest)
        if len(found) > MAX_ATTACHMENTS:
            raise ListingIncompleteError(
                f"{reader.location}@{graph.root.descriptor.digest} has more than {MAX_ATTACHMENTS} attachments"
            )
        if not subjects:
            return tuple(found.values())
    raise InvalidManifestError(
        f"the attachments of {graph.root.descriptor.digest} are attached to each other in more than {MAX_DEPTH} steps",
        code="GRAPH_TOO_DEEP",
    )


async def _attached_to(
    reader: RepositoryReader,
    cache: ManifestCache,
    subject: Digest,
    wanted: Referrers,
    tags: Collection[Tag] | None,
) -> tuple[tuple[Descriptor, ...], list[Attachment]]:
    """Return what refers to ``subject``: by the referrers API or its fallback tag, and by cosign's tags.

    The first part is what the API told, before any of it was left out.
    """
    found: list[Attachment] = []
    answer = await reader.referrers(subject, fallback=tags is None or fallback_tag(subject) in tags)
    for descriptor in answer.descriptors:
        manifest = await cache.get(descriptor.digest)
        if manifest.subject is None or manifest.subject.digest != subject:
            continue  # an index under a look-alike tag, or a registry that mixes things up: not attached to this image
        if wanted.types and artifact_type(manifest) not in wanted.types:
            continue
        found.append(Attachment(graph=await cache.graph(manifest)))
    for tag in cosign_tags(subject):
        if tags is not None and tag not in tags:
            continue
        head = await reader.head(tag)
        if head is None:
            continue
        manifest = await cache.get(head.digest)
        if not wanted.types or artifact_type(manifest) in wanted.types:
            found.append(Attachment(graph=await cache.graph(manifest), tag=tag))
    return answer.descriptors, found


def artifact_type(manifest: AnyManifest) -> str:
    """Return the type of an artifact: as it says, else that of its config. Source: image-spec manifest.md."""
    if manifest.artifact_type or isinstance(manifest, Index):
        return manifest.artifact_type
    return manifest.config.media_type
