"""Runs as Markdown, for a merge request or the summary of a job: verdict, what went wrong, rules, what is new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mirrord.cli.grouping import Group, groups_of, is_unattempted, unattempted
from mirrord.cli.markdowntext import code, plain
from mirrord.cli.names import source_name, target_name
from mirrord.cli.runjson import in_order
from mirrord.cli.units import count_text, size_text, time_text
from mirrord.planning.report import Outcome, Problem, RuleReport, RunReport, UnitResult

MOST_BYTES = 1_000_000
"""Size of a report at most; GitHub takes 1 MiB for a step: $GITHUB_STEP_SUMMARY of actions/runner."""

MOST_COPIED = 50
"""Copied images that are listed."""

_NOTE_BYTES = 200
_OUTCOMES = (Outcome.COPIED, Outcome.IN_SYNC, Outcome.SKIPPED, Outcome.BLOCKED, Outcome.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A list or table of one kind. Where not all rows fit, ``noun`` says of what there are more."""

    title: str
    noun: str
    head: tuple[str, ...] = ()
    rows: Sequence[str]
    most: int | None = None


def markdown_text(report: RunReport, exit_code: int, *, most_bytes: int = MOST_BYTES) -> str:
    """Return a run as Markdown of at most ``most_bytes``; empty where that is too little for a headline.

    What is cut is cut between rows, with a line that says how many there are more.
    """
    lines = [f"## {headline(report, exit_code)}", "", _sums(report), ""]
    left = most_bytes - _size(lines)
    if left < _NOTE_BYTES:
        return ""
    for section in _sections(report):
        added = _fit(section, left)
        lines += added
        left -= _size(added)
    return "\n".join(lines)


def headline(report: RunReport, exit_code: int) -> str:
    """Return what a reader must know, in one line."""
    failed, blocked = report.count(Outcome.FAILED), report.count(Outcome.BLOCKED)
    problems = sum(len(rule.problems) for rule in report.rules)
    told = [f"{count_text(failed, 'image')} failed"] if failed else []
    told += [f"{count_text(problems, 'problem')}"] if problems else []
    told += [f"{count_text(blocked, 'image')} blocked"] if blocked else []
    if report.interrupted:
        left = unattempted(report.rules)
        told.insert(0, f"interrupted, {count_text(left, 'image')} left" if left else "interrupted")
    if told:
        sign = "\N{WARNING SIGN}\N{VARIATION SELECTOR-16}" if not failed and not problems else "\N{CROSS MARK}"
        return f"{sign} mirrord: {', '.join(told)}"
    if exit_code:
        return f"\N{CROSS MARK} mirrord: exit code {exit_code}"
    copied = report.count(Outcome.COPIED)
    what = f"{count_text(copied, 'image')} copied, everything in sync" if copied else "everything in sync"
    return f"\N{WHITE HEAVY CHECK MARK} mirrord: {what}"


def _sums(report: RunReport) -> str:
    counts = [(report.count(outcome), outcome.value) for outcome in _OUTCOMES]
    images = sum(count for count, _ in counts)
    told = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    text = f"{count_text(images, 'image')}{': ' if told else ''}{told}."
    tally = report.blobs
    if any((tally.uploaded[0], tally.mounted[0], tally.existed[0])):
        saved = tally.mounted[1] + tally.existed[1]
        text += f" {size_text(tally.uploaded[1])} uploaded, {size_text(saved)} saved."
    seconds = (report.finished - report.started).total_seconds()
    return f"{text} {count_text(sum(report.traffic.requests.values()), 'request')} in {time_text(seconds)}."


def _sections(report: RunReport) -> Iterator[_Section]:
    """Yield the sections in the order of the page; what matters most comes first, for it may be cut at its end."""
    results = [result for rule in report.rules for result in rule.results]
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    yield _Section(
        title="Failed",
        noun="failure",
        rows=[
            *(_problem_row(f"**{plain(rule.label)}**", problem) for rule in report.rules for problem in rule.problems),
            *map(_group_row, groups_of(failed)),
        ],
    )
    for title, outcome, noun in (("Blocked", Outcome.BLOCKED, "image"), ("Skipped", Outcome.SKIPPED, "image")):
        found = [one for one in results if one.outcome is outcome and not is_unattempted(one)]
        yield _Section(title=title, noun=noun, rows=[_group_row(group) for group in groups_of(found)])
    yield _Section(
        title="Rules",
        noun="rule",
        head=(_row("rule", *(outcome.value for outcome in _OUTCOMES), "filtered out"), _row("---", *["--:"] * 6)),
        rows=[_rule_row(rule) for rule in report.rules],
    )
    yield _Section(
        title="Warnings",
        noun="warning",
        rows=[f"- **{plain(rule.label)}**: {plain(warning)}" for rule in report.rules for warning in rule.warnings],
    )
    copied = in_order([result for result in results if result.outcome is Outcome.COPIED])
    yield _Section(
        title="Copied",
        noun="image",
        head=(_row("rule", "image", "target", "digest", "uploaded"), _row("---", "---", "---", "---", "--:")),
        rows=[_copied_row(result) for result in copied],
        most=MOST_COPIED,
    )


def _fit(section: _Section, room: int) -> list[str]:
    """Return the lines of a section that fit into ``room`` bytes, each with the end of its line."""
    if not section.rows:
        return []
    lines = [f"### {section.title}", "", *section.head]
    left = room - _size(lines) - _NOTE_BYTES
    most = len(section.rows) if section.most is None else section.most
    shown: list[str] = []
    for row in section.rows[:most]:
        left -= _size([row])
        if left < 0:
            break
        shown.append(row)
    more = len(section.rows) - len(shown)
    note = ["", f"and {more:,} more {section.noun if more == 1 else section.noun + 's'}; the JSON report has all"]
    if not shown:
        return [f"### {section.title}", *note, ""] if room > _NOTE_BYTES + len(section.title) else []
    return [*lines, *shown, *(note if more else []), ""]


def _rule_row(rule: RuleReport) -> str:
    counts = [f"{count:,}" if count else "" for count in map(rule.count, _OUTCOMES)]
    return _row(code(rule.rule), *counts, f"{rule.filtered:,}" if rule.filtered else "")


def _group_row(group: Group) -> str:
    name = f"**{plain(group.rule)}** {code(group.name)}"
    if group.problem is None:
        return f"- {name}: {plain(group.reason)}"
    return _problem_row(name, group.problem, group.others)


def _problem_row(name: str, problem: Problem, others: int = 0) -> str:
    more = f" (and {count_text(others, 'similar error')})" if others else ""
    remedy = f"<br>Remedy: {plain(problem.remedy)}" if problem.remedy else ""
    return f"- {name}<br>{code(problem.code)} {plain(problem.message)}{more}{remedy}"


def _copied_row(result: UnitResult) -> str:
    return _row(
        code(result.rule),
        code(source_name(result.source, result.tags, result.digest)),
        code(target_name(result.target, result.tags, result.served)),
        code(result.served.short) if result.served is not None else "",
        size_text(result.blobs.uploaded[1]),
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines)
