from datetime import UTC, datetime

import pytest

from mirrord.errors import MirrordError, NotFoundError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    BlobTally,
    Outcome,
    Problem,
    RuleReport,
    RunReport,
    UnitResult,
    exit_code,
    summarise,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
PROBLEM = Problem(code="LISTING_INCOMPLETE", message="no end")


def result(outcome: Outcome, tags: int = 1, blobs: BlobTally | None = None) -> UnitResult:
    return UnitResult(
        rule="nginx",
        source=Repository("docker.io", "library/nginx"),
        target=Repository("registry.internal:5000", "nginx"),
        tags=tuple((Tag(f"t{number}"), Tag(f"t{number}")) for number in range(tags)),
        outcome=outcome,
        reason="because",
        blobs=blobs or BlobTally(),
    )


def report(*outcomes: Outcome, problems: tuple[Problem, ...] = ()) -> RuleReport:
    return RuleReport(rule="nginx", results=tuple(map(result, outcomes)), problems=problems)


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        pytest.param([], EXIT_OK, id="no rule"),
        pytest.param([report(Outcome.IN_SYNC, Outcome.COPIED, Outcome.SKIPPED)], EXIT_OK, id="all well"),
        pytest.param([report(Outcome.COPIED, Outcome.FAILED)], EXIT_FAILED, id="one image failed"),
        pytest.param([report(), report(problems=(PROBLEM,))], EXIT_FAILED, id="a rule failed"),
        pytest.param([report(Outcome.COPIED), report(Outcome.BLOCKED)], EXIT_REFUSED, id="one image blocked"),
        pytest.param([report(Outcome.BLOCKED), report(Outcome.FAILED)], EXIT_FAILED, id="failures come first"),
    ],
)
def test_exit_code_tells_the_truth(rules: list[RuleReport], code: int) -> None:
    assert exit_code(rules) == code


@pytest.mark.covers("C49")
def test_report_counts_tags_and_not_units() -> None:
    rule = RuleReport(
        rule="nginx",
        listed=9,
        filtered=2,
        results=(
            result(Outcome.COPIED, tags=3),
            result(Outcome.COPIED),
            result(Outcome.FAILED, tags=2),
            result(Outcome.IN_SYNC),
        ),
    )
    run = RunReport(started=NOW, finished=NOW, dry_run=False, rules=(rule, report(Outcome.COPIED)))

    assert rule.count(Outcome.COPIED) == 4
    assert run.count(Outcome.COPIED) == 5
    assert rule.listed == rule.filtered + sum(map(rule.count, Outcome))


def test_report_adds_up_blobs() -> None:
    one = BlobTally(existed=(1, 10), mounted=(2, 20), uploaded=(3, 30))
    rule = RuleReport(rule="nginx", results=(result(Outcome.COPIED, blobs=one), result(Outcome.FAILED, blobs=one)))
    run = RunReport(started=NOW, finished=NOW, dry_run=False, rules=(rule, rule))

    assert summarise(rule.results) == BlobTally(existed=(2, 20), mounted=(4, 40), uploaded=(6, 60))
    assert run.blobs == summarise([]) + summarise(rule.results) + summarise(rule.results)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(MirrordError("broke", code="X"), "X: broke", id="no remedy"),
        pytest.param(NotFoundError("gone", remedy="look"), "NOT_FOUND: gone; look", id="remedy"),
    ],
)
def test_problem_reads_like_its_error(error: MirrordError, text: str) -> None:
    assert str(Problem.of(error)) == str(error) == text


def test_rule_of_a_file_is_spoken_of_as_one_and_that_of_a_command_is_not() -> None:
    """Who gave no file looks for no rule."""
    assert RuleReport(rule="web").label == "rule web"
    assert RuleReport(rule="copy", by_hand=True).label == "copy"
