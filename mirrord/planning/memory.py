"""What is remembered of an image on a target from run to run, as values. A cache: the registry is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.report import Problem


class ImageState(StrEnum):
    """How an image (a tag on a target) stands."""

    IN_SYNC = "in_sync"
    OUT_OF_SYNC = "out_of_sync"
    COPYING = "copying"
    WAITING = "waiting"
    BLOCKED = "blocked"
    FAILED = "failed"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class ImageKey:
    """An image of a rule and a source on a target: ``ref`` is the source's tag, or the digest of one named by that.

    ``target_tag`` is empty for an image without one on the target.
    """

    ref: str
    target: Location
    target_tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMemory:
    """What is remembered of one image on one target.

    Attributes:
        key: which.
        state: how it stood when it was last looked at.
        digest: what the source was last seen to have; None: it could not be resolved.
        reason: why it stands so, in words; ``problem`` the same where something did not work.
        first_seen: when the source was first seen to have ``digest``.
        behind_since: since when the target is known not to serve what the source has; kept while newer digests follow.
            None: it serves it.
        served: what the target was last proven to serve; None: nothing is known, or it serves nothing.
        proven_at: when that was proven, by a read-back or a look at the target itself, or a listing of its.
        scope: what the rule asked of the image then, as a fingerprint: `scope_of`. Another one means that the proof is
            for something else.
        referrers_at: when the image's attachments were last compared with the source's; None: never.
        referrers_mark: a fingerprint of the attachments that the source had then; empty: not known.
        subjects: digests of the image's manifests, of which attachments may be about; empty: not known.
    """

    key: ImageKey
    state: ImageState
    digest: Digest | None = None
    reason: str = ""
    problem: Problem | None = None
    first_seen: datetime | None = None
    behind_since: datetime | None = None
    served: Digest | None = None
    proven_at: datetime | None = None
    scope: str = ""
    referrers_at: datetime | None = None
    referrers_mark: str = ""
    subjects: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDigest:
    """A digest that a tag of a source had at some time, and when it was seen first."""

    tag: str
    digest: Digest
    first_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSummary:
    """A rule's images on one target, counted by state, with the moment of the oldest change that is not served."""

    target: Location
    images: dict[ImageState, int]
    behind_since: datetime | None = None
