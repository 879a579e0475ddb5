"""What a run knows of one rule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import Outcome, Problem, RuleReport, UnitResult
from mirrord.planning.rule import Rule
from mirrord.sync.ahead import Arriving
from mirrord.sync.choose import Choice
from mirrord.sync.prepare import Planned
from mirrord.sync.remembered import Remembered


@dataclass(slots=True)
class RuleRun:
    """What is known of one rule while a run goes on; a report can be made of it at any moment.

    ``arriving`` is what a plan knows of rules that would write first where this one reads. It ``looked`` if there was a
    source, each could be listed, and of each at least one tag could be asked for where there were any: what a single
    tag met is its own problem, and shows in its state. ``remembered`` is what is known of each source from run to run.
    """

    rule: Rule
    listed: int = 0
    filtered: int = 0
    choices: list[Choice] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    results: list[UnitResult] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    arriving: Arriving = field(default_factory=dict)
    looked: bool = False
    remembered: dict[Location, Remembered] = field(default_factory=dict)
    settled: set[tuple[Location, Location, tuple[Tag | None, Tag | None]]] = field(default_factory=set)

    def written(self) -> set[Location]:
        """Return where this rule has written, or tried to."""
        return {
            target.target
            for planned in self.planned
            for target in planned.plan.targets
            if target.changes or target.target in planned.late
        }

    def report(self) -> RuleReport:
        """Return the report of what happened so far."""
        return RuleReport(
            rule=self.rule.name,
            listed=self.listed,
            filtered=self.filtered,
            results=tuple(self.results),
            problems=tuple(self.problems),
            warnings=tuple(dict.fromkeys(self.warnings)),
            by_hand=self.rule.by_hand,
        )


def withdraw(run: RuleRun, late: UnitResult) -> None:
    """Take back the "in sync" of an image whose attachments turned out to be missing: it counts once."""
    for index, result in enumerate(run.results):
        same = result.target == late.target and result.source == late.source and result.digest == late.digest
        if same and result.outcome is Outcome.IN_SYNC:
            left = tuple(pair for pair in result.tags if pair not in late.tags)
            run.results[index] = replace(result, tags=left)
    run.results[:] = [result for result in run.results if result.tags]
