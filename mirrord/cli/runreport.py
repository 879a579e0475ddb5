"""Runs as text: what happened, what went wrong and what to do about it, then the sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from mirrord.cli.grouping import Group, groups_of, is_unattempted, unattempted
from mirrord.cli.names import listing_text
from mirrord.cli.quotas import spent_lines
from mirrord.cli.units import count_text, size_text, time_text
from mirrord.planning.report import Outcome, Problem, RuleReport, RunReport, UnitResult

MOST_GROUPS = 40
"""Kinds of failures that are shown in full; JSON has all of them."""

_COUNTED = (Outcome.COPIED, Outcome.IN_SYNC, Outcome.SKIPPED, Outcome.BLOCKED, Outcome.FAILED)
_STYLES = {
    Outcome.COPIED: "green",
    Outcome.IN_SYNC: "",
    Outcome.SKIPPED: "yellow",
    Outcome.BLOCKED: "magenta",
    Outcome.FAILED: "bold red",
}


def run_lines(report: RunReport) -> list[Text]:
    """Return the report of a run, line by line."""
    lines = rule_lines(report.rules)
    lines += trouble_lines(report.rules)
    lines.append(Text())
    if report.interrupted:
        left = unattempted(report.rules)
        note = f": {count_text(left, 'image')} not attempted or not finished" if left else ""
        lines.append(Text.assemble(("interrupted", "bold yellow"), note))
    return [*lines, *_sum_lines(report), *spent_lines(report.traffic)]


def rule_lines(rules: Sequence[RuleReport]) -> list[Text]:
    """Return one line a rule: its name, and how many images ended how."""
    width = max((len(rule.rule) for rule in rules), default=0)
    nothing = Text("no images", style="yellow")
    return [Text.assemble((rule.rule.ljust(width), "bold"), "  ", rule_summary(rule) or nothing) for rule in rules]


def trouble_lines(rules: Sequence[RuleReport]) -> list[Text]:
    """Return what failed, what was blocked and skipped, and the warnings; nothing where all went well."""
    lines: list[Text] = []
    problems = [(rule.label, problem) for rule in rules for problem in rule.problems]
    results = [result for rule in rules for result in rule.results]
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    if problems or failed:
        lines += _title("Failed", "bold red")
        for name, problem in problems:
            lines += [Text(f"  {name}"), *_problem_lines(problem)]
        lines += _group_lines(failed)
    blocked = [result for result in results if result.outcome is Outcome.BLOCKED]
    if blocked:
        lines += [*_title("Blocked", "bold magenta"), *_group_lines(blocked)]
    skipped = [result for result in results if result.outcome is Outcome.SKIPPED and not is_unattempted(result)]
    if skipped:
        lines += [*_title("Skipped", "bold yellow"), *_group_lines(skipped)]
    warnings = [(rule.label, warning) for rule in rules for warning in rule.warnings]
    if warnings:
        lines += _title("Warnings", "bold yellow")
        lines += [Text(f"  {name}: {warning}") for name, warning in warnings]
    return lines


def rule_summary(rule: RuleReport) -> Text:
    """Return how many images of a rule ended how; empty where there are none."""
    counts = [(rule.count(outcome), outcome) for outcome in _COUNTED]
    parts = [Text(f"{count:,} {outcome.value}", style=_STYLES[outcome]) for count, outcome in counts if count]
    if rule.problems:
        parts.insert(0, Text(count_text(len(rule.problems), "problem"), style=_STYLES[Outcome.FAILED]))
    if rule.filtered:
        parts.append(Text(f"{rule.filtered:,} filtered out", style="dim"))
    return Text(", ").join(parts)


def _title(title: str, style: str) -> list[Text]:
    return [Text(), Text(title, style=style)]


def _group_lines(results: Iterable[UnitResult]) -> list[Text]:
    """Return results, those that went wrong in the same way at the same place told as one."""
    groups = groups_of(results)
    lines: list[Text] = []
    for group in groups[:MOST_GROUPS]:
        lines += _group(group)
    if len(groups) > MOST_GROUPS:
        lines.append(Text(f"  and {len(groups) - MOST_GROUPS:,} more; --output json has all of them", style="dim"))
    return lines


def _group(group: Group) -> list[Text]:
    lines = [Text(f"  {group.name}")]
    if group.problem is None:
        return [*lines, Text(f"    {group.reason}")]
    lines += _problem_lines(group.problem)
    if group.others:
        lines.append(Text(f"    and {count_text(group.others, 'similar error')}", style="dim"))
    return lines


def _problem_lines(problem: Problem) -> list[Text]:
    lines = [Text.assemble("    ", (problem.code, "red"), f": {problem.message}")]
    if problem.remedy:
        lines.append(Text.assemble("    ", ("remedy", "cyan"), f": {problem.remedy}"))
    return lines


def _sum_lines(report: RunReport) -> list[Text]:
    seconds = (report.finished - report.started).total_seconds()
    requests = sum(report.traffic.requests.values())
    spent = f"{count_text(requests, 'request')} in {time_text(seconds)}"
    if report.traffic.retries:
        spent += f", {count_text(report.traffic.retries, 'retry', 'retries')}"
    counts = {outcome: report.count(outcome) for outcome in _COUNTED}
    images = sum(counts.values())
    if images and counts[Outcome.IN_SYNC] == images and not any(rule.problems for rule in report.rules):
        what = "1 image is" if images == 1 else f"all {images:,} images are"
        return [Text.assemble(("nothing to do", "bold green"), f": {what} in sync; {spent}")]
    told = [f"{count:,} {outcome.value}" for outcome, count in counts.items() if count]
    lines = [Text.assemble((count_text(images, "image"), "bold"), ": " if told else "", listing_text(told, len(told)))]
    tally = report.blobs
    uploaded, spared = tally.uploaded[1], tally.mounted[1] + tally.existed[1]
    blobs = [
        f"{count:,} {name} ({size_text(size)})"
        for name, (count, size) in (
            ("uploaded", tally.uploaded),
            ("mounted", tally.mounted),
            ("existed already", tally.existed),
        )
        if count
    ]
    if blobs:
        saved = f"; {size_text(spared)} saved" if spared else ""
        lines.append(Text(f"blobs: {', '.join(blobs)}{saved}"))
    read = sum(report.traffic.bytes_read.values())
    if uploaded and read < uploaded:
        lines.append(Text(f"read once for several targets: {size_text(read)} read, {size_text(uploaded)} written"))
    rate = f", {size_text(uploaded / seconds)}/s" if uploaded and seconds > 0 else ""
    return [*lines, Text(f"{spent}{rate}")]
