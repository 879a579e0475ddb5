"""What a platform filter leaves of an index, and the index that is made of it: same input, same bytes."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import Index, parse_manifest
from mirrord.oci.platform import Platform
from mirrord.planning.rule import PlatformSelector

ATTESTATION_SUBJECT = "vnd.docker.reference.digest"
"""The annotation by which an attestation inside an index names the image it is about (BuildKit's convention)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredIndex:
    """The children of an index under a platform filter, in the order of the index.

    ``missing`` are the wanted platforms that no child is for.
    """

    kept: tuple[Descriptor, ...]
    dropped: tuple[Descriptor, ...]
    missing: tuple[Platform, ...]


def filter_index(index: Index, selector: PlatformSelector) -> FilteredIndex:
    """Return which children of ``index`` are wanted.

    Kept is what a wanted platform covers, all of it where several children are for one platform; what has no
    platform, since it is no image of any (a nested index among it, which is kept whole and may hold any platform:
    nothing counts as missing then); and an attestation of anything that is kept.
    """
    if not selector.platforms:
        return FilteredIndex(kept=index.manifests, dropped=(), missing=())
    wanted = [child for child in index.manifests if not _subject(child) and _is_wanted(child, selector.platforms)]
    subjects = {str(child.digest) for child in wanted}
    chosen = set(wanted)
    kept = tuple(child for child in index.manifests if child in chosen or _subject(child) in subjects)
    keep = set(kept)
    open_ended = any(child.is_index and _platform(child) is None for child in kept)
    return FilteredIndex(
        kept=kept,
        dropped=tuple(child for child in index.manifests if child not in keep),
        missing=() if open_ended else tuple(p for p in selector.platforms if not _is_offered(p, index.manifests)),
    )


def absent_children(index: Index, selector: PlatformSelector) -> frozenset[Digest]:
    """Return the children that a sparse copy of ``index`` leaves out."""
    filtered = filter_index(index, selector)
    return frozenset(child.digest for child in filtered.dropped) - {child.digest for child in filtered.kept}


def rewrite_index(index: Index, kept: Collection[Descriptor]) -> Index:
    """Return the index with only ``kept`` of its children; ``index`` itself, byte for byte, if these are all.

    Order, every other field and every number stay as they are written; the text becomes compact JSON in UTF-8.
    The digest is a sha256, whatever the algorithm of the old one.
    """
    keep = set(kept)
    chosen = [child in keep for child in index.manifests]
    if all(chosen):
        return index
    fields = json.loads(index.raw, parse_int=_Number, parse_float=_Number)
    fields["manifests"] = [entry for entry, stays in zip(fields["manifests"], chosen, strict=True) if stays]
    rewritten = parse_manifest(
        _compact(fields).encode(), media_type=index.descriptor.media_type, what="the rewritten index"
    )
    assert isinstance(rewritten, Index)
    return rewritten


def _platform(child: Descriptor) -> Platform | None:
    """Return the platform that a child is for; None where it says none, or nothing by it."""
    platform = child.platform
    if platform is None or platform.is_unknown or not (platform.os or platform.architecture):
        return None
    return platform


def _subject(child: Descriptor) -> str:
    """Return the digest that an attestation is about; empty for any other child."""
    return child.annotations.get(ATTESTATION_SUBJECT, "") if _platform(child) is None else ""


def _is_wanted(child: Descriptor, wanted: Collection[Platform]) -> bool:
    platform = _platform(child)
    return platform is None or any(one.covers(platform) for one in wanted)


def _is_offered(wanted: Platform, children: Collection[Descriptor]) -> bool:
    return any(child.platform is not None and wanted.covers(child.platform) for child in children)


class _Number(str):
    """A number as it is written: through a float, digits would be lost."""

    __slots__ = ()


def _compact(value: object) -> str:
    """Return ``value`` as compact JSON. Recursion is bounded: the text was read once, with its depth checked."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(key)}:{_compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
