"""What is remembered of an image after each thing that can come of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.keeping import (
    MOST_SUBJECTS,
    Heard,
    Look,
    after_failed_look,
    after_look,
    after_unit,
    hearing,
    in_sync,
    lacking,
    state_of,
)
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState
from mirrord.planning.plan import Decision, TagPlan
from mirrord.planning.report import Outcome, Problem, UnitResult
from tests.fakes.images import digest_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=3)
SOURCE, TARGET = Repository("a.test", "app"), Repository("b.test", "app")
KEY = ImageKey("1.0", TARGET, "1.0")
UNTAGGED = ImageKey(str(digest_of("new")), TARGET, "")
OLD, NEW = digest_of("old"), digest_of("new")
DENIED = Problem(code="DENIED", message="no")
QUOTA = Problem(code="QUOTA_RESERVED", message="later")

PROVEN = ImageMemory(
    key=KEY,
    state=ImageState.IN_SYNC,
    digest=OLD,
    reason="copied",
    first_seen=BEFORE,
    served=OLD,
    proven_at=BEFORE,
    scope="scope",
    referrers_at=BEFORE,
    referrers_mark="mark",
    subjects=(OLD,),
)


def look(
    decision: Decision,
    root: Digest = NEW,
    *,
    before: Digest | None = None,
    problem: Problem | None = None,
    seen: bool = True,
    scope: str = "scope",
    late: bool = False,
) -> Look:
    plan = TagPlan(
        source_tag=Tag("1.0"),
        target_tag=Tag("1.0"),
        decision=decision,
        reason="why",
        before=before,
        problem=problem,
        seen=seen,
    )
    return Look(root=root, wanted=root, plan=plan, scope=scope, at=NOW, late=late)


def result(outcome: Outcome, *, problem: Problem | None = None, digest: Digest | None = NEW) -> UnitResult:
    return UnitResult(
        rule="rule",
        source=SOURCE,
        target=TARGET,
        tags=((Tag("1.0"), Tag("1.0")),),
        outcome=outcome,
        reason="why",
        digest=digest,
        served=digest,
        problem=problem,
    )


# --- a look


def test_look_at_an_image_in_sync_is_a_proof() -> None:
    assert after_look(None, KEY, look(Decision.UP_TO_DATE, before=NEW)) == ImageMemory(
        key=KEY,
        state=ImageState.IN_SYNC,
        digest=NEW,
        reason="why",
        first_seen=NOW,
        served=NEW,
        proven_at=NOW,
        scope="scope",
    )


def test_look_that_was_spared_by_a_proof_changes_nothing() -> None:
    spared = look(Decision.UP_TO_DATE, OLD, before=OLD, seen=False)

    assert after_look(PROVEN, KEY, spared) is PROVEN


def test_look_that_was_spared_ends_a_failure() -> None:
    failed = replace(PROVEN, state=ImageState.FAILED, problem=DENIED)

    kept = after_look(failed, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD, seen=False))

    assert (kept.state, kept.problem, kept.proven_at) == (ImageState.IN_SYNC, None, BEFORE)


@pytest.mark.parametrize("decision", [Decision.COPY, Decision.REPLACE])
def test_planned_write_is_behind_and_gives_up_its_proof(decision: Decision) -> None:
    kept = after_look(PROVEN, KEY, look(decision, before=OLD))

    assert (kept.state, kept.digest, kept.first_seen) == (ImageState.OUT_OF_SYNC, NEW, NOW)
    assert (kept.served, kept.proven_at, kept.behind_since) == (OLD, None, NOW)
    assert (kept.referrers_at, kept.referrers_mark, kept.subjects) == (None, "", ()), "they were another image's"


def test_image_stays_behind_since_the_first_change() -> None:
    behind = replace(PROVEN, state=ImageState.FAILED, behind_since=BEFORE)

    assert after_look(behind, KEY, look(Decision.REPLACE)).behind_since == BEFORE
    assert after_look(behind, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD)).behind_since is None


def test_refused_move_is_blocked_and_proves_what_the_target_serves() -> None:
    kept = after_look(PROVEN, KEY, look(Decision.REFUSE, before=OLD, problem=DENIED))

    assert (kept.state, kept.problem, kept.behind_since) == (ImageState.BLOCKED, DENIED, NOW)
    assert (kept.served, kept.proven_at) == (OLD, NOW)


def test_another_scope_forgets_what_was_heard_of_attachments() -> None:
    kept = after_look(PROVEN, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD, scope="another"))

    assert (kept.scope, kept.proven_at) == ("another", NOW)
    assert (kept.referrers_at, kept.subjects) == (None, ())


@pytest.mark.parametrize(
    ("old", "root", "behind"),
    [
        pytest.param(PROVEN, OLD, None, id="it served this"),
        pytest.param(PROVEN, NEW, NOW, id="it served another"),
        pytest.param(replace(PROVEN, behind_since=BEFORE), NEW, BEFORE, id="behind already"),
        pytest.param(None, NEW, NOW, id="nothing known: it counts as not served"),
    ],
)
def test_look_that_fails_at_the_target_erases_no_proof(
    old: ImageMemory | None, root: Digest, behind: datetime | None
) -> None:
    kept = after_look(old, KEY, look(Decision.FAIL, root, problem=DENIED))

    assert (kept.state, kept.problem, kept.behind_since) == (ImageState.FAILED, DENIED, behind)
    if old is not None:
        assert (kept.served, kept.proven_at, kept.scope) == (OLD, BEFORE, "scope")


def test_image_that_lacked_attachments_lacks_them_until_the_closer_look() -> None:
    lacks = lacking(PROVEN, "late", BEFORE)

    kept = after_look(lacks, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD, late=True))

    assert kept == replace(lacks, proven_at=NOW)
    assert after_look(lacks, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD)).behind_since is None
    assert after_look(PROVEN, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD, late=True)).state is ImageState.IN_SYNC


def test_memory_without_a_first_moment_gets_one() -> None:
    old = replace(PROVEN, first_seen=None)

    assert after_look(old, KEY, look(Decision.UP_TO_DATE, OLD, before=OLD)).first_seen == NOW


def test_source_that_cannot_tell_changes_nothing_but_the_state() -> None:
    failed = result(Outcome.FAILED, problem=QUOTA, digest=None)

    kept = after_failed_look(PROVEN, KEY, failed, NOW)

    assert kept == replace(PROVEN, state=ImageState.WAITING, reason="why", problem=QUOTA)
    fresh = after_failed_look(None, KEY, failed, NOW)
    assert (fresh.state, fresh.digest, fresh.behind_since) == (ImageState.WAITING, None, None)


def test_source_that_tells_its_digest_and_no_more_has_it_kept() -> None:
    kept = after_failed_look(PROVEN, KEY, result(Outcome.FAILED, problem=DENIED), NOW)

    assert (kept.digest, kept.first_seen, kept.served) == (NEW, NOW, OLD)


# --- a copy


def planned(key: ImageKey = KEY) -> ImageMemory:
    return ImageMemory(
        key=key, state=ImageState.OUT_OF_SYNC, digest=NEW, first_seen=BEFORE, behind_since=BEFORE, served=OLD, scope="x"
    )


def test_copied_image_is_in_sync_and_proven_by_its_read_back() -> None:
    kept = after_unit(planned(), result(Outcome.COPIED), "scope", NOW)

    assert (kept.state, kept.behind_since) == (ImageState.IN_SYNC, None)
    assert (kept.served, kept.proven_at, kept.scope) == (NEW, NOW, "scope")


def test_copied_image_without_a_tag_was_not_read_back() -> None:
    kept = after_unit(planned(UNTAGGED), result(Outcome.COPIED), "scope", NOW)

    assert (kept.state, kept.proven_at) == (ImageState.IN_SYNC, None)


def test_late_attachments_leave_the_proof_of_the_image_as_it_was() -> None:
    kept = after_unit(lacking(PROVEN, "late", NOW), result(Outcome.COPIED, digest=OLD), "scope", NOW)

    assert kept == replace(PROVEN, reason="the target serves this digest")


@pytest.mark.parametrize(
    ("outcome", "problem", "state"),
    [
        (Outcome.FAILED, DENIED, ImageState.FAILED),
        (Outcome.FAILED, QUOTA, ImageState.WAITING),
        (Outcome.BLOCKED, DENIED, ImageState.BLOCKED),
        (Outcome.SKIPPED, None, ImageState.OUT_OF_SYNC),
    ],
)
def test_image_that_was_not_copied_stays_behind_and_unproven(
    outcome: Outcome, problem: Problem | None, state: ImageState
) -> None:
    kept = after_unit(planned(), result(outcome, problem=problem), "scope", NOW)

    assert (kept.state, kept.problem, kept.behind_since, kept.proven_at) == (state, problem, BEFORE, None)
    assert after_unit(replace(planned(), behind_since=None), result(outcome, problem=problem), "", NOW).behind_since


@pytest.mark.parametrize("code", ["QUOTA_EXHAUSTED", "QUOTA_RESERVED", "RATE_LIMITED", "BREAKER_OPEN"])
def test_image_waits_for_what_passes_by_itself(code: str) -> None:
    assert state_of(Problem(code=code, message="")) is ImageState.WAITING


def test_image_failed_for_all_else() -> None:
    assert state_of(DENIED) is state_of(None) is ImageState.FAILED


# --- attachments


def test_hearing_is_kept_with_the_image() -> None:
    heard = Heard.of({NEW: (OLD,), OLD: ()}, NOW)

    kept = hearing(in_sync(lacking(PROVEN, "late", BEFORE), "why"), heard)

    assert (kept.state, kept.behind_since) == (ImageState.IN_SYNC, None)
    assert (kept.referrers_at, kept.referrers_mark, kept.subjects) == (NOW, heard.mark, (NEW, OLD))


def test_hearing_of_very_many_manifests_keeps_the_moment_alone() -> None:
    answers: dict[Digest, tuple[Digest, ...]] = {digest_of(str(number)): () for number in range(MOST_SUBJECTS + 1)}

    assert Heard.of(answers, NOW) == Heard(at=NOW, subjects=(), mark="")
