"""Plans: for one source image, what each target needs and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import Problem


class Decision(StrEnum):
    """What is done about one tag on one target."""

    UP_TO_DATE = "up to date"
    COPY = "copy"
    REPLACE = "replace"
    SKIP = "skip"
    REFUSE = "refuse"
    FAIL = "fail"


CHANGES = frozenset({Decision.COPY, Decision.REPLACE})


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPlan:
    """What is done about one tag on one target, and why. ``before`` is what the target serves now.

    It was not ``seen`` where a proof of an earlier run was enough.
    """

    source_tag: Tag | None
    target_tag: Tag | None
    decision: Decision
    reason: str
    before: Digest | None = None
    problem: Problem | None = None
    seen: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlan:
    """What one target needs of one image."""

    target: Location
    tags: tuple[TagPlan, ...]

    @property
    def changes(self) -> tuple[TagPlan, ...]:
        """The tags that will be written."""
        return tuple(tag for tag in self.tags if tag.decision in CHANGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """One source digest and all its targets. ``root`` is pinned; ``wanted`` is what targets will serve."""

    rule: str
    source: Location
    root: Descriptor
    wanted: Descriptor
    targets: tuple[TargetPlan, ...]
    rewritten: AnyManifest | None = None

    @property
    def changes(self) -> tuple[TargetPlan, ...]:
        """The targets that need something."""
        return tuple(target for target in self.targets if target.changes)
