from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.cli.github import (
    Annotation,
    add_outputs,
    add_summary,
    annotate,
    annotate_error,
    annotate_warnings,
    annotations_of,
    in_actions,
)
from mirrord.config.tree import Position
from mirrord.errors import ConfigError, ConfigProblem, UsageError
from mirrord.planning.report import Outcome, Problem
from tests.fakes.reports import MISSING, UNREACHABLE, report, result, rule

STEP = {"GITHUB_ACTIONS": "true"}
COMMAND = re.compile(r"::(\w+)(?: ([^:]*))?::(.*)")


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """Read a command as the runner does: ActionCommand.TryParseV2 of actions/runner."""
    level, _, rest = line.removeprefix("::").partition("::")
    name, _, properties = level.partition(" ")
    pairs = dict(one.split("=", 1) for one in properties.split(",") if one)
    unescaped = {key: unescape(value.replace("%3A", ":").replace("%2C", ",")) for key, value in pairs.items()}
    return name, unescaped, unescape(rest)


def unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def test_annotation_is_the_command_that_makes_it() -> None:
    annotation = Annotation(level="error", title="NOT_FOUND", message="no such tag", file="c.yaml", line=9, column=5)

    assert annotation.command() == "::error title=NOT_FOUND,file=c.yaml,line=9,col=5::no such tag"


def test_annotation_without_a_file_has_no_line() -> None:
    assert Annotation(level="warning", title="", message="m", line=9).command() == "::warning::m"


@given(title=st.text(min_size=1), message=st.text(), file=st.text(min_size=1))
def test_annotation_is_one_line_that_the_runner_reads_as_it_was_meant(title: str, message: str, file: str) -> None:
    command = Annotation(level="error", title=title, message=message, file=file, line=1).command()

    assert len(command.splitlines()) == 1
    level, properties, told = read_command(command)
    assert level == "error"
    assert list(properties) == ["title", "file", "line"]
    assert (properties["title"], properties["file"], told) == (visible(title), visible(file), visible(message))


def visible(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\r\n" else c.encode("unicode_escape").decode() for c in text)


def test_ten_annotations_a_level_are_made_and_the_last_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """The runner drops what is beyond ten without a word."""
    errors = [Annotation(level="error", title="X", message=str(number)) for number in range(25)]
    warnings = [Annotation(level="warning", title="X", message=str(number)) for number in range(10)]

    annotate([*errors, *warnings])

    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("::error")][8:] == [
        "::error title=X::8",
        "::error title=mirrord::and 16 more; the log and the report of the run have all of them",
    ]
    assert len([line for line in lines if line.startswith("::warning")]) == 10


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("TRUE", True), ("false", False), ("", False)])
def test_actions_are_known_by_their_variable(value: str, expected: bool) -> None:
    assert in_actions({"GITHUB_ACTIONS": value}) is expected


def test_problems_of_a_configuration_are_annotated_where_they_stand(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are named from the root of the checkout, wherever the step works."""
    (tmp_path / "deploy").mkdir()
    monkeypatch.chdir(tmp_path / "deploy")
    problem = ConfigProblem(
        file="mirrord.yaml", line=9, column=5, key="rules[0].shedule", message="unknown key", code="CONFIG_UNKNOWN_KEY"
    )

    annotate_error(ConfigError([problem]), {**STEP, "GITHUB_WORKSPACE": str(tmp_path)})

    assert capsys.readouterr().err == (
        "::error title=CONFIG_UNKNOWN_KEY,file=deploy/mirrord.yaml,line=9,col=5::rules[0].shedule: unknown key\n"
    )


@pytest.mark.parametrize("file", ["<stdin>", "/etc/mirrord.yaml"])
def test_what_is_in_no_checkout_is_annotated_without_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str
) -> None:
    problem = ConfigProblem(file=file, line=9, column=5, key="", message="m", code="X")

    annotate_warnings([problem], {**STEP, "GITHUB_WORKSPACE": str(tmp_path)})

    assert capsys.readouterr().err == "::warning title=X::m\n"


def test_other_errors_are_annotated_with_their_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    annotate_error(UsageError("no rule is called that", code="RULE_NOT_FOUND", remedy="look"), STEP)

    assert capsys.readouterr().err == "::error title=RULE_NOT_FOUND::no rule is called that; look\n"


def test_nothing_is_annotated_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    annotate_error(UsageError("no"), {})
    annotate_warnings([ConfigProblem(file="f", line=1, column=1, key="", message="m", code="X")], {})

    assert capsys.readouterr().err == ""


def test_what_went_wrong_is_annotated_on_the_rule() -> None:
    failed = [result(Outcome.FAILED, f"1.{number}", problem=MISSING) for number in range(3)]
    blocked = result(Outcome.BLOCKED, "2", problem=Problem(code="TAG_IMMUTABLE", message="it moved", remedy="look"))
    run = report(rule(*failed, blocked, problems=(UNREACHABLE,), warnings=("look at it",)))

    found = annotations_of(run, "c.yaml", {"nginx": Position(7, 5)}, STEP)

    assert [(one.level, one.title) for one in found] == [
        ("error", "rule nginx: UNAVAILABLE"),
        ("error", "rule nginx: NOT_FOUND"),
        ("warning", "rule nginx: TAG_IMMUTABLE"),
        ("warning", "rule nginx"),
    ]
    assert {(one.file, one.line, one.column) for one in found} == {("c.yaml", 7, 5)}
    assert found[1].message == (
        "docker.io/library/nginx:1.0, 1.1, 1.2 -> registry.internal:5000/mirror/nginx: failed: "
        "docker.io/library/nginx:nope does not exist; check the name"
    )


def test_a_run_that_is_in_sync_annotates_nothing() -> None:
    assert annotations_of(report(rule(result(Outcome.IN_SYNC, "1"))), "c.yaml", {}, STEP) == []


def test_summary_is_appended_to_what_the_step_wrote_before(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    file.write_text("# before\n")

    add_summary(report(rule(result(Outcome.IN_SYNC, "1"))), 0, {"GITHUB_STEP_SUMMARY": str(file)})

    assert file.read_text().startswith("# before\n\n## \N{WHITE HEAVY CHECK MARK} mirrord: everything in sync\n")


@pytest.mark.parametrize("taken", [0, 1_040_000, 1_048_000])
def test_summary_stays_below_what_github_takes_of_a_step(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "summary"
    file.write_bytes(b"x" * taken)
    run = report(rule(*(result(Outcome.FAILED, f"{n}", reason=f"{n}" * 90) for n in range(20_000))))

    add_summary(run, 1, {"GITHUB_STEP_SUMMARY": str(file)})

    assert taken < file.stat().st_size <= 1024 * 1024
    assert capsys.readouterr().err == ""


def test_summary_that_is_full_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "summary"
    file.write_bytes(b"x" * 1024 * 1024)

    add_summary(report(rule()), 0, {"GITHUB_STEP_SUMMARY": str(file)})

    assert file.stat().st_size == 1024 * 1024
    assert capsys.readouterr().err == "warning: the summary of the step is full; nothing was added to it\n"


def test_files_of_the_step_that_cannot_be_written_are_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "nowhere" / "file")

    add_summary(report(rule()), 0, {"GITHUB_STEP_SUMMARY": missing})
    add_outputs(report(rule()), 0, {"GITHUB_OUTPUT": missing})

    assert capsys.readouterr().err.splitlines() == [
        "warning: the summary of the step could not be written: No such file or directory",
        "warning: the outputs of the step could not be written: No such file or directory",
    ]


def test_outputs_are_the_counts_and_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "outputs"
    file.write_text("before=1\n")

    add_outputs(
        report(rule(result(Outcome.COPIED, "1", "2"), result(Outcome.FAILED, "3"), filtered=4)),
        1,
        {"GITHUB_OUTPUT": str(file)},
    )

    text = file.read_text()
    assert text.startswith("before=1\n")
    found = re.findall(r"^(\w+)<<(mirrord_[0-9a-f]{32})\n(.*)\n\2$", text, re.MULTILINE)
    assert {name: value for name, _, value in found} == {
        "listed": "7",
        "filtered": "4",
        "in_sync": "0",
        "copied": "2",
        "skipped": "0",
        "blocked": "0",
        "failed": "1",
        "exit_code": "1",
    }
    assert len({mark for _, mark, _ in found}) == len(found)
