"""Runs as JUnit XML, as GitLab and Jenkins read it: a suite for each rule, a case for each image on each target.

Each tag is a case of its own, so that its name stays the same from run to run, and cases count as images do. GitLab
shows ``classname`` as the suite, takes classname and name as the key, and reads files below 30 MB:
https://docs.gitlab.com/ci/testing/unit_test_reports/. Elements and attributes are those of the schema by which Jenkins'
xunit plug-in checks (junit-10.xsd).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from mirrord import __version__
from mirrord.cli.grouping import unattempted
from mirrord.cli.names import source_name, target_name
from mirrord.cli.runjson import in_order
from mirrord.cli.units import count_text
from mirrord.planning.report import Outcome, Problem, RuleReport, RunReport, UnitResult

MOST_BYTES = 28 * 1024 * 1024
"""Size of a report at most; GitLab takes less than 30 MB."""

MOST_WARNINGS = 100
"""Warnings of a rule that are told."""

_PASSED = frozenset({Outcome.IN_SYNC, Outcome.COPIED})
_BRIEF = 120
_SUITE_BYTES = 600
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_ATTRIBUTE = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;"})


def junit_text(report: RunReport, code: int, *, most_bytes: int = MOST_BYTES) -> str:
    """Return a run as JUnit XML.

    Where it would grow beyond ``most_bytes``, failures are told briefly, and then cases that went well are left out;
    a property of the suite says how many.
    """
    suites = [_Suite(rule.rule, list(_cases(rule)), _properties(rule), _warnings(rule)) for rule in report.rules]
    if report.interrupted:
        left = count_text(unattempted(report.rules), "image")
        problem = Problem(code="INTERRUPTED", message=f"the run ended early; {left} not attempted or not finished")
        suites.insert(0, _Suite("mirrord", [_failure("the run", "mirrord", problem)], {}, ""))
    room = most_bytes - _SUITE_BYTES * (len(suites) + 1) - sum(len(suite.output.encode()) for suite in suites)
    shown, left_out = _fit([suite.cases for suite in suites], room)
    run = {"mirrord": __version__, "exit_code": str(code), "interrupted": str(report.interrupted).lower()}
    texts = [
        _suite_text(
            suite,
            cases,
            {**run, **suite.properties, **({"left_out": str(left)} if left else {})},
            report.started.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        for suite, cases, left in zip(suites, shown, left_out, strict=True)
    ]
    cases = [case for suite in shown for case in suite]
    seconds = (report.finished - report.started).total_seconds()
    head = f'<testsuites name="mirrord sync" {_counts(cases)} time="{seconds:.3f}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *texts, "</testsuites>", ""])


@dataclass(frozen=True, slots=True)
class _Case:
    """A test case. ``element`` is ``failure`` or ``skipped``, empty for one that went well."""

    name: str
    rule: str
    seconds: float = 0.0
    element: str = ""
    kind: str = ""
    message: str = ""
    body: str = ""

    def text(self) -> str:
        name, rule = _attribute(self.name), _attribute(self.rule)
        head = f'<testcase classname="{rule}" name="{name}" time="{self.seconds:.3f}"'
        if not self.element:
            return f"{head}/>"
        inner = f'<{self.element} type="{_attribute(self.kind)}" message="{_attribute(self.message)}"'
        closed = f"{inner}>{_text(self.body)}</{self.element}>" if self.body else f"{inner}/>"
        return f"{head}>{closed}</testcase>"

    def brief(self) -> _Case:
        return replace(self, message=self.message[:_BRIEF], body="")


@dataclass(frozen=True, slots=True)
class _Suite:
    """A rule. ``output`` is what its owner should look at."""

    rule: str
    cases: list[_Case]
    properties: Mapping[str, str]
    output: str


def _cases(rule: RuleReport) -> Iterator[_Case]:
    """Yield the cases of a rule, of which no two have the same name: GitLab would leave out the second."""
    seen: dict[str, int] = {}
    for case in _all_cases(rule):
        count = seen[case.name] = seen.get(case.name, 0) + 1
        yield case if count == 1 else replace(case, name=f"{case.name} ({count})")


def _all_cases(rule: RuleReport) -> Iterator[_Case]:
    for problem in rule.problems:
        yield _failure(rule.label, rule.rule, problem)
    for result in in_order(rule.results):
        yield from _image_cases(result)
    if not rule.problems and not rule.results:
        # A file without any case is taken for a fault of the pipeline.
        yield _Case(f"{rule.label}: no images", rule.rule)


def _failure(name: str, rule: str, problem: Problem) -> _Case:
    return _Case(name, rule, 0.0, "failure", problem.code, f"{problem.code}: {problem.message}", _explain(problem))


def _image_cases(result: UnitResult) -> Iterator[_Case]:
    element, kind, message, body = "", "", "", ""
    if result.outcome not in _PASSED:
        problem = result.problem or Problem(code=result.outcome.value.upper(), message=result.reason)
        element, kind = ("failure" if result.outcome is Outcome.FAILED else "skipped"), problem.code
        message = f"{result.outcome.value}: {problem.code}: {problem.message}"
        if result.problem is None:
            message = f"{result.outcome.value}: {result.reason}"
        digest = f"\ndigest: {result.digest}" if result.digest is not None else ""
        body = f"{_explain(problem)}\nsource: {result.source}\ntarget: {result.target}{digest}"
    seconds = result.seconds  # of all tags together: the first has them
    for pair in result.tags:
        source = source_name(result.source, [pair], result.digest)
        target = target_name(result.target, [pair], result.served)
        yield _Case(f"{source} -> {target}", result.rule, seconds, element, kind, message, body)
        seconds = 0.0


def _explain(problem: Problem) -> str:
    text = f"{problem.code}: {problem.message}"
    return f"{text}\nremedy: {problem.remedy}" if problem.remedy else text


def _properties(rule: RuleReport) -> Mapping[str, str]:
    blobs = [result.blobs for result in rule.results]
    return {
        "listed": str(rule.listed),
        "filtered": str(rule.filtered),
        "copied": str(rule.count(Outcome.COPIED)),
        "uploaded_bytes": str(sum(tally.uploaded[1] for tally in blobs)),
        "saved_bytes": str(sum(tally.mounted[1] + tally.existed[1] for tally in blobs)),
    }


def _warnings(rule: RuleReport) -> str:
    lines = [f"warning: {warning}" for warning in rule.warnings[:MOST_WARNINGS]]
    if len(rule.warnings) > MOST_WARNINGS:
        lines.append(f"and {len(rule.warnings) - MOST_WARNINGS:,} more warnings")
    return _text("\n".join(lines))


def _fit(suites: list[list[_Case]], room: int) -> tuple[list[list[_Case]], list[int]]:
    """Return the cases that fit into ``room`` bytes, those that did not go well first, and how many are left out."""
    left = room
    kept: list[dict[int, _Case]] = [{} for _ in suites]
    for wanted in (True, False):
        for number, cases in enumerate(suites):
            for place, case in enumerate(cases):
                if bool(case.element) is not wanted:
                    continue
                shown = case if left > room // 2 else case.brief()
                left -= len(shown.text().encode()) + 1
                if left >= 0:
                    kept[number][place] = shown
    ordered = [[by_place[place] for place in sorted(by_place)] for by_place in kept]
    return ordered, [len(cases) - len(shown) for cases, shown in zip(suites, ordered, strict=True)]


def _suite_text(suite: _Suite, cases: list[_Case], properties: Mapping[str, str], timestamp: str) -> str:
    counts = f'{_counts(cases)} skipped="{sum(case.element == "skipped" for case in cases)}"'
    seconds = sum(case.seconds for case in cases)
    lines = [
        f'<testsuite name="{_attribute(suite.rule)}" {counts} time="{seconds:.3f}" timestamp="{timestamp}">',
        "<properties>",
        *(f'<property name="{name}" value="{_attribute(value)}"/>' for name, value in properties.items()),
        "</properties>",
        *(case.text() for case in cases),
    ]
    if suite.output:
        lines.append(f"<system-out>{suite.output}</system-out>")
    return "\n".join([*lines, "</testsuite>"])


def _counts(cases: Iterable[_Case]) -> str:
    elements = [case.element for case in cases]
    return f'tests="{len(elements)}" failures="{elements.count("failure")}" errors="0"'


def _attribute(text: str) -> str:
    return _allowed(text).translate(_ATTRIBUTE)


def _text(text: str) -> str:
    return _allowed(text).translate(_TEXT)


def _allowed(text: str) -> str:
    """Return text of characters that XML 1.0 has, and that show what stands there: no controls, no bidi marks."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
