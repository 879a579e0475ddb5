"""The facts that a decision needs: what the source has, and what each target was seen to hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.memory import SeenDigest
from mirrord.planning.report import Problem


def unasked(digest: Digest) -> Descriptor:
    """Return what stands for an image of which nothing but a listing told: its digest, no type, no size."""
    return Descriptor(media_type="", digest=digest, size=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFact:
    """What a target answered when asked for one tag (or for the digest itself, where ``tag`` is None).

    ``digest`` None: it holds nothing under that name. ``problem``: it could not be asked. A digest that a listing told
    stands here only where it is the one that is wanted. So does one that was proven before: then it is not ``seen``.
    """

    target: Location
    tag: Tag | None
    digest: Digest | None = None
    problem: Problem | None = None
    seen: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TagObservation:
    """One source tag (None: an image named by digest), and what the targets hold under the name it maps to.

    ``newer`` is what the tag had after the digest to which it has returned; None: it has not returned to an older one.
    """

    tag: Tag | None
    facts: tuple[TargetFact, ...]
    newer: SeenDigest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageObservation:
    """One source digest with all its selected tags, at one moment.

    ``root`` is what the tags resolved to, pinned. ``wanted`` is what the targets should hold: the same, or the
    rewritten index. Where all targets hold what a listing told of the source, or what is remembered of it, the registry
    was not asked for more, and both are `unasked`. ``unwanted`` says why nothing of this image is wanted, where a
    platform filter leaves nothing.
    """

    source: Location
    root: Descriptor
    wanted: Descriptor
    tags: tuple[TagObservation, ...]
    at: datetime
    rewritten: AnyManifest | None = None
    unwanted: str = ""
