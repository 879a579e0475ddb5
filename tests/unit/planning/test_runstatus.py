"""What is kept of a run: how it ended, its figures, and a bounded share of what it did."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import BlobTally, Outcome, Problem, RuleReport, UnitResult
from mirrord.planning.runstatus import MOST_PROBLEMS, result_of, run_status
from mirrord.planning.status import MOST_CHANGES, BlobCount, Cause, RunResult
from tests.fakes.clock import START

SOURCE, TARGET = Repository("source.test", "app"), Repository("target.test", "app")
DIGEST = Digest.of(b"app")


def unit(outcome: Outcome, tag: str = "1", problem: str | None = None) -> UnitResult:
    return UnitResult(
        rule="app",
        source=SOURCE,
        target=TARGET,
        tags=((Tag.parse(tag), Tag.parse(tag)),),
        outcome=outcome,
        reason="",
        digest=DIGEST,
        served=DIGEST,
        problem=Problem(code=problem, message=problem) if problem is not None else None,
        blobs=BlobTally(uploaded=(1, 10), mounted=(2, 20), existed=(3, 30)),
    )


def report(*results: UnitResult, problems: tuple[Problem, ...] = ()) -> RuleReport:
    return RuleReport(rule="app", listed=9, filtered=2, results=results, problems=problems)


@pytest.mark.parametrize(
    ("outcomes", "interrupted", "expected"),
    [
        pytest.param([Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED], False, RunResult.OK, id="all in sync"),
        pytest.param([Outcome.COPIED, Outcome.BLOCKED], False, RunResult.REFUSED, id="something refused"),
        pytest.param([Outcome.BLOCKED], True, RunResult.INTERRUPTED, id="interrupted before refused"),
        pytest.param([Outcome.FAILED, Outcome.BLOCKED], True, RunResult.FAILED, id="failed before interrupted"),
    ],
)
def test_run_ends_as_the_worst_of_its_images(outcomes: list[Outcome], interrupted: bool, expected: RunResult) -> None:
    assert result_of(report(*map(unit, outcomes)), interrupted=interrupted) is expected


def test_rule_that_could_not_see_its_source_has_failed() -> None:
    assert result_of(report(problems=(Problem(code="DENIED", message="no"),))) is RunResult.FAILED


def test_figures_of_a_run_are_those_of_its_report() -> None:
    end = START + timedelta(seconds=3)

    status = run_status(
        "id",
        Cause.MANUAL,
        started=START,
        finished=end,
        report=report(unit(Outcome.COPIED, "1"), unit(Outcome.FAILED, "2", "DENIED"), unit(Outcome.IN_SYNC, "3")),
        lag_seconds=4.0,
        requests={"b.test": 2, "a.test": 1},
    )

    assert (status.listed, status.filtered, status.seconds, status.lag_seconds) == (9, 2, 3.0, 4.0)
    assert status.outcomes == {"in_sync": 1, "copied": 1, "skipped": 0, "blocked": 0, "failed": 1}
    assert status.blobs.mounted == BlobCount(count=6, bytes=60)
    assert list(status.requests) == ["a.test", "b.test"]
    assert [(change.outcome, change.tags, change.before) for change in status.changes] == [
        ("copied", ("1",), None),
        ("failed", ("2",), str(DIGEST)),
    ]
    assert [(problem.code, problem.at) for problem in status.problems] == [("DENIED", end)]


def test_much_that_went_wrong_is_kept_in_part_and_counted() -> None:
    failed = [unit(Outcome.FAILED, f"v{number}", f"CODE_{number}") for number in range(MOST_CHANGES + 7)]
    blocked = unit(Outcome.BLOCKED, "b", "TAG_IMMUTABLE")

    status = run_status(
        "id", Cause.SCHEDULE, started=START, finished=START, report=report(blocked, *failed, *failed[:3])
    )

    assert len(status.changes) == MOST_CHANGES
    assert status.changes_left_out == 11
    assert [problem.code for problem in status.problems] == [f"CODE_{number}" for number in range(MOST_PROBLEMS)]
