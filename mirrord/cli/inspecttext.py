"""An image as text. What the registry wrote is escaped: it may hold control characters."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from mirrord.cli.columns import columns
from mirrord.cli.units import count_text, size_text
from mirrord.errors import quote
from mirrord.oci.manifest import Index, Manifest
from mirrord.planning.attachment import COSIGN_SUFFIXES
from mirrord.sync.inspect import AttachedFacts, Inspection, Member

_COSIGN = dict(zip(COSIGN_SUFFIXES, ("signature", "attestation", "SBOM"), strict=True))
_LONGEST_VALUE = 300


def inspection_lines(found: Inspection) -> list[Text]:
    """Return the report of an image, line by line."""
    lines = [Text(str(found.reference), style="bold"), *map(Text, columns(_facts(found), indent=2))]
    if found.root.annotations:
        pairs = sorted(found.root.annotations.items())
        lines += _table("Annotations", [(quote(key), quote(value, _LONGEST_VALUE)) for key, value in pairs])
    if isinstance(found.root, Manifest) and found.root.layers:
        layers = found.root.layers
        lines += _table(
            "Layers", [(size_text(layer.size), quote(layer.media_type), str(layer.digest)) for layer in layers]
        )
    if found.members:
        platforms = {str(member.descriptor.digest): str(member.descriptor.platform) for member in found.members}
        lines += _table("Manifests", [_member(member, platforms) for member in found.members])
    if found.attached:
        lines += _table("Attached", [_attached(attached, found) for attached in found.attached])
    if found.warnings:
        lines += [Text(), Text("Warnings", style="bold yellow"), *(Text(f"  {warning}") for warning in found.warnings)]
    return lines


def _facts(found: Inspection) -> list[tuple[str, str]]:
    root = found.root
    rows = [("digest", str(root.descriptor.digest)), ("type", quote(root.descriptor.media_type))]
    if root.artifact_type:
        rows.append(("artifact", quote(root.artifact_type)))
    if root.subject is not None:
        rows.append(("subject", str(root.subject.digest)))
    if isinstance(root, Index):
        images = sum(not member.attests for member in found.members)
        others = len(found.members) - images
        held = count_text(images, "image") + (f", {count_text(others, 'attestation')}" if others else "")
        rows.append(("size", f"{size_text(found.size)} in {held}"))
    else:
        rows.append(("size", f"{size_text(found.size)} in {count_text(len(root.layers), 'layer')}"))
    if found.config.platform is not None:
        rows.append(("platform", quote(str(found.config.platform))))
    if found.config.created:
        rows.append(("created", found.config.created))
    return rows


def _member(member: Member, platforms: dict[str, str]) -> tuple[str, ...]:
    digest = str(member.descriptor.digest)
    if member.attests:
        name = f"attestation of {quote(platforms.get(member.attests, member.attests))}"
    elif member.descriptor.platform is not None:
        name = quote(str(member.descriptor.platform))
    else:
        name = "index" if member.descriptor.is_index else "no platform"
    if member.manifest is None:
        return name, "missing", "", digest
    if isinstance(member.manifest, Index):
        return name, "", count_text(len(member.manifest.manifests), "manifest"), digest
    return name, size_text(member.size), count_text(len(member.manifest.layers), "layer"), digest


def _attached(attached: AttachedFacts, found: Inspection) -> tuple[str, ...]:
    name = quote(attached.artifact_type) or "artifact"
    if attached.tag is not None:
        name = f"cosign {_COSIGN.get(str(attached.tag).rpartition('.')[2], 'artifact')}"
    if attached.subject is not None and attached.subject != found.root.descriptor.digest:
        name += " (of another attachment)"
    return name, size_text(attached.size), str(attached.digest)


def _table(title: str, rows: Sequence[Sequence[str]]) -> list[Text]:
    return [Text(), Text(title, style="bold"), *map(Text, columns(rows, indent=2))]
