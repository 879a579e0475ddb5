"""What is left of an image after a rule's platform filter."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, Manifest
from mirrord.oci.mediatype import IMAGE_CONFIGS
from mirrord.oci.platform import Platform
from mirrord.planning.rewrite import absent_children, filter_index, rewrite_index
from mirrord.planning.rule import IndexMode, PlatformSelector
from mirrord.ports.registry import RepositoryReader, Slots
from mirrord.sync.created import read_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What targets should hold of an image.

    ``manifest`` is the root if it had to be fetched to find out. ``absent`` are children left out of a sparse index.
    ``unwanted`` says why nothing of the image is wanted; ``missing`` are wanted platforms that it does not offer.
    """

    descriptor: Descriptor
    manifest: AnyManifest | None = None
    rewritten: bool = False
    absent: frozenset[Digest] = frozenset()
    unwanted: str = ""
    missing: tuple[Platform, ...] = ()


async def apply_filter(reader: RepositoryReader, root: Descriptor, selector: PlatformSelector) -> Wanted:
    """Return what is wanted of ``root``. Without a filter nothing is asked; of an index the manifest is fetched."""
    if not selector.platforms or root.is_manifest:
        return Wanted(descriptor=root)
    manifest = await reader.manifest(root.digest)
    if not isinstance(manifest, Index):
        return Wanted(descriptor=manifest.descriptor, manifest=manifest)
    filtered = filter_index(manifest, selector)
    if not filtered.kept:
        names = ", ".join(str(platform) for platform in selector.platforms)
        return Wanted(
            descriptor=root,
            manifest=manifest,
            unwanted=f"it offers none of the platforms {names}",
            missing=filtered.missing,
        )
    if selector.mode is IndexMode.SPARSE:
        return Wanted(
            descriptor=manifest.descriptor,
            manifest=manifest,
            absent=absent_children(manifest, selector),
            missing=filtered.missing,
        )
    rewritten = rewrite_index(manifest, filtered.kept)
    return Wanted(
        descriptor=rewritten.descriptor,
        manifest=rewritten,
        rewritten=rewritten is not manifest,
        missing=filtered.missing,
    )


async def why_unwanted(reader: RepositoryReader, slots: Slots, root: Descriptor, selector: PlatformSelector) -> str:
    """Return why a single image is not for any wanted platform; empty if it is, or if it is no image at all."""
    if not selector.platforms:
        return ""
    manifest = await reader.manifest(root.digest)
    if not isinstance(manifest, Manifest) or manifest.config.media_type not in IMAGE_CONFIGS:
        return ""
    config = await read_config(reader, slots, manifest.config)
    found = Platform(
        *(value if isinstance(value, str) else "" for value in map(config.get, ("os", "architecture", "variant")))
    )
    if not found.os or any(wanted.covers(found) for wanted in selector.platforms):
        return ""
    return f"it is for {found}, which is not among the platforms that are wanted"
