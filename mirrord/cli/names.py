"""How images are called in texts."""

from __future__ import annotations

from collections.abc import Sequence

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import UnitResult

TagPair = tuple[Tag | None, Tag | None]

_SHOWN = 3


def source_name(source: Location, tags: Sequence[TagPair], digest: Digest | None) -> str:
    """Return what an image is called at its source: ``host/path:1.2, 1.2.0``, or by digest where it has no tag."""
    return _name(source, [tag for tag, _ in tags], digest)


def target_name(target: Location, tags: Sequence[TagPair], digest: Digest | None) -> str:
    """Return what an image is called on a target; tags that are those of the source are not said again."""
    if all(source == there for source, there in tags):
        return str(target)
    return _name(target, [tag for _, tag in tags], digest)


def result_name(result: UnitResult) -> str:
    """Return ``source:tag -> target``."""
    source = source_name(result.source, result.tags, result.digest)
    return f"{source} -> {target_name(result.target, result.tags, result.served)}"


def listing_text(names: Sequence[str], shown: int = _SHOWN) -> str:
    """Return names with commas between them; of many, the first and how many there are."""
    if len(names) <= shown + 1:
        return ", ".join(names)
    return f"{', '.join(names[:shown])} and {len(names) - shown} more"


def _name(location: Location, tags: Sequence[Tag | None], digest: Digest | None) -> str:
    names = [str(tag) for tag in tags if tag is not None]
    if names:
        return f"{location}:{listing_text(names)}"
    return f"{location}@{digest.algorithm}:{digest.short}" if digest is not None else str(location)
