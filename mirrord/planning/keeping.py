"""What is remembered of an image after a look, a copy or a failure. Pure: the moment comes in as an argument.

A proof is the target's digest, when it was shown, and the scope it was shown for; the three change together. It is
given up as soon as a write begins, and comes back with the read-back, so that a crash in between leaves no belief.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from mirrord.oci.digest import Digest
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState, mark_of
from mirrord.planning.plan import CHANGES, Decision, TagPlan
from mirrord.planning.planner import SERVED
from mirrord.planning.report import Outcome, Problem, UnitResult

MOST_SUBJECTS = 64
"""An image of more manifests is walked again when its attachments are looked for: its memory would be too large."""

_WAITING = frozenset({"QUOTA_EXHAUSTED", "QUOTA_RESERVED", "RATE_LIMITED", "BREAKER_OPEN"})
"""Problems that pass by themselves: the registry asks to wait, or is left alone for a while."""

_STATES = {
    Decision.UP_TO_DATE: ImageState.IN_SYNC,
    Decision.COPY: ImageState.OUT_OF_SYNC,
    Decision.REPLACE: ImageState.OUT_OF_SYNC,
    Decision.REFUSE: ImageState.BLOCKED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the source told of an image's attachments: when, of which manifests it was asked, and what it has."""

    at: datetime
    subjects: tuple[Digest, ...]
    mark: str

    @classmethod
    def of(cls, answers: dict[Digest, tuple[Digest, ...]], at: datetime) -> Heard:
        """Fold the answers, by the manifest that each is about; of too many only the moment is kept."""
        if len(answers) > MOST_SUBJECTS:
            return cls(at=at, subjects=(), mark="")
        return cls(at=at, subjects=tuple(answers), mark=mark_of(found for each in answers.values() for found in each))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at an image on a target: what the source has, what is wanted of it, and what is done about it.

    ``late``: the target serves it, but may lack attachments, which is found out after this.
    """

    root: Digest
    wanted: Digest
    plan: TagPlan
    scope: str
    at: datetime
    late: bool = False


def after_look(old: ImageMemory | None, key: ImageKey, look: Look) -> ImageMemory:
    """Return what is remembered after a look that came to a decision other than to skip the image."""
    plan = look.plan
    known = _with_digest(old, key, look.root, look.at)
    if plan.decision is Decision.FAIL:
        behind = known.behind_since
        if known.served != look.wanted:  # a target of which nothing is known counts as one that does not serve it
            behind = behind or look.at
        return _kept_back(replace(known, behind_since=behind), plan.problem, plan.reason)
    if known.scope != look.scope:
        known = _unheard(known)
    if plan.seen:
        writes = plan.decision in CHANGES
        known = replace(known, served=plan.before, proven_at=None if writes else look.at, scope=look.scope)
    if look.late and known.behind_since is not None:
        return known  # it may still lack them: whether that is over is told after the closer look
    if not plan.seen and known.state is ImageState.IN_SYNC:
        return known  # nothing was found out: nothing is written either
    return replace(
        known,
        state=_STATES[plan.decision],
        reason=plan.reason,
        problem=plan.problem,
        behind_since=None if plan.decision is Decision.UP_TO_DATE else known.behind_since or look.at,
    )


def after_failed_look(old: ImageMemory | None, key: ImageKey, result: UnitResult, at: datetime) -> ImageMemory:
    """Return what is remembered where the source could not tell: a proof of the target stays what it was."""
    known = _with_digest(old, key, result.digest, at) if result.digest is not None else old
    known = known or ImageMemory(key=key, state=ImageState.FAILED)
    return _kept_back(known, result.problem, result.reason)


def after_unit(old: ImageMemory, result: UnitResult, scope: str, at: datetime) -> ImageMemory:
    """Return what is remembered of an image that was to be written.

    A tag was read back, so that the target is proven to serve it; an image without one was not. A proof that is there
    is that of an image which lacked attachments alone: its own tag was not written, and the proof stays.
    """
    if result.outcome is Outcome.COPIED:
        new = in_sync(old, SERVED)  # why it was copied is over
        if old.proven_at is not None or not old.key.target_tag:
            return new
        return replace(new, served=result.served, proven_at=at, scope=scope)
    behind = old.behind_since or at
    if result.outcome is Outcome.SKIPPED:
        return replace(old, state=ImageState.OUT_OF_SYNC, reason=result.reason, problem=None, behind_since=behind)
    if result.outcome is Outcome.BLOCKED:
        blocked = ImageState.BLOCKED
        return replace(old, state=blocked, reason=result.reason, problem=result.problem, behind_since=behind)
    return _kept_back(replace(old, behind_since=behind), result.problem, result.reason)


def lacking(old: ImageMemory, reason: str, at: datetime) -> ImageMemory:
    """Return what is remembered of an image that is served, and lacks attachments which are on their way."""
    return replace(
        old,
        state=ImageState.OUT_OF_SYNC,
        reason=reason,
        problem=None,
        behind_since=old.behind_since or at,
    )


def in_sync(old: ImageMemory, reason: str) -> ImageMemory:
    """Return what is remembered of an image of which nothing is missing."""
    return replace(old, state=ImageState.IN_SYNC, reason=reason, problem=None, behind_since=None)


def hearing(old: ImageMemory, heard: Heard) -> ImageMemory:
    """Return what is remembered when an image's attachments were compared with the source's."""
    return replace(old, referrers_at=heard.at, referrers_mark=heard.mark, subjects=heard.subjects)


def state_of(problem: Problem | None) -> ImageState:
    """Return the state of an image that a problem keeps back."""
    return ImageState.WAITING if problem is not None and problem.code in _WAITING else ImageState.FAILED


def _with_digest(old: ImageMemory | None, key: ImageKey, digest: Digest, at: datetime) -> ImageMemory:
    """Return what is known of an image with the digest that the source has now."""
    if old is None:
        return ImageMemory(key=key, state=ImageState.OUT_OF_SYNC, digest=digest, first_seen=at)
    if old.digest == digest:
        return old if old.first_seen is not None else replace(old, first_seen=at)
    return _unheard(replace(old, digest=digest, first_seen=at))


def _unheard(old: ImageMemory) -> ImageMemory:
    """Forget what was heard of attachments: it was of another image, or by another filter."""
    return replace(old, referrers_at=None, referrers_mark="", subjects=())


def _kept_back(old: ImageMemory, problem: Problem | None, reason: str) -> ImageMemory:
    return replace(old, state=state_of(problem), reason=reason, problem=problem)
