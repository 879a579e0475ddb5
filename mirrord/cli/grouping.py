"""Images that went wrong in the same way at the same place, told as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirrord.cli.names import result_name, source_name, target_name
from mirrord.cli.runjson import in_order
from mirrord.planning.report import Outcome, Problem, RuleReport, UnitResult

INTERRUPTED = "interrupted"
"""The reason of images that were left out because the run ended early."""


@dataclass(frozen=True, slots=True)
class Group:
    """Results of one rule with the same source, target and cause; at least one."""

    results: tuple[UnitResult, ...]

    @property
    def rule(self) -> str:
        """The rule that they belong to."""
        return self.results[0].rule

    @property
    def name(self) -> str:
        """What they are called together: ``source:1.0, 1.1 -> target``."""
        first = self.results[0]
        if len(self.results) == 1:
            return result_name(first)
        tags = [pair for result in self.results for pair in result.tags]
        return f"{source_name(first.source, tags, None)} -> {target_name(first.target, tags, None)}"

    @property
    def problem(self) -> Problem | None:
        """What was wrong with the first of them; None: the reason says it all."""
        return self.results[0].problem

    @property
    def reason(self) -> str:
        """Why the first of them ended as it did."""
        return self.results[0].reason

    @property
    def others(self) -> int:
        """How many errors of the same code say something else than the one of the first."""
        return len({str(result.problem) for result in self.results}) - 1


def groups_of(results: Iterable[UnitResult]) -> list[Group]:
    """Return results in groups, by place and name."""
    groups: dict[object, list[UnitResult]] = {}
    for result in in_order(list(results)):
        cause = result.problem.code if result.problem is not None else result.reason
        groups.setdefault((result.rule, result.source, result.target, cause), []).append(result)
    return [Group(tuple(group)) for group in groups.values()]


def is_unattempted(result: UnitResult) -> bool:
    """Say whether an image was left out because the run ended early."""
    return result.outcome is Outcome.SKIPPED and result.reason == INTERRUPTED


def unattempted(rules: Sequence[RuleReport]) -> int:
    """Return how many images (tags on targets) were left out because the run ended early."""
    return sum(len(result.tags) for rule in rules for result in rule.results if is_unattempted(result))
