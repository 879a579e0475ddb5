"""Units, cron expressions and variables, each by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic_core import PydanticCustomError

from mirrord.config.cron import looks_like_cron, normalise_cron
from mirrord.config.interpolation import escape, interpolate
from mirrord.config.units import (
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)
from mirrord.planning.duration import format_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("6h", 21_600),
        ("30d", 2_592_000),
        ("1w", 604_800),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("0s", 0),
    ],
)
def test_durations_are_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.covers("E80")
@pytest.mark.parametrize(
    "text", ["", "5", "5 m", "m", "-5m", "1e9h", "5 minutes", "PT5M", "nan", "5M", "5m3", "\u0665m", "1h\n"]
)
def test_other_text_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


def test_the_longest_duration_is_a_hundred_years() -> None:
    assert parse_duration("999999999999w") == timedelta(days=36_500)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(hours=24), "1d"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=1500), "1s500ms"),
    ],
)
def test_durations_are_written_shortly(span: timedelta, text: str) -> None:
    assert format_duration(span) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50MiB", 50 * 1024**2),
        ("1KB", 1000),
        ("1kB", 1000),
        ("2 GiB", 2 * 1024**3),
        ("1.5KiB", 1536),
        ("7", 7),
        ("7B", 7),
    ],
)
def test_sizes_are_numbers_with_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1MiB", "1Mib", "1MiB/s", "1e3", "1  MiB"])
def test_other_text_is_no_size(text: str) -> None:
    assert parse_size(text) is None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1536, "1536B"), (2048, "2KiB"), (3000, "3KB"), (1024**3, "1GiB")]
)
def test_sizes_are_written_shortly(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0%", 0), ("2.5%", 0.025), ("150%", 1.5), ("-1%", -0.01)])
def test_shares_are_percentages(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)
    assert format_share(share) == text


@pytest.mark.parametrize("text", ["", "10", "%", "0.1", "10 %", "1e1%"])
def test_other_text_is_no_share(text: str) -> None:
    assert parse_share(text) is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("0 */6 * * *", "0 */6 * * *"),
        (" 0   3 * *   mon ", "0 3 * * mon"),
        ("0,30 8-18/2 1-7 JAN-MAR,Dec MON-FRI", "0,30 8-18/2 1-7 JAN-MAR,Dec MON-FRI"),
        ("5/15 * * * 7", "5/15 * * * 7"),
        ("5-5/2,7 * * * mon-1/3", "5,7 * * * MON"),
        ("0 0 31 2 MON", "0 0 31 2 MON"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 31 2,3 *", "0 0 31 2,3 *"),
        ("@hourly", "0 * * * *"),
        ("@WEEKLY", "0 0 * * 0"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_cron_expressions_are_five_fields(text: str, normal: str) -> None:
    assert looks_like_cron(text)
    assert normalise_cron(text) == normal


@pytest.mark.covers("E81")
@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("60 * * * *", "CRON_INVALID", 'the minute is "60", and goes from 0 to 59'),
        ("* 24 * * *", "CRON_INVALID", "the hour"),
        ("* * 0 * *", "CRON_INVALID", "the day of month"),
        ("* * * 13 *", "CRON_INVALID", "from 1 to 12 or JAN to DEC"),
        ("* * * FOO *", "CRON_INVALID", "the month"),
        ("* * * * 8", "CRON_INVALID", "from 0 to 7 or SUN to SAT"),
        ("* * * *", "CRON_INVALID", "it has 4 fields"),
        ("0 0 0 * * *", "CRON_INVALID", "it has 6 fields"),
        ("*/0 * * * *", "CRON_INVALID", "a step of 0"),
        ("30-10 * * * *", "CRON_INVALID", "runs backwards"),
        ("1, * * * *", "CRON_INVALID", "says nothing"),
        ("-1 * * * *", "CRON_INVALID", "says nothing"),
        ("1.5 * * * *", "CRON_INVALID", "says nothing"),
        ("99999 * * * *", "CRON_INVALID", "the minute"),
        ("@never", "CRON_INVALID", "shorthands are @hourly"),
        ("0 0 31 2 *", "CRON_NEVER_FIRES", "day 31"),
        ("0 0 30-31 FEB *", "CRON_NEVER_FIRES", "day 30"),
        ("0 0 31 4,6,9,11 *", "CRON_NEVER_FIRES", "day 31"),
    ],
)
def test_cron_expressions_with_faults_are_refused(text: str, code: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        normalise_cron(text)

    assert caught.value.type == code
    assert said in caught.value.message()


@pytest.mark.covers("E91")
@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "one"),
        ("x${A}y${B}z", "xoneytwoz"),
        ("${E}", ""),
        ("${E:-d}", "d"),
        ("${U:-d}", "d"),
        ("${U:-}", ""),
        ("${U:-a b:?c-$d}", "a b:?c-$d"),
        ("${A:-d}", "one"),
        ("${A:?m}", "one"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$$(x)", "$$(x)"),
        ("/^v1$/", "/^v1$/"),
        ("$A", "$A"),
        ("a$", "a$"),
        ("${S}", "${A}$(x)"),
    ],
)
def test_variables_are_replaced_once(text: str, result: str) -> None:
    assert interpolate(text, {"A": "one", "B": "two", "E": "", "S": "${A}$(x)"}) == result


@pytest.mark.covers("E91")
@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("${U}", "ENV_UNSET", "U is not set"),
        ("${U:?}", "ENV_UNSET", "U is not set"),
        ("${U:?set it}", "ENV_UNSET", "U is not set: set it"),
        ("${E:?set it}", "ENV_UNSET", "E is empty: set it"),
        ("${A${B}}", "INTERPOLATION_INVALID", "is no variable"),
        ("${U:-${A}}", "INTERPOLATION_INVALID", "is no variable"),
        ("${A", "INTERPOLATION_INVALID", "is no variable"),
        ("${}", "INTERPOLATION_INVALID", "is no variable"),
        ("${1}", "INTERPOLATION_INVALID", "is no variable"),
        ("${A-d}", "INTERPOLATION_INVALID", "${NAME:-default}"),
        ("${A:+d}", "INTERPOLATION_INVALID", "is no variable"),
        ("${A b}", "INTERPOLATION_INVALID", "is no variable"),
        ("$(cmd)", "INTERPOLATION_INVALID", "run a command"),
    ],
)
def test_variables_that_cannot_be_replaced_are_faults(text: str, code: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        interpolate(text, {"A": "one", "B": "two", "E": ""})

    assert caught.value.type == code
    assert said in caught.value.message()


@pytest.mark.parametrize("text", ["a", "$", "$$", "${A}", "$$${A}$(b)$", "/^v1$/"])
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    assert interpolate(escape(text), {}) == text
