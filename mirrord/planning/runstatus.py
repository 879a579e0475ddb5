"""From a rule's report to the status of its run: what is kept of it, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mirrord.planning.report import BlobTally, Outcome, Problem, RuleReport, UnitResult, summarise
from mirrord.planning.status import (
    MOST_CHANGES,
    BlobCount,
    BlobCounts,
    Cause,
    Change,
    ProblemStatus,
    RunResult,
    RunStatus,
)

MOST_PROBLEMS = 20
"""So many different problems of a run are kept, those of the rule first."""

MOST_WARNINGS = 50

_WORKED_ON = frozenset({Outcome.COPIED, Outcome.BLOCKED, Outcome.FAILED})


def run_status(
    run: str,
    cause: Cause,
    *,
    started: datetime,
    finished: datetime,
    report: RuleReport,
    interrupted: bool = False,
    lag_seconds: float = 0.0,
    requests: Mapping[str, int] | None = None,
    pulls: Mapping[str, int] | None = None,
    fanout_bytes: int = 0,
) -> RunStatus:
    """Return the status of a run that ended.

    Args:
        run: its id.
        cause: why it ran.
        started: when it began (UTC).
        finished: when it ended (UTC).
        report: what came of it.
        interrupted: whether it was stopped before its end.
        lag_seconds: the age of the oldest change that is still not served.
        requests: HTTP requests by registry.
        pulls: metered manifests by registry.
        fanout_bytes: bytes uploaded from reads that had fed another target.
    """
    worked_on = [result for result in report.results if result.outcome in _WORKED_ON]
    return RunStatus(
        id=run,
        rule=report.rule,
        cause=cause,
        started=started,
        finished=finished,
        result=result_of(report, interrupted=interrupted),
        listed=report.listed,
        filtered=report.filtered,
        outcomes={outcome.key: report.count(outcome) for outcome in Outcome},
        blobs=counts_of(summarise(report.results)),
        fanout_bytes=fanout_bytes,
        lag_seconds=lag_seconds,
        requests=dict(sorted((requests or {}).items())),
        pulls=dict(sorted((pulls or {}).items())),
        problems=_problems(report, finished),
        warnings=report.warnings[:MOST_WARNINGS],
        changes=tuple(_change(result, finished) for result in worked_on[:MOST_CHANGES]),
        changes_left_out=max(0, len(worked_on) - MOST_CHANGES),
    )


def result_of(report: RuleReport, *, interrupted: bool = False) -> RunResult:
    """Return how a run ended: failures come before an interruption, and that before refusals."""
    if report.problems or report.count(Outcome.FAILED):
        return RunResult.FAILED
    if interrupted:
        return RunResult.INTERRUPTED
    if report.count(Outcome.BLOCKED):
        return RunResult.REFUSED
    return RunResult.OK


def counts_of(tally: BlobTally) -> BlobCounts:
    """Return blobs by outcome as a status tells them."""
    return BlobCounts(
        uploaded=BlobCount(count=tally.uploaded[0], bytes=tally.uploaded[1]),
        mounted=BlobCount(count=tally.mounted[0], bytes=tally.mounted[1]),
        existed=BlobCount(count=tally.existed[0], bytes=tally.existed[1]),
    )


def problem_status(problem: Problem, at: datetime) -> ProblemStatus:
    """Return a problem as a status tells it."""
    return ProblemStatus(code=problem.code, message=problem.message, remedy=problem.remedy, at=at)


def _problems(report: RuleReport, at: datetime) -> tuple[ProblemStatus, ...]:
    """Return what went wrong, failures before refusals, each once."""
    of_images = sorted(
        (result for result in report.results if result.problem is not None),
        key=lambda result: result.outcome is not Outcome.FAILED,
    )
    found = [*report.problems, *(result.problem for result in of_images if result.problem is not None)]
    return tuple(problem_status(problem, at) for problem in list(dict.fromkeys(found))[:MOST_PROBLEMS])


def _change(result: UnitResult, at: datetime) -> Change:
    copied = result.outcome is Outcome.COPIED
    return Change(
        source=str(result.source),
        target=str(result.target),
        tags=tuple(str(source) for source, _ in result.tags if source is not None),
        outcome=result.outcome.key,
        digest=str(result.digest) if result.digest is not None else None,
        before=str(result.served) if result.served is not None and not copied else None,
        seconds=round(result.seconds, 3),
        uploaded_bytes=result.blobs.uploaded[1],
        problem=problem_status(result.problem, at) if result.problem is not None else None,
    )
