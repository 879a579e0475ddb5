"""GitHub Actions: annotations on the rules of the configuration file, the summary of the step, its outputs.

Commands go to stderr, which the runner reads for them as it does stdout (ScriptHandler.cs of actions/runner), so that
JSON on stdout stays JSON. https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirrord.cli.failures import complain
from mirrord.errors import ConfigError, ConfigProblem, MirrordError

if TYPE_CHECKING:
    from mirrord.config.tree import Position
    from mirrord.planning.report import RunReport

MOST_ANNOTATIONS = 10
"""Annotations of a level that GitHub shows of a step; the runner drops the others without a word."""

SUMMARY_BYTES = 1024 * 1024
"""The size of a step's summary beyond which GitHub shows none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """A message on a line of a file. ``level`` is ``error`` or ``warning``; without a ``file`` it is about the step."""

    level: str
    title: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def command(self) -> str:
        """Return the command that makes it."""
        places = {
            "title": self.title,
            "file": self.file,
            "line": str(self.line) if self.file and self.line else "",
            "col": str(self.column) if self.file and self.line and self.column else "",
        }
        properties = ",".join(f"{name}={_property(value)}" for name, value in places.items() if value)
        return f"::{self.level}{' ' if properties else ''}{properties}::{_data(self.message)}"


def in_actions(environment: Mapping[str, str]) -> bool:
    """Say whether this process is a step of GitHub Actions, or of a runner that says it is."""
    return environment.get("GITHUB_ACTIONS", "").lower() == "true"


def annotate(annotations: Iterable[Annotation]) -> None:
    """Make annotations, at most ten a level: where there are more, the tenth says how many."""
    by_level: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        by_level.setdefault(annotation.level, []).append(annotation)
    for level, found in by_level.items():
        shown = found
        if len(found) > MOST_ANNOTATIONS:
            more = len(found) - MOST_ANNOTATIONS + 1
            message = f"and {more:,} more; the log and the report of the run have all of them"
            shown = [*found[: MOST_ANNOTATIONS - 1], Annotation(level=level, title="mirrord", message=message)]
        for annotation in shown:
            complain(annotation.command())


def annotate_error(error: MirrordError, environment: Mapping[str, str]) -> None:
    """Annotate what ended a command; the problems of a configuration where they stand in the file."""
    if not in_actions(environment):
        return
    if isinstance(error, ConfigError):
        annotate(_of_problem(problem, "error", environment) for problem in error.problems)
    else:
        annotate([Annotation(level="error", title=error.code, message=_told(error.message, error.remedy))])


def annotate_warnings(warnings: Sequence[ConfigProblem], environment: Mapping[str, str]) -> None:
    """Annotate the warnings of a configuration where they stand in the file."""
    if in_actions(environment):
        annotate(_of_problem(problem, "warning", environment) for problem in warnings)


def annotations_of(
    report: RunReport, file: str, places: Mapping[str, Position], environment: Mapping[str, str]
) -> list[Annotation]:
    """Return what is to be said of a run, on the rules where the configuration names them.

    Args:
        report: the run.
        file: the configuration file as it was given.
        places: where the file names each rule.
        environment: the variables of the step.
    """
    from mirrord.cli.grouping import groups_of
    from mirrord.planning.report import Outcome

    inside = _in_workspace(file, environment)

    def on_rule(level: str, rule: str, title: str, message: str) -> Annotation:
        place = places.get(rule)
        if place is None:
            return Annotation(level=level, title=title, message=message)
        return Annotation(level=level, title=title, message=message, file=inside, line=place.line, column=place.column)

    found: list[Annotation] = []
    for rule in report.rules:
        found += [
            on_rule("error", rule.rule, f"{rule.label}: {problem.code}", _told(problem.message, problem.remedy))
            for problem in rule.problems
        ]
        for outcome, level in ((Outcome.FAILED, "error"), (Outcome.BLOCKED, "warning")):
            for group in groups_of(result for result in rule.results if result.outcome is outcome):
                problem = group.problem
                told = _told(problem.message, problem.remedy) if problem is not None else group.reason
                code = f": {problem.code}" if problem is not None else ""
                others = f" (and {group.others:,} similar)" if group.others else ""
                title = f"{rule.label}{code}"
                found.append(on_rule(level, rule.rule, title, f"{group.name}: {outcome.value}: {told}{others}"))
        found += [on_rule("warning", rule.rule, rule.label, warning) for warning in rule.warnings]
    return found


def add_summary(report: RunReport, exit_code: int, environment: Mapping[str, str]) -> None:
    """Append a run as Markdown to the step's summary; what does not fit beside what is there is cut."""
    from mirrord.cli.markdown import MOST_BYTES, markdown_text

    path = environment.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return
    try:
        taken = Path(path).stat().st_size if Path(path).exists() else 0
        text = markdown_text(report, exit_code, most_bytes=min(MOST_BYTES, SUMMARY_BYTES - taken - 2))
        if not text:
            complain("warning: the summary of the step is full; nothing was added to it")
            return
        _append(path, f"\n{text}\n" if taken else f"{text}\n")
    except (OSError, ValueError) as exc:
        complain(f"warning: the summary of the step could not be written: {_reason(exc)}")


def add_outputs(report: RunReport, exit_code: int, environment: Mapping[str, str]) -> None:
    """Append the counts of a run, and its exit code, to the step's outputs."""
    from mirrord.cli.runjson import totals_json

    path = environment.get("GITHUB_OUTPUT", "")
    if not path:
        return
    values = {**totals_json(report.rules), "exit_code": exit_code}
    try:
        _append(path, "".join(map(_output, values, map(str, values.values()))))
    except (OSError, ValueError) as exc:
        complain(f"warning: the outputs of the step could not be written: {_reason(exc)}")


def _output(name: str, value: str) -> str:
    """Return an output of a step between lines that no value can have: what is in it never sets another output."""
    mark = f"mirrord_{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def _of_problem(problem: ConfigProblem, level: str, environment: Mapping[str, str]) -> Annotation:
    message = f"{problem.key}: {problem.message}" if problem.key else problem.message
    return Annotation(
        level=level,
        title=problem.code,
        message=message,
        file=_in_workspace(problem.file, environment),
        line=problem.line,
        column=problem.column,
    )


def _in_workspace(file: str, environment: Mapping[str, str]) -> str:
    """Return a file's path in the repository that was checked out, as annotations name it; empty where it is none."""
    if not file or file.startswith("<"):
        return ""
    place = os.path.realpath(file)
    workspace = environment.get("GITHUB_WORKSPACE", "")
    if not workspace:
        return file
    root = os.path.realpath(workspace)
    return os.path.relpath(place, root) if place.startswith(root.rstrip("/") + "/") else ""


def _told(message: str, remedy: str) -> str:
    return f"{message}; {remedy}" if remedy else message


def _append(path: str, text: str) -> None:
    with Path(path).open("ab") as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else "its path is not valid"


def _data(text: str) -> str:
    text = "".join(c if c.isprintable() or c in "\r\n" else c.encode("unicode_escape").decode("ascii") for c in text)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
