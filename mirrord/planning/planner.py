"""From facts to a plan: what each target needs of one image, and why."""

from __future__ import annotations

from mirrord.errors import quote
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.memory import SeenDigest
from mirrord.planning.observation import ImageObservation, TagObservation, TargetFact
from mirrord.planning.plan import CHANGES, Decision, ImagePlan, TagPlan, TargetPlan
from mirrord.planning.report import Problem
from mirrord.planning.rule import OnRollback, Policy, Rule

SERVED = "the target serves this digest"


def plan_image(rule: Rule, observation: ImageObservation) -> ImagePlan:
    """Return what each target needs of the observed image under the policy of ``rule``.

    Targets and tags stand in the order of the observation. Every fact becomes exactly one `TagPlan`. What the source
    itself was not asked for is never copied.
    """
    tags: dict[Location, list[TagPlan]] = {}
    for observed in observation.tags:
        for fact in observed.facts:
            plan = _plan_tag(rule.policy, observation, observed, fact)
            assert observation.root.media_type or plan.decision not in CHANGES
            tags.setdefault(fact.target, []).append(plan)
    return ImagePlan(
        rule=rule.name,
        source=observation.source,
        root=observation.root,
        wanted=observation.wanted,
        targets=tuple(TargetPlan(target=target, tags=tuple(plans)) for target, plans in tags.items()),
        rewritten=observation.rewritten,
    )


def _plan_tag(policy: Policy, observation: ImageObservation, observed: TagObservation, fact: TargetFact) -> TagPlan:
    problem = None
    source_tag = observed.tag
    wanted = observation.wanted.digest
    if observation.unwanted:
        decision, reason = Decision.SKIP, observation.unwanted
    elif fact.problem is not None:
        decision, reason, problem = Decision.FAIL, fact.problem.message, fact.problem
    elif fact.digest == wanted:
        decision, reason = Decision.UP_TO_DATE, _why_up_to_date(policy, source_tag, fact)
    elif fact.digest is None or fact.tag is None:
        decision, reason = Decision.COPY, "not on the target"
    else:
        decision, reason = Decision.REPLACE, f"the tag moved: {_brief(fact.digest)} to {_brief(wanted)}"
        problem = why_not_moved(policy, source_tag, fact.tag)
        if problem is not None:
            decision, reason = Decision.REFUSE, f"{problem.message}; {reason}"
    if decision in CHANGES and observed.newer is not None and policy.on_rollback is OnRollback.BLOCK:
        problem = _rolled_back(source_tag, observation.root.digest, observed.newer)
        decision, reason = Decision.REFUSE, f"{problem.message}; {reason}"
    return TagPlan(
        source_tag=source_tag,
        target_tag=fact.tag,
        decision=decision,
        reason=reason,
        before=fact.digest,
        problem=problem,
        seen=fact.seen,
    )


def _why_up_to_date(policy: Policy, source_tag: Tag | None, fact: TargetFact) -> str:
    if fact.seen:
        return SERVED
    if policy.is_immutable(source_tag, fact.tag):
        return "mirrored, and immutable: not asked for again"
    return "the target was shown to serve this digest, not long ago"


def describe_rollback(source_tag: Tag | None, digest: Digest, newer: SeenDigest) -> str:
    """Say that a tag of the source returned to a digest that it had before a newer one."""
    when = f"{newer.first_seen:%Y-%m-%d %H:%M} UTC"
    return f"the tag {source_tag} returned to {_brief(digest)}, older than {_brief(newer.digest)} of {when}"


def _rolled_back(source_tag: Tag | None, digest: Digest, newer: SeenDigest) -> Problem:
    return Problem(
        code="ROLLBACK_BLOCKED",
        message=f"on_rollback is block: {describe_rollback(source_tag, digest, newer)}",
        remedy="see that the source means it; to take the older image, run once with on_rollback: warn",
    )


def why_not_moved(policy: Policy, source_tag: Tag | None, target_tag: Tag) -> Problem | None:
    """Say what forbids to move a tag that exists on the target; a pattern may mean either of its two names."""
    names = [target_tag] if source_tag is None else [source_tag, target_tag]
    for pattern in policy.immutable_tags:
        if any(pattern.matches(name) for name in names):
            return Problem(
                code="TAG_IMMUTABLE",
                message=f'immutable_tags has "{quote(str(pattern))}": the tag {target_tag} is not moved on the target',
                remedy="delete the tag on the target to take the new image, or change immutable_tags",
            )
    if not policy.overwrite:
        return Problem(
            code="OVERWRITE_FORBIDDEN",
            message=f"overwrite is false: the tag {target_tag} is not moved on the target",
            remedy="delete the tag on the target to take the new image, or set overwrite: true",
        )
    return None


def _brief(digest: Digest) -> str:
    return f"{digest.algorithm}:{digest.short}..."
