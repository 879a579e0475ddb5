from __future__ import annotations

import signal

import pytest

from mirrord.cli.failures import InterruptedRunError, as_error, as_json, exit_code_of, explain, traceback_text, unwrap
from mirrord.cli.selection import select_rules
from mirrord.cli.units import clock_text, count_text, size_text, time_text
from mirrord.cli.usage import check_arguments, json_format, wants_traceback
from mirrord.errors import (
    ConfigError,
    ConfigProblem,
    CredentialError,
    InvalidReferenceError,
    NotFoundError,
    PolicyRefusedError,
    StartupError,
    UsageError,
)
from mirrord.oci.reference import Repository
from mirrord.planning.rule import Rule, Source

PROBLEM = ConfigProblem(
    file="c.yaml", line=9, column=5, key="rules[0].schedules", message="unknown key", code="UNKNOWN"
)


@pytest.mark.covers("C47")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(NotFoundError("x"), 1, id="registry"),
        pytest.param(ValueError("x"), 1, id="unexpected"),
        pytest.param(UsageError("x"), 2, id="usage"),
        pytest.param(ConfigError([PROBLEM]), 2, id="config"),
        pytest.param(InvalidReferenceError("x"), 2, id="reference"),
        pytest.param(StartupError("x"), 3, id="startup"),
        pytest.param(CredentialError("x"), 3, id="credential"),
        pytest.param(PolicyRefusedError("x"), 4, id="policy"),
        pytest.param(InterruptedRunError(signal.SIGINT), 130, id="interrupted"),
        pytest.param(KeyboardInterrupt(), 130, id="interrupted-early"),
        pytest.param(InterruptedRunError(signal.SIGTERM), 143, id="terminated"),
    ],
)
def test_an_error_has_the_documented_exit_code(error: BaseException, code: int) -> None:
    assert exit_code_of(error) == code


def test_faults_of_a_configuration_read_like_those_of_a_compiler() -> None:
    assert explain(ConfigError([PROBLEM])) == (
        "c.yaml:9:5: rules[0].schedules: unknown key\n"
        "error: CONFIG_INVALID: 1 problem in the configuration; nothing was attempted"
    )


def test_faults_of_a_configuration_are_a_list_in_json() -> None:
    told = as_json(ConfigError([PROBLEM]))

    assert told["problems"] == [
        {
            "file": "c.yaml",
            "line": 9,
            "column": 5,
            "key": "rules[0].schedules",
            "code": "UNKNOWN",
            "message": "unknown key",
        }
    ]


def test_an_unexpected_exception_is_an_internal_error_on_one_line() -> None:
    shown = explain(as_error(ValueError("a\nb\x1b[31m")))

    assert shown.startswith("error: INTERNAL_ERROR: ValueError: a\\nb\\x1b[31m; this is a fault of mirrord")
    assert "\n" not in shown


def test_the_error_inside_exception_groups_is_the_one_that_counts() -> None:
    inner = NotFoundError("gone")

    assert unwrap(ExceptionGroup("outer", [ExceptionGroup("inner", [inner])])) is inner


@pytest.mark.covers("E115")
@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        pytest.param("a\x00b", "has a NUL character", id="nul"),
        pytest.param("a\udcff", "is not UTF-8", id="not-utf-8"),
        pytest.param("a" * 128 * 1024, "is longer than 65,536 characters", id="long"),
    ],
)
def test_an_argument_that_no_command_can_take_is_refused(argument: str, fault: str) -> None:
    with pytest.raises(UsageError, match=f"argument 2 {fault}") as caught:
        check_arguments(["sync", argument])

    assert caught.value.code == "ARGUMENT_INVALID"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--output", "json"], "json", id="two"),
        pytest.param(["--output=ndjson"], "ndjson", id="one"),
        pytest.param(["-o", "json"], "json", id="short"),
        pytest.param(["-ojson"], "json", id="short-one"),
        pytest.param(["--output", "text"], None, id="text"),
        pytest.param(["--output"], None, id="cut-off"),
        pytest.param(["--", "--output", "json"], None, id="after-the-options"),
        pytest.param(["-o", "json", "-o", "text"], None, id="the-last-one-counts"),
    ],
)
def test_the_format_is_known_of_a_command_line_that_cannot_be_parsed(
    arguments: list[str], expected: str | None
) -> None:
    assert json_format(arguments) == expected


def test_tracebacks_are_for_those_who_ask() -> None:
    assert wants_traceback(["-v"], {})
    assert wants_traceback([], {"MIRRORD_LOG_LEVEL": "DEBUG"})
    assert not wants_traceback([], {"MIRRORD_LOG_LEVEL": "info"})


def rules(*names: str) -> list[Rule]:
    source = Source(location=Repository("docker.io", "library/nginx"))
    return [Rule(name=name, source=source, targets=()) for name in names]


def test_rules_are_selected_by_name_and_pattern_in_the_order_of_the_file() -> None:
    selected = select_rules(rules("a", "team-1", "b", "team-2"), ["team-*", "a"])

    assert [rule.name for rule in selected] == ["a", "team-1", "team-2"]


@pytest.mark.covers("E109")
@pytest.mark.parametrize(
    "wanted",
    [pytest.param("ngin", id="near"), pytest.param("", id="empty"), pytest.param("x-*", id="pattern")],
)
def test_a_rule_that_is_not_in_the_configuration_is_refused_with_the_names_that_are(wanted: str) -> None:
    with pytest.raises(UsageError, match="RULE_NOT_FOUND: no rule is called") as caught:
        select_rules(rules("nginx", "redis"), [wanted])

    assert "the rules are: nginx, redis" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (312 * 1024**2, "312 MiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**4, "1.0 TiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_sizes_are_told_in_binary_units(size: int, shown: str) -> None:
    assert size_text(size) == shown


@pytest.mark.parametrize(
    ("seconds", "told", "watch"),
    [
        (0.04, "0.0 s", "0:00"),
        (9.5, "9.5 s", "0:09"),
        (59.4, "59 s", "0:59"),
        (185, "3 min 05 s", "3:05"),
        (7800, "2 h 10 min", "2:10:00"),
    ],
)
def test_durations_are_told_as_people_read_them(seconds: float, told: str, watch: str) -> None:
    assert time_text(seconds) == told
    assert clock_text(seconds) == watch


def test_a_count_agrees_with_its_noun() -> None:
    assert [count_text(1, "image"), count_text(1234, "image"), count_text(2, "retry", "retries")] == [
        "1 image",
        "1,234 images",
        "2 retries",
    ]


def test_a_traceback_tells_no_secret_that_a_cause_quotes() -> None:
    secret = "canary-of-the-session"
    try:
        try:
            raise ValueError(f"bad request: X-Amz-Security-Token: {secret}, Authorization: Bearer {secret}")
        except ValueError as exc:
            raise UsageError("asked in vain") from exc
    except UsageError as exc:
        told = traceback_text(exc)

    assert secret not in told
    assert "bad request" in told
    assert "asked in vain" in told
    assert "test_cli_failures.py" in told
