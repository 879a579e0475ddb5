"""Plans as text and as JSON: what would be done about each image, why, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from mirrord.cli.names import TagPair, source_name, target_name
from mirrord.cli.quotas import needed_lines, pulls_json
from mirrord.cli.runjson import Json, in_order, pair_json, problem_json, result_json, tags_json, totals_json
from mirrord.cli.runreport import rule_summary, trouble_lines
from mirrord.cli.units import count_text, size_text
from mirrord.planning.estimate import Estimate
from mirrord.planning.plan import TagPlan
from mirrord.planning.report import Outcome, RuleReport, TrafficReport
from mirrord.sync.estimating import Change, Forecast

_VERB_WIDTH = 8
_STYLES = {"copy": "green", "replace": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """What a run would do: the changes, and how all other images stand. ``traffic`` is what planning cost."""

    rules: tuple[RuleReport, ...]
    forecast: Forecast
    traffic: TrafficReport = field(default_factory=TrafficReport)

    @property
    def changed_tags(self) -> int:
        """How many images (tags on targets) would be written."""
        return sum(len(change.tags) for change in self.forecast.changes)

    @property
    def is_complete(self) -> bool:
        """Whether every image could be looked at."""
        return not any(rule.problems or rule.count(Outcome.FAILED) for rule in self.rules)


def plan_lines(report: PlanReport, *, everything: bool) -> list[Text]:
    """Return a plan, line by line; ``everything`` lists the images that are in sync too."""
    lines: list[Text] = []
    for rule in report.rules:
        changes = [change for change in report.forecast.changes if change.rule == rule.rule]
        settled = [result for result in in_order(rule.results) if result.outcome is Outcome.IN_SYNC]
        lines.append(_rule_line(rule, changes))
        for alike in _alike(changes):
            lines += _change_lines(alike)
        if everything:
            for result in settled:
                name = f"{source_name(result.source, result.tags, result.digest)} -> {result.target}"
                lines.append(Text(f"  {'in sync'.ljust(_VERB_WIDTH)} {name}", style="dim"))
    lines += trouble_lines(report.rules)
    lines += [Text(f"warning: {warning}", style="yellow") for warning in report.forecast.warnings]
    return [*lines, Text(), *_sum_lines(report), *needed_lines(report.traffic, complete=report.is_complete)]


def plan_json(report: PlanReport, exit_code: int) -> Json:
    """Return a plan."""
    return {
        **plan_summary_json(report, exit_code),
        "changes": [change_json(change) for change in report.forecast.changes],
        "images": [result_json(result) for rule in report.rules for result in in_order(rule.results)],
    }


def plan_summary_json(report: PlanReport, exit_code: int) -> Json:
    """Return a plan without its images."""
    decisions = [tag.decision.value for change in report.forecast.changes for tag in change.tags]
    totals = {key: count for key, count in totals_json(report.rules).items() if key != "copied"}
    return {
        "kind": "plan",
        "exit_code": exit_code,
        "totals": {**totals, "copy": decisions.count("copy"), "replace": decisions.count("replace")},
        "estimate": estimate_json(report.forecast.total),
        "pulls": pulls_json(report.traffic, "needed"),
        "warnings": list(report.forecast.warnings),
        "rules": [
            {
                "rule": rule.rule,
                "problems": [problem_json(problem) for problem in rule.problems],
                "warnings": list(rule.warnings),
            }
            for rule in report.rules
        ],
    }


def change_json(change: Change) -> Json:
    """Return what would be done for one image on one target."""
    return {
        "rule": change.rule,
        "source": str(change.source),
        "target": str(change.target),
        "digest": str(change.root),
        "target_digest": str(change.wanted),
        "tags": [
            {
                **tags_json([(tag.source_tag, tag.target_tag)])[0],
                "decision": tag.decision.value,
                "reason": tag.reason,
                "before": str(tag.before) if tag.before is not None else None,
            }
            for tag in change.tags
        ],
        "referrers": change.attachments,
        "estimate": estimate_json(change.estimate),
    }


def estimate_json(estimate: Estimate) -> Mapping[str, object]:
    """Return what something would cost."""
    return {
        "upload": pair_json(estimate.upload),
        "mount": pair_json(estimate.mount),
        "existing": pair_json(estimate.existing),
        "read_bytes": estimate.read_bytes,
        "requests": estimate.requests,
        "pulls": estimate.pulls,
    }


def _rule_line(rule: RuleReport, changes: Sequence[Change]) -> Text:
    count = sum(len(change.tags) for change in changes)
    first = Text(f"{count:,} to copy, " if count else "", style="green")
    summary = rule_summary(rule)
    if count and not summary.plain:
        first.right_crop(2)
    return Text.assemble((rule.rule, "bold"), "  ", first, summary if summary.plain or count else "no images")


def _alike(changes: Sequence[Change]) -> list[list[Change]]:
    """Return changes, those that do the same for one image on several targets together."""
    found: dict[object, list[Change]] = {}
    for change in changes:
        tags = tuple((tag.source_tag, tag.decision, tag.reason) for tag in change.tags)
        found.setdefault((change.source, change.root, tags), []).append(change)
    return list(found.values())


def _change_lines(alike: Sequence[Change]) -> Iterable[Text]:
    first = alike[0]
    for (decision, reason), tags in _grouped(first.tags).items():
        pairs: list[TagPair] = [(tag.source_tag, tag.target_tag) for tag in tags]
        name = source_name(first.source, pairs, first.root)
        verb = (decision.ljust(_VERB_WIDTH), _STYLES.get(decision, ""))
        yield Text.assemble("  ", verb, f" {name}  ", (f"({reason})", "dim"))
    for change in alike:
        pairs = [(tag.source_tag, tag.target_tag) for tag in change.tags]
        cost = _cost_text(change.estimate)
        if change.attachments:
            cost = f"{cost}, with {count_text(change.attachments, 'referrer')}"
        name = target_name(change.target, pairs, change.wanted)
        yield Text.assemble(f"  {' ' * _VERB_WIDTH}  -> {name}: ", (cost, "dim"))


def _grouped(tags: Sequence[TagPlan]) -> dict[tuple[str, str], list[TagPlan]]:
    found: dict[tuple[str, str], list[TagPlan]] = {}
    for tag in tags:
        found.setdefault((tag.decision.value, tag.reason), []).append(tag)
    return found


def _cost_text(estimate: Estimate) -> str:
    parts = [
        f"{verb} {count_text(count, 'blob')} ({size_text(size)})"
        for verb, (count, size) in (
            ("upload", estimate.upload),
            ("mount", estimate.mount),
            ("keep", estimate.existing),
        )
        if count
    ]
    return ", ".join(parts) or "no blobs to move"


def _sum_lines(report: PlanReport) -> list[Text]:
    rules, total = report.rules, report.forecast.total
    counts = {outcome: sum(rule.count(outcome) for rule in rules) for outcome in Outcome}
    told = [(report.changed_tags, "to copy"), *((count, outcome.value) for outcome, count in counts.items())]
    images = report.changed_tags + sum(counts.values())
    if not report.changed_tags:
        rest = ", ".join(f"{count:,} {name}" for count, name in told if count) or "no images"
        failed = counts[Outcome.FAILED] or any(rule.problems for rule in rules)
        return [Text.assemble(("nothing planned", "bold") if failed else ("no changes", "bold green"), f": {rest}")]
    counted = ", ".join(f"{count:,} {name}" for count, name in told if count)
    return [
        Text.assemble((count_text(images, "image"), "bold"), f": {counted}"),
        Text(f"blobs: {_cost_text(total)}; {size_text(total.read_bytes)} to read at the source"),
        Text(f"about {count_text(total.requests, 'request')}"),
    ]
