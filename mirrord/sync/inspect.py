"""What an image is made of, and what is attached to it."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.errors import InvalidManifestError, MirrordError, NotFoundError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Manifest
from mirrord.oci.mediatype import IMAGE_CONFIGS
from mirrord.oci.platform import Platform
from mirrord.oci.reference import Reference, Tag
from mirrord.planning.graph import MAX_DEPTH, MAX_NODES, ImageGraph
from mirrord.planning.rule import Referrers
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.context import Context
from mirrord.sync.copy import with_tag
from mirrord.sync.created import parse_time, read_config
from mirrord.transfer.graph import FETCHES_AT_ONCE, artifact_type, find_attachments
from mirrord.transfer.side import each

_ATTESTS = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A manifest below an index, as the index names it; ``manifest`` is None where the repository lacks it.

    ``attests`` is the digest of the image that a build tool's attestation is about.
    """

    descriptor: Descriptor
    manifest: AnyManifest | None

    @property
    def attests(self) -> str:
        """The digest, as text, of the image that this is an attestation of; else empty."""
        return self.descriptor.annotations.get(_ATTESTS, "")

    @property
    def size(self) -> int:
        """Bytes of the manifest with its config and layers."""
        return self.descriptor.size + sum(blob.size for blob in self.manifest.blobs()) if self.manifest else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """What an image's configuration says; empty where it says nothing. ``created`` is RFC 3339, in UTC."""

    platform: Platform | None = None
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFacts:
    """A signature, SBOM or other artifact that is attached to the image; ``tag`` is the cosign tag that finds it."""

    digest: Digest
    artifact_type: str
    size: int
    tag: Tag | None = None
    subject: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An image: ``root`` is what the reference names, ``members`` all that is below it, level by level.

    ``size`` counts each blob and manifest once, in bytes. ``warnings`` say what could not be found out.
    """

    reference: Reference
    root: AnyManifest
    members: tuple[Member, ...]
    config: ConfigFacts
    attached: tuple[AttachedFacts, ...]
    warnings: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all content, each blob and manifest once."""
        known = [self.root, *(member.manifest for member in self.members if member.manifest is not None)]
        blobs = {blob.digest: blob.size for manifest in known for blob in manifest.blobs()}
        return sum(blobs.values()) + sum(manifest.descriptor.size for manifest in known)


async def fetch_root(context: Context, reference: Reference) -> AnyManifest:
    """Return the manifest that a reference names, verified; ``latest`` where it names neither tag nor digest.

    Raises:
        NotFoundError: there is none.
    """
    named = with_tag(reference)
    reader = context.gateway.reader(named.location)
    if named.digest is not None:
        return await reader.manifest(named.digest)
    assert named.tag is not None
    head = await reader.head(named.tag)
    if head is None:
        raise NotFoundError(
            f"{named} does not exist, or the credential for {named.location.host} may not see it",
            host=named.location.host,
            remedy=f"`mirrord tags {named.location}` lists the tags",
        )
    return await reader.manifest(head.digest)


async def inspect_image(context: Context, reference: Reference) -> Inspection:
    """Return what an image is made of.

    Raises:
        NotFoundError: there is no such image.
        InvalidManifestError: it nests too deep, or holds too many manifests.
    """
    named = with_tag(reference)
    reader = context.gateway.reader(named.location)
    root = await fetch_root(context, named)
    members = await _members(reader, root)
    warnings = [
        f"{member.descriptor.digest} is named by the index and missing in the repository"
        for member in members
        if member.manifest is None
    ]
    try:
        config = await _config(context, reader, root)
    except MirrordError as exc:
        config = ConfigFacts()
        warnings.append(f"the config could not be read: {exc}")
    try:
        attached = await _attached(reader, root)
    except MirrordError as exc:
        attached = ()
        warnings.append(f"what is attached could not be found out: {exc}")
    return Inspection(
        reference=named, root=root, members=members, config=config, attached=attached, warnings=tuple(warnings)
    )


async def _members(reader: RepositoryReader, root: AnyManifest) -> tuple[Member, ...]:
    async def fetch(child: Descriptor) -> Member:
        try:
            return Member(descriptor=child, manifest=await reader.manifest(child.digest))
        except NotFoundError:
            return Member(descriptor=child, manifest=None)

    members: dict[Digest, Member] = {}
    level = list(root.children())
    for _ in range(MAX_DEPTH):
        if not level:
            return tuple(members.values())
        if len(members) + len(level) > MAX_NODES:
            break
        found = await each(level, fetch, FETCHES_AT_ONCE)
        members |= {member.descriptor.digest: member for member in found}
        below = {child.digest: child for member in found if member.manifest for child in member.manifest.children()}
        level = [child for digest, child in below.items() if digest not in members]
    raise InvalidManifestError(
        f"the index {root.descriptor.digest} nests deeper than {MAX_DEPTH} levels or holds more than {MAX_NODES} "
        "manifests",
        code="GRAPH_TOO_LARGE",
    )


async def _config(context: Context, reader: RepositoryReader, root: AnyManifest) -> ConfigFacts:
    if not isinstance(root, Manifest) or root.config.media_type not in IMAGE_CONFIGS:
        return ConfigFacts()
    fields = await read_config(reader, context.slots, root.config)
    parts = [value if isinstance(value := fields.get(key), str) else "" for key in ("os", "architecture", "variant")]
    created = fields.get("created")
    time = parse_time(created) if isinstance(created, str) else None
    return ConfigFacts(
        platform=Platform(*parts) if parts[0] else None, created=time.isoformat(timespec="seconds") if time else ""
    )


async def _attached(reader: RepositoryReader, root: AnyManifest) -> tuple[AttachedFacts, ...]:
    found = await find_attachments(reader, ImageGraph(manifests=(root,)), Referrers(), tags=None)
    return tuple(
        AttachedFacts(
            digest=attachment.graph.root.descriptor.digest,
            artifact_type=artifact_type(attachment.graph.root),
            size=sum(manifest.descriptor.size for manifest in attachment.graph.manifests)
            + sum(blob.size for blob in attachment.graph.blobs()),
            tag=attachment.tag,
            subject=attachment.graph.root.subject.digest if attachment.graph.root.subject else None,
        )
        for attachment in found
    )
