"""What is remembered of an image on a target from run to run, as values. A cache: the registry is the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import Problem
from mirrord.planning.rule import Rule

SOONEST = 0.75
"""Rechecks come after this share of their interval, or later, up to all of it."""

_SCOPE_FORM = "1"
"""Another one, when the same rule comes to make something else of the same image: old proofs are void then."""


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
        attached_mark: a fingerprint of the source's attachment tags, and of what they pointed to, when the target was
            last shown to lack nothing of that; empty: not known.
        attached_at: when that was shown.
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
    attached_mark: str = ""
    attached_at: datetime | None = None


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


def scope_of(rule: Rule) -> str:
    """Return a fingerprint of all in a rule that changes what a target should hold of an image.

    That are platforms, what is made of an index, attachments and their types, and layers kept elsewhere. Filters of
    tags are not among it: they decide whether an image is wanted, and not what of it.
    """
    platforms, referrers = rule.platforms, rule.referrers
    parts = [_SCOPE_FORM, rule.policy.foreign_layers.value]
    if platforms.platforms:
        parts += [platforms.mode.value, *sorted(map(str, platforms.platforms))]
    parts += ["referrers", *sorted(referrers.types)] if referrers.enabled else ["none"]
    return _fingerprint(parts)


def mark_of_tags(tags: Mapping[Tag, Digest]) -> str:
    """Return a fingerprint of attachment tags with what they point to; never empty."""
    return _fingerprint(sorted(f"{tag} {digest}" for tag, digest in tags.items()))


def mark_of(digests: Iterable[Digest]) -> str:
    """Return a fingerprint of attachments by their digests, in whichever order they were told; never empty."""
    return _fingerprint(sorted({str(digest) for digest in digests}))


def share_of(name: str) -> float:
    """Return a number from 0 up to 1 that a name always gives, so that many names spread evenly."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64


def is_recent(at: datetime | None, interval: timedelta, name: str, now: datetime) -> bool:
    """Say whether what was found out at a moment still holds by an interval.

    It is scaled by the name, to between three quarters of it and all: what was found out together for a thousand
    names is not asked again in one run. A moment that has not come yet proves nothing, nor does an interval of zero.
    """
    if at is None:
        return False
    age = now - at
    return timedelta(0) <= age < interval * (SOONEST + (1 - SOONEST) * share_of(name))


def what_came_later(history: Sequence[SeenDigest], digest: Digest) -> SeenDigest | None:
    """Return the newest digest that a tag had after ``digest``, if it had both before: it went back to an old one."""
    own = next((seen for seen in history if seen.digest == digest), None)
    newest = max(history, key=lambda seen: seen.first_seen, default=None)
    if own is None or newest is None or newest.first_seen <= own.first_seen:
        return None
    return newest


def _fingerprint(parts: Iterable[str]) -> str:
    return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
