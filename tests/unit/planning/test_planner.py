from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.memory import SeenDigest
from mirrord.planning.observation import ImageObservation, TagObservation, TargetFact, unasked
from mirrord.planning.pattern import TagPattern
from mirrord.planning.plan import Decision, TagPlan
from mirrord.planning.planner import plan_image
from mirrord.planning.report import Problem
from mirrord.planning.rule import OnRollback, Policy, Rule, Source
from tests.fakes.images import digest_of, make_index

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SOURCE = Repository("docker.io", "library/nginx")
TARGET = Repository("registry.internal:5000", "mirror/nginx")
LAYOUT = LayoutDirectory("airgap")
IMAGE = make_index("new")
WANTED = IMAGE.digest
OLD = digest_of("old")
PROBLEM = Problem(code="UNAVAILABLE", message="no answer from registry.internal:5000", remedy="try later")


def rule(*immutable: str, overwrite: bool = True) -> Rule:
    policy = Policy(overwrite=overwrite, immutable_tags=tuple(TagPattern.parse(text) for text in immutable))
    return Rule(name="nginx", source=Source(location=SOURCE), targets=(), policy=policy)


def fact(
    digest: Digest | None, tag: str | None = "1.0.0", target: Location = TARGET, problem: Problem | None = None
) -> TargetFact:
    return TargetFact(target=target, tag=Tag(tag) if tag else None, digest=digest, problem=problem)


def observe(*tags: tuple[str | None, list[TargetFact]], unwanted: str = "") -> ImageObservation:
    return ImageObservation(
        source=SOURCE,
        root=IMAGE.descriptor,
        wanted=IMAGE.descriptor,
        tags=tuple(TagObservation(tag=Tag(tag) if tag else None, facts=tuple(facts)) for tag, facts in tags),
        at=NOW,
        unwanted=unwanted,
    )


def only(rule: Rule, observation: ImageObservation) -> TagPlan:
    (target,) = plan_image(rule, observation).targets
    (plan,) = target.tags
    return plan


@pytest.mark.parametrize(
    ("digest", "decision", "reason"),
    [
        pytest.param(WANTED, Decision.UP_TO_DATE, "the target serves this digest", id="in sync"),
        pytest.param(None, Decision.COPY, "not on the target", id="absent"),
        pytest.param(
            OLD, Decision.REPLACE, f"the tag moved: sha256:{OLD.short}... to sha256:{WANTED.short}...", id="moved"
        ),
    ],
)
def test_plan_of_a_tag_follows_from_what_the_target_holds(
    digest: Digest | None, decision: Decision, reason: str
) -> None:
    plan = only(rule(), observe(("1.0.0", [fact(digest)])))

    assert plan == TagPlan(
        source_tag=Tag("1.0.0"), target_tag=Tag("1.0.0"), decision=decision, reason=reason, before=digest
    )


@pytest.mark.covers("C7")
@pytest.mark.parametrize(
    ("policy", "target_tag", "code", "named"),
    [
        pytest.param(rule("/^\\d+\\.\\d+\\.\\d+$/"), "1.0.0", "TAG_IMMUTABLE", "immutable_tags", id="immutable"),
        pytest.param(rule("1.0.*"), "hub-1.0.0", "TAG_IMMUTABLE", "1.0.*", id="source tag"),
        pytest.param(rule("hub-*"), "hub-1.0.0", "TAG_IMMUTABLE", "hub-*", id="target tag"),
        pytest.param(rule(overwrite=False), "1.0.0", "OVERWRITE_FORBIDDEN", "overwrite", id="no overwrite"),
        pytest.param(rule("1.0.0", overwrite=False), "1.0.0", "TAG_IMMUTABLE", "1.0.0", id="both"),
    ],
)
def test_plan_never_moves_a_tag_that_the_policy_protects(policy: Rule, target_tag: str, code: str, named: str) -> None:
    plan = only(policy, observe(("1.0.0", [fact(OLD, target_tag)])))

    assert plan.decision is Decision.REFUSE
    assert plan.before == OLD
    assert plan.problem is not None
    assert plan.problem.code == code
    assert named in plan.problem.message
    assert plan.problem.remedy
    assert plan.reason.startswith(plan.problem.message)
    assert OLD.short in plan.reason


@pytest.mark.covers("C7")
@pytest.mark.parametrize("policy", [rule("1.0.0"), rule(overwrite=False)], ids=["immutable", "no overwrite"])
@pytest.mark.parametrize(
    ("digest", "decision"),
    [(None, Decision.COPY), (WANTED, Decision.UP_TO_DATE)],
    ids=["absent", "in sync"],
)
def test_plan_lets_a_policy_forbid_moves_alone(policy: Rule, digest: Digest | None, decision: Decision) -> None:
    assert only(policy, observe(("1.0.0", [fact(digest)]))).decision is decision


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (rule(), "the target was shown to serve this digest, not long ago"),
        (rule("1.*"), "mirrored, and immutable: not asked for again"),
    ],
    ids=["proven", "immutable"],
)
def test_plan_says_that_a_target_was_not_asked(policy: Rule, reason: str) -> None:
    plan = only(policy, observe(("1.0.0", [replace(fact(WANTED), seen=False)])))

    assert (plan.decision, plan.reason, plan.seen) == (Decision.UP_TO_DATE, reason, False)


# --- tags that return to an older digest

NEWER = SeenDigest(tag="1.0.0", digest=digest_of("newer"), first_seen=NOW)


def returned(digest: Digest | None) -> ImageObservation:
    """Return the observation of a tag that went back, and of a target that holds ``digest``."""
    observation = observe(("1.0.0", [fact(digest)]))
    return replace(observation, tags=tuple(replace(tag, newer=NEWER) for tag in observation.tags))


def rolling(rule: Rule, what: OnRollback) -> Rule:
    return replace(rule, policy=replace(rule.policy, on_rollback=what))


@pytest.mark.covers("C8")
@pytest.mark.parametrize("digest", [OLD, None], ids=["moved", "absent"])
def test_plan_refuses_an_older_image_where_the_rule_blocks_it(digest: Digest | None) -> None:
    plan = only(rolling(rule(), OnRollback.BLOCK), returned(digest))

    assert plan.decision is Decision.REFUSE
    assert plan.problem is not None
    assert plan.problem.code == "ROLLBACK_BLOCKED"
    assert f"returned to sha256:{WANTED.short}..., older than sha256:{NEWER.digest.short}..." in plan.problem.message
    assert "2025-01-01 00:00 UTC" in plan.problem.message
    assert plan.reason.startswith(plan.problem.message)


@pytest.mark.parametrize(
    ("what", "digest", "decision"),
    [
        (OnRollback.WARN, OLD, Decision.REPLACE),
        (OnRollback.WARN, None, Decision.COPY),
        (OnRollback.BLOCK, WANTED, Decision.UP_TO_DATE),
    ],
)
def test_plan_takes_an_older_image_where_the_rule_lets_it_or_the_target_has_it(
    what: OnRollback, digest: Digest | None, decision: Decision
) -> None:
    assert only(rolling(rule(), what), returned(digest)).decision is decision


def test_plan_names_the_policy_that_forbids_any_move_before_a_rollback() -> None:
    plan = only(rolling(rule("1.*"), OnRollback.BLOCK), returned(OLD))

    assert plan.problem is not None
    assert plan.problem.code == "TAG_IMMUTABLE"


def test_plan_moves_a_tag_that_no_pattern_means() -> None:
    assert only(rule("2.*"), observe(("1.0.0", [fact(OLD)]))).decision is Decision.REPLACE


def test_plan_checks_the_target_tag_of_an_image_named_by_digest() -> None:
    assert only(rule("pinned"), observe((None, [fact(OLD, "pinned")]))).decision is Decision.REFUSE


@pytest.mark.parametrize(
    ("digest", "decision"),
    [
        pytest.param(WANTED, Decision.UP_TO_DATE, id="present"),
        pytest.param(None, Decision.COPY, id="absent"),
        pytest.param(OLD, Decision.COPY, id="a registry that answers with something else"),
    ],
)
def test_plan_of_a_digest_has_nothing_to_replace(digest: Digest | None, decision: Decision) -> None:
    plan = only(rule("*", overwrite=False), observe((None, [fact(digest, None)])))

    assert plan.decision is decision
    assert (plan.source_tag, plan.target_tag) == (None, None)


def test_plan_fails_where_the_target_could_not_be_asked() -> None:
    plan = only(rule(), observe(("1.0.0", [fact(None, problem=PROBLEM)])))

    assert plan.decision is Decision.FAIL
    assert plan.problem == PROBLEM
    assert plan.reason == PROBLEM.message


def test_plan_skips_what_is_not_wanted_whatever_the_target_says() -> None:
    facts = [fact(OLD), fact(None, target=LAYOUT, problem=PROBLEM)]
    plan = plan_image(rule(), observe(("1.0.0", facts), unwanted="no image for linux/s390x"))

    assert [tag.decision for target in plan.targets for tag in target.tags] == [Decision.SKIP, Decision.SKIP]
    assert {tag.reason for target in plan.targets for tag in target.tags} == {"no image for linux/s390x"}
    assert plan.changes == ()


@pytest.mark.covers("C49")
def test_plan_has_one_entry_for_each_target_with_all_its_tags_in_order() -> None:
    observation = observe(
        ("2", [fact(WANTED, "2"), fact(None, "2", LAYOUT)]),
        ("1", [fact(OLD, "hub-1"), fact(WANTED, "1", LAYOUT)]),
        ("3", [fact(None, "3")]),
    )
    plan = plan_image(rule(), observation)

    assert [(target.target, [str(tag.target_tag) for tag in target.tags]) for target in plan.targets] == [
        (TARGET, ["2", "hub-1", "3"]),
        (LAYOUT, ["2", "1"]),
    ]
    assert [[str(tag.source_tag) for tag in target.changes] for target in plan.changes] == [["1", "3"], ["2"]]


@pytest.mark.covers("C2", "C5")
def test_plan_carries_the_pinned_root_and_what_is_wanted_instead() -> None:
    child = IMAGE.index.children()[0]
    rewritten = IMAGE.manifests[child.digest]
    observation = replace(observe(("1", [fact(child.digest, "1")])), wanted=child, rewritten=rewritten)
    plan = plan_image(rule(), observation)

    assert (plan.rule, plan.source) == ("nginx", SOURCE)
    assert (plan.root, plan.wanted, plan.rewritten) == (IMAGE.descriptor, child, rewritten)
    assert plan.targets[0].tags[0].decision is Decision.UP_TO_DATE


def test_plan_of_no_tags_is_empty() -> None:
    assert plan_image(rule(), observe()).targets == ()


def test_plan_leaves_alone_what_a_listing_told_of_both_sides() -> None:
    told = replace(observe(("1.0.0", [fact(WANTED)])), root=unasked(WANTED), wanted=unasked(WANTED))

    assert only(rule(), told).decision is Decision.UP_TO_DATE


@pytest.mark.parametrize("digest", [None, OLD])
def test_plan_never_copies_what_the_source_itself_was_not_asked_for(digest: Digest | None) -> None:
    told = replace(observe(("1.0.0", [fact(digest)])), root=unasked(WANTED), wanted=unasked(WANTED))

    with pytest.raises(AssertionError):
        plan_image(rule(), told)
