"""Whether a service kept its schedules: no rule left out, none twice at once. Judged from what its API tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

SCHEDULED = "schedule"
RUNNING = "running"


class Run(NamedTuple):
    """One run of one rule, as `RunStatus` has it; ``finished`` None: it goes on."""

    id: str
    rule: str
    cause: str
    result: str
    started: datetime
    finished: datetime | None


class Beat(NamedTuple):
    """How often a rule ran by its schedule: ``skipped`` moments were told as such, ``missed`` ones were not."""

    rule: str
    expected: float
    ran: int
    skipped: int

    @property
    def missed(self) -> float:
        """How many moments of the schedule passed without a run and without a word."""
        return self.expected - self.ran - self.skipped


def read_run(value: Mapping[str, object]) -> Run:
    """Return a run of the API's JSON."""
    finished = value["finished"]
    return Run(
        id=str(value["id"]),
        rule=str(value["rule"]),
        cause=str(value["cause"]),
        result=str(value["result"]),
        started=datetime.fromisoformat(str(value["started"])),
        finished=datetime.fromisoformat(str(finished)) if finished is not None else None,
    )


def overlaps(runs: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Return pairs of runs of one rule that were under way at the same time; one may begin as the other ends."""
    by_rule: dict[str, list[Run]] = {}
    for run in runs:
        by_rule.setdefault(run.rule, []).append(run)
    found = []
    for of_rule in by_rule.values():
        ordered = sorted(of_rule, key=lambda one: (one.started, one.id))
        last = ordered[0]
        for run in ordered[1:]:
            if run.started < _end(last):
                found.append((last, run))
            last = max(last, run, key=_end)
    return found


def beats(
    runs: Iterable[Run],
    skipped: Mapping[str, int],
    rules: Sequence[str],
    *,
    begin: datetime,
    end: datetime,
    every: timedelta,
) -> list[Beat]:
    """Return how often each rule ran between two moments.

    Args:
        runs: what the service told of.
        skipped: moments of each rule that it told to have skipped in that time.
        rules: the names of the rules.
        begin: from when runs are counted.
        end: until when.
        every: the schedule of all rules.
    """
    ran = Counter(run.rule for run in runs if run.cause == SCHEDULED and begin <= run.started < end)
    expected = (end - begin) / every
    return [Beat(rule, expected, ran[rule], skipped.get(rule, 0)) for rule in rules]


def late(beat: Beat) -> bool:
    """Say whether a rule missed more than the two moments at the edges, or one in twenty."""
    return beat.missed > max(2.0, beat.expected / 20)


def _end(run: Run) -> datetime:
    return run.finished if run.finished is not None else datetime.max.replace(tzinfo=UTC)
