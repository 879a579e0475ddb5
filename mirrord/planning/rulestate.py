"""How a rule stands, found from what is known of its images and of its looks at the source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mirrord.planning.memory import ImageState
from mirrord.planning.status import RuleState

WORST_FIRST = (
    RuleState.FAILED,
    RuleState.STALLED,
    RuleState.BLOCKED,
    RuleState.WAITING,
    RuleState.OUT_OF_SYNC,
    RuleState.NEW,
    RuleState.IN_SYNC,
)
"""States by how much they ask of a person: a failure stays until somebody does something, waiting ends by itself."""

_AS_RULE = {
    ImageState.FAILED: RuleState.FAILED,
    ImageState.STALLED: RuleState.STALLED,
    ImageState.BLOCKED: RuleState.BLOCKED,
    ImageState.WAITING: RuleState.WAITING,
    ImageState.OUT_OF_SYNC: RuleState.OUT_OF_SYNC,
    ImageState.COPYING: RuleState.OUT_OF_SYNC,
    ImageState.IN_SYNC: RuleState.IN_SYNC,
}


def severity(state: RuleState) -> int:
    """Return a number by which states sort, the worst first."""
    return WORST_FIRST.index(state)


def rule_state(images: Mapping[ImageState, int], *, has_looked: bool, is_blind: bool) -> RuleState:
    """Return a rule's state: the worst of its images, or that it could not look at its source.

    Args:
        images: counts by state over all targets; counts of 0 are as if they were not there.
        has_looked: whether any run ever saw the source, to its end.
        is_blind: whether the last run that ended could not see the source. A rule that has only been interrupted so
            far is not blind, it is new.
    """
    if is_blind:
        return RuleState.FAILED
    if not has_looked:
        return RuleState.NEW
    there = [_AS_RULE[state] for state, count in images.items() if count]
    return min(there, key=severity, default=RuleState.IN_SYNC)


def freshness_seconds(behind_since: datetime | None, now: datetime) -> float:
    """Return the age of the oldest change that is not served, in seconds; 0 where there is none."""
    return max(0.0, (now - behind_since).total_seconds()) if behind_since is not None else 0.0


def is_fresh(
    state: RuleState,
    *,
    behind_since: datetime | None,
    objective_seconds: float | None,
    last_looked: datetime | None,
    is_blind: bool,
    now: datetime,
) -> bool:
    """Say whether a rule keeps its promise or, where it made none, whether all is in sync.

    A rule that has not run yet has broken no promise. One that cannot see its source keeps its promise only as long as
    its last look is younger than that: after it nobody knows. A look that is merely not due yet is no matter.

    Args:
        state: what `rule_state` says.
        behind_since: the moment of the oldest change at the source that some target does not serve; None: none.
        objective_seconds: the promise; None: none was made.
        last_looked: when the last run ended that saw the source; None: none did.
        is_blind: whether the last run that ended could not see the source.
        now: the moment that is asked about.
    """
    if state is RuleState.NEW:
        return True
    if objective_seconds is None:
        return state is RuleState.IN_SYNC
    if is_blind and (last_looked is None or (now - last_looked).total_seconds() > objective_seconds):
        return False
    return freshness_seconds(behind_since, now) <= objective_seconds
