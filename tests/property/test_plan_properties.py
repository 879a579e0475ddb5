"""What holds for every plan, graph, filter and estimate."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import Index, parse_manifest
from mirrord.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from mirrord.oci.platform import Platform
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.estimate import Estimate, Estimator
from mirrord.planning.observation import ImageObservation, TagObservation, TargetFact
from mirrord.planning.pattern import TagPattern
from mirrord.planning.plan import CHANGES, Decision, ImagePlan
from mirrord.planning.planner import plan_image
from mirrord.planning.report import Problem
from mirrord.planning.rewrite import ATTESTATION_SUBJECT, absent_children, filter_index, rewrite_index
from mirrord.planning.rule import PlatformSelector, Policy, Rule, Source
from tests.fakes.images import Content, child, descriptor_json, digest_of, index_of, make_image

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SOURCE = Repository("docker.io", "library/nginx")
TARGETS: list[Location] = [
    Repository("one.internal", "a"),
    Repository("one.internal", "b"),
    Repository("other.internal", "a"),
    LayoutDirectory("airgap"),
]
TAG_NAMES = ["1", "1.0", "1.0.0", "latest", "hub-1.0.0"]
WANTED = make_image().descriptor
PLATFORMS = [Platform.parse(text) for text in ("linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7")]
TAGS = st.none() | st.sampled_from(TAG_NAMES).map(Tag)


@st.composite
def observations(draw: st.DrawFn) -> ImageObservation:
    """Return facts of some tags on some targets; no target tag stands twice, as the caller sees to it."""
    tags: list[TagObservation] = []
    for tag in draw(st.lists(TAGS, unique=True, max_size=5)):
        facts = [
            TargetFact(
                target=target,
                tag=tag,
                digest=draw(st.sampled_from([None, WANTED.digest, digest_of("old")])),
                problem=draw(st.sampled_from([None, None, None, Problem(code="UNAVAILABLE", message="no answer")])),
            )
            for target in draw(st.lists(st.sampled_from(TARGETS), unique=True))
        ]
        tags.append(TagObservation(tag=tag, facts=tuple(facts)))
    unwanted = draw(st.sampled_from(["", "", "", "no image for linux/s390x"]))
    return ImageObservation(source=SOURCE, root=WANTED, wanted=WANTED, tags=tuple(tags), at=NOW, unwanted=unwanted)


RULES = st.builds(
    lambda overwrite, patterns: Rule(
        name="nginx",
        source=Source(location=SOURCE),
        targets=(),
        policy=Policy(overwrite=overwrite, immutable_tags=tuple(map(TagPattern.parse, patterns))),
    ),
    st.booleans(),
    st.lists(st.sampled_from(["1.*", "latest", "/^\\d+\\.\\d+\\.\\d+$/"]), max_size=2),
)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Return an image or an index, at most four levels high, whose parts stand in several places."""
    pool = [make_image(str(number), layers=number % 3) for number in range(draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(0, 3))):
        members = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))
        pool.append(index_of([(member, child(member)) for member in members]))
    return pool[-1]


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    """Return an index of images, artifacts, attestations and nested indexes."""
    members: list[Descriptor] = []
    for number in range(draw(st.integers(0, 6))):
        platform = draw(st.sampled_from([None, Platform("unknown", "unknown"), Platform("", ""), *PLATFORMS]))
        subject = draw(st.sampled_from([None, *(str(member.digest) for member in members)]))
        members.append(
            Descriptor(
                media_type=draw(st.sampled_from([OCI_MANIFEST, OCI_MANIFEST, OCI_INDEX])),
                digest=digest_of(str(draw(st.integers(0, number)))),
                size=number,
                platform=platform,
                annotations={ATTESTATION_SUBJECT: subject} if subject else {},
            )
        )
    unknown = draw(st.dictionaries(st.from_regex("x-[a-z]", fullmatch=True), st.text(max_size=3) | st.floats(0, 1)))
    fields = {**unknown, "schemaVersion": 2, "manifests": [descriptor_json(member) for member in members]}
    index = parse_manifest(json.dumps(fields, indent=draw(st.sampled_from([None, 3]))).encode(), media_type=OCI_INDEX)
    assert isinstance(index, Index)
    return index


SELECTORS = st.lists(st.sampled_from(PLATFORMS), unique=True).map(lambda some: PlatformSelector(platforms=tuple(some)))


def applied(plan: ImagePlan, observation: ImageObservation) -> ImageObservation:
    """Return what would be observed after the plan was carried out."""
    written = {(target.target, tag.source_tag, tag.target_tag) for target in plan.targets for tag in target.changes}
    return replace(
        observation,
        tags=tuple(
            replace(
                tag,
                facts=tuple(
                    replace(fact, digest=plan.wanted.digest) if (fact.target, tag.tag, fact.tag) in written else fact
                    for fact in tag.facts
                ),
            )
            for tag in observation.tags
        ),
    )


@given(RULES, observations())
def test_plan_after_a_plan_was_carried_out_changes_nothing(rule: Rule, observation: ImageObservation) -> None:
    first = plan_image(rule, observation)
    second = plan_image(rule, applied(first, observation))

    assert second.changes == ()
    for before, after in zip(first.targets, second.targets, strict=True):
        for old, new in zip(before.tags, after.tags, strict=True):
            assert new.decision is (Decision.UP_TO_DATE if old.decision in CHANGES else old.decision)


@given(RULES, observations())
def test_plan_has_exactly_the_tags_and_targets_that_were_observed(rule: Rule, observation: ImageObservation) -> None:
    plan = plan_image(rule, observation)
    observed = [(fact.target, tag.tag, fact.tag) for tag in observation.tags for fact in tag.facts]
    planned = [(target.target, tag.source_tag, tag.target_tag) for target in plan.targets for tag in target.tags]

    assert len(planned) == len(observed)
    assert set(planned) == set(observed)
    assert len({target.target for target in plan.targets}) == len(plan.targets)
    assert (plan.root, plan.wanted) == (observation.root, observation.wanted)


@given(RULES, observations())
def test_plan_gives_every_decision_with_its_reason(rule: Rule, observation: ImageObservation) -> None:
    for target in plan_image(rule, observation).targets:
        for tag in target.tags:
            assert tag.reason
            assert (tag.problem is not None) is (tag.decision in {Decision.FAIL, Decision.REFUSE})
            assert tag.decision is not Decision.REPLACE or (rule.policy.overwrite and tag.before is not None)


@given(contents())
def test_graph_has_children_before_parents_and_nothing_else(content: Content) -> None:
    graph = content.graph()
    place = {manifest.descriptor.digest: number for number, manifest in enumerate(graph.manifests)}

    assert len(place) == len(graph.manifests)
    assert set(place) <= set(content.manifests)
    assert graph.root is content.root
    for manifest in graph.manifests:
        for below in manifest.children():
            assert place[below.digest] < place[manifest.descriptor.digest]
        assert {blob.digest for blob in manifest.blobs()} <= {blob.digest for blob in graph.blobs()}
    assert {blob.digest for blob in graph.blobs()} <= set(content.blobs)


@given(indexes(), SELECTORS)
def test_filter_splits_the_children_and_keeps_their_order(index: Index, selector: PlatformSelector) -> None:
    filtered = filter_index(index, selector)

    assert is_part(filtered.kept, index.manifests)
    assert is_part(filtered.dropped, index.manifests)
    assert not set(filtered.kept) & set(filtered.dropped)
    assert set(filtered.kept) | set(filtered.dropped) == set(index.manifests)
    assert set(filtered.missing) <= set(selector.platforms)
    assert not absent_children(index, selector) & {one.digest for one in filtered.kept}


@given(indexes(), SELECTORS)
def test_rewriting_is_deterministic_and_idempotent(index: Index, selector: PlatformSelector) -> None:
    kept = filter_index(index, selector).kept
    rewritten = rewrite_index(index, kept)

    assert rewrite_index(index, list(kept)).raw == rewritten.raw
    assert rewrite_index(rewritten, kept) is rewritten
    assert filter_index(rewritten, selector).kept == kept
    assert rewritten.manifests == kept
    assert len(rewritten.raw) <= len(index.raw)
    assert rewritten.descriptor.digest == Digest.of(rewritten.raw)
    assert rewritten.descriptor.media_type == index.descriptor.media_type
    before, after = json.loads(index.raw), json.loads(rewritten.raw)
    assert list(before) == list(after)
    assert before | {"manifests": None} == after | {"manifests": None}
    assert (rewritten is index) is (kept == index.manifests)


@given(RULES, observations(), contents(), st.lists(st.sampled_from(TARGETS), unique=True))
def test_estimate_accounts_for_every_blob_on_every_target(
    rule: Rule, observation: ImageObservation, content: Content, holders: list[Location]
) -> None:
    graph = content.graph()
    plan = replace(plan_image(rule, observation), root=content.descriptor, wanted=content.descriptor)
    estimator = Estimator()
    held = {(holder, blob.digest) for holder in holders for blob in graph.blobs()[::2]}
    estimates = estimator.add(plan, graph, held, metered=True)
    everything = (len(graph.blobs()), sum(blob.size for blob in graph.blobs()))

    assert list(estimates) == [target.target for target in plan.targets]
    for target in plan.targets:
        one = estimates[target.target]
        assert tuple(map(sum, zip(one.upload, one.mount, one.existing, strict=True))) == (
            everything if target.changes else (0, 0)
        )
        assert one.read_bytes <= one.upload[1]
    assert estimator.total.read_bytes <= everything[1]
    assert estimator.total.pulls == (len(graph.manifests) if plan.changes else 0)
    again = estimator.add(plan, graph, metered=True)
    assert all(one == Estimate(existing=one.existing, requests=one.requests) for one in again.values())


def is_part(part: Sequence[Descriptor], whole: Sequence[Descriptor]) -> bool:
    """Say whether ``part`` is ``whole`` with some members left out."""
    rest = iter(whole)
    return all(member in rest for member in part)
