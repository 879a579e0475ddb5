"""Moments of schedules in tables: intervals, cron expressions, days when clocks are changed, jitter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from mirrord.errors import StartupError
from mirrord.jobs.crontimes import cron_times
from mirrord.jobs.moments import EPOCH, MISSED_LIMIT, intervals_of, longest_pause, next_moment, passed
from mirrord.planning.schedule import Cron, Every, Schedule, describe
from tests.fakes.runs import rule as make_rule

MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    found = islice(cron_times(Cron(expression=expression, timezone=zone), at(after)), count)
    return [time.strftime("%Y-%m-%d %H:%M") for time in found]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        pytest.param("0 0 * * 0", "2026-01-01", ["2026-01-04 00:00", "2026-01-11 00:00"], id="sunday-0"),
        pytest.param("0 0 * * 7", "2026-01-01", ["2026-01-04 00:00", "2026-01-11 00:00"], id="sunday-7"),
        pytest.param("0 0 * * Sun", "2026-01-01", ["2026-01-04 00:00", "2026-01-11 00:00"], id="sunday-by-name"),
        pytest.param("0 0 * * 1", "2026-01-01", ["2026-01-05 00:00"], id="monday-1"),
        pytest.param("0 0 * FEB *", "2026-01-01", ["2026-02-01 00:00", "2026-02-02 00:00"], id="month-by-name"),
        pytest.param(
            "0 0 13 * FRI", "2026-02-01", ["2026-02-06 00:00", "2026-02-13 00:00", "2026-02-20 00:00"], id="either-day"
        ),
        pytest.param("0 0 13 1-6 FRI", "2026-04-10", ["2026-04-13 00:00", "2026-04-17 00:00"], id="either-day-month"),
        pytest.param("0 0 */2 * FRI", "2026-01-01", ["2026-01-09 00:00", "2026-01-23 00:00"], id="both-days-with-star"),
        pytest.param("0 0 29 2 *", "2026-01-01", ["2028-02-29 00:00", "2032-02-29 00:00"], id="leap-day"),
        pytest.param("0 0 29 2 *", "2096-03-01", ["2104-02-29 00:00"], id="no-leap-day-in-2100"),
        pytest.param(
            "0 0 31 * *", "2026-01-31", ["2026-03-31 00:00", "2026-05-31 00:00", "2026-07-31 00:00"], id="months-of-31"
        ),
        pytest.param("0 0 30,31 2,3 *", "2026-01-31", ["2026-03-30 00:00", "2026-03-31 00:00"], id="short-month"),
        pytest.param("59 23 31 12 *", "2026-12-31T23:58:59", ["2026-12-31 23:59", "2027-12-31 23:59"], id="new-year"),
        pytest.param("*/20 8 * * *", "2026-01-01T08:20", ["2026-01-01 08:40", "2026-01-02 08:00"], id="strictly-after"),
    ],
)
def test_cron_expressions_fire_as_cron_reads_them(expression: str, after: str, expected: list[str]) -> None:
    assert times(expression, "UTC", after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        pytest.param(
            *("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00"),
            ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
            id="berlin-spring-after-the-gap",
        ),
        pytest.param(
            *("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T22:00"),
            ["2026-03-29 01:00", "2026-03-29 01:30", "2026-03-30 00:00"],
            id="berlin-spring-skipped-times-fire-once",
        ),
        pytest.param(
            *("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00"),
            ["2026-10-25 00:30", "2026-10-26 01:30"],
            id="berlin-autumn-once",
        ),
        pytest.param(
            *("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10"),
            ["2026-10-26 01:30"],
            id="berlin-autumn-not-in-the-second-hour",
        ),
        pytest.param(
            *("0 * * * *", "Europe/Berlin", "2026-10-24T23:30"),
            ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"],
            id="berlin-autumn-every-hour",
        ),
        pytest.param(
            *("*/30 2 25 10 *", "Europe/Berlin", "2026-10-25T00:45"),
            ["2026-10-25 01:00", "2026-10-25 01:30", "2027-10-25 00:00"],
            id="berlin-autumn-second-hour-of-one-day",
        ),
        pytest.param(
            *("0 */6 * * *", "Europe/Berlin", "2026-03-28T21:00"),
            ["2026-03-28 23:00", "2026-03-29 04:00", "2026-03-29 10:00"],
            id="berlin-spring-every-six-hours",
        ),
        pytest.param(
            *("30 2 * * *", "America/New_York", "2026-03-07T12:00"),
            ["2026-03-08 07:00", "2026-03-09 06:30"],
            id="new-york-spring",
        ),
        pytest.param(
            *("30 1 * * *", "America/New_York", "2026-10-31T12:00"),
            ["2026-11-01 05:30", "2026-11-02 06:30"],
            id="new-york-autumn",
        ),
        pytest.param(
            *("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00"),
            ["2026-10-03 15:30", "2026-10-04 15:15"],
            id="lord-howe-spring-by-half-an-hour",
        ),
        pytest.param(
            *("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00"),
            ["2026-04-04 14:45", "2026-04-05 15:15"],
            id="lord-howe-autumn-once",
        ),
        pytest.param(
            *("0 */2 * * *", "Australia/Lord_Howe", "2026-04-04T12:30"),
            ["2026-04-04 13:00", "2026-04-04 15:30", "2026-04-04 17:30"],
            id="lord-howe-autumn-every-two-hours",
        ),
        pytest.param(
            *("0 2 * * *", "Asia/Kolkata", "2026-03-28T00:00"),
            ["2026-03-28 20:30", "2026-03-29 20:30"],
            id="kolkata-never-changes",
        ),
        pytest.param(
            *("0 0 * * *", "America/Havana", "2026-03-07T12:00"),
            ["2026-03-08 05:00", "2026-03-09 04:00"],
            id="havana-has-no-midnight",
        ),
        pytest.param(
            *("0 12 * * *", "Pacific/Apia", "2011-12-29T20:00"),
            ["2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"],
            id="apia-has-no-30th-of-december",
        ),
    ],
)
def test_cron_expressions_hold_on_days_when_clocks_are_changed(
    expression: str, zone: str, after: str, expected: list[str]
) -> None:
    assert times(expression, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(Cron(expression="0 0 30 2 *"), id="expression"),
        pytest.param(Cron(expression="@daily x x x x"), id="no-number"),
        pytest.param(Cron(expression="* * * * *", timezone="Mars/Base"), id="zone"),
        pytest.param(Cron(expression="* * * * *", timezone="../etc/passwd"), id="zone-a-path"),
    ],
)
def test_schedule_that_cannot_be_followed_is_our_error(schedule: Schedule) -> None:
    with pytest.raises(StartupError) as caught:
        next_moment(schedule, "a", EPOCH)

    assert caught.value.code == "SCHEDULE_INVALID"


def test_rare_days_are_found_over_decades() -> None:
    """With a star before it, the day of the week must fit as well."""
    schedule = Cron(expression="0 0 29 2 */7")

    assert next_moment(schedule, "a", at("2061-01-01")) == at("2088-02-29")
    assert next_moment(schedule, "a", at("2089-01-01")) == at("2128-02-29")


@pytest.mark.parametrize("minutes", [1, 7, 15, 60, 1440])
def test_intervals_count_from_the_epoch_and_lie_one_interval_apart(minutes: int) -> None:
    every = Every(interval=minutes * MINUTE)

    first = next_moment(every, "rule", at("2026-01-01"))
    assert first is not None
    second = next_moment(every, "rule", first)

    assert second == first + every.interval
    assert (first - EPOCH) % every.interval <= min(every.interval / 10, MINUTE)


def test_intervals_do_not_depend_on_when_they_are_asked_for() -> None:
    """Every replica and every restart finds the same moments."""
    every = Every(interval=15 * MINUTE, jitter=5 * MINUTE)

    asked = [at("2026-01-01T12:06") + timedelta(seconds=second) for second in range(540)]
    found = {next_moment(every, "rule", moment) for moment in asked}

    assert len(found) == 1


def test_rules_of_one_interval_are_spread_by_their_names() -> None:
    every = Every(interval=15 * MINUTE)

    found = [next_moment(every, f"rule {number}", at("2026-01-01T12:14")) for number in range(200)]

    seconds = [(moment - at("2026-01-01T12:15")).total_seconds() for moment in found if moment]
    assert 0 <= min(seconds) < 6
    assert 54 < max(seconds) <= 60
    assert max(sum(start <= second < start + 1 for second in seconds) for start in range(61)) < 15


def test_short_intervals_are_spread_by_a_tenth() -> None:
    every = Every(interval=timedelta(seconds=10))

    found = [next_moment(every, f"rule {number}", at("2026-01-01T11:59:59.5")) for number in range(50)]

    assert all(moment and at("2026-01-01T12:00") <= moment <= at("2026-01-01T12:00:01") for moment in found)


@pytest.mark.parametrize(
    "schedule",
    [Every(interval=15 * MINUTE, jitter=5 * MINUTE), Cron(expression="*/15 * * * *", jitter=5 * MINUTE)],
    ids=["every", "cron"],
)
def test_jitter_differs_from_run_to_run_and_from_rule_to_rule(schedule: Schedule) -> None:
    late = {}
    for rule in "ab":
        moment = at("2026-01-01T12:14:59")
        for index in range(20):
            found = next_moment(schedule, rule, moment)
            assert found is not None
            nominal = at("2026-01-01T12:15") + index * 15 * MINUTE
            late[rule, index] = found - nominal
            moment = found

    assert len(set(late.values())) == 40
    assert all(timedelta(0) <= delay <= 5 * MINUTE for delay in late.values())


def test_jitter_longer_than_the_pause_between_times_stays_within_it() -> None:
    cron = Cron(expression="* * * * *", jitter=timedelta(hours=3))
    moments = [at("2026-01-01T12:00")]
    for _ in range(200):
        moment = next_moment(cron, "a", moments[-1])
        assert moment is not None
        moments.append(moment)

    minutes = [moment.replace(second=0, microsecond=0) for moment in moments[1:]]
    assert all(later - minute == MINUTE for minute, later in pairwise(minutes))


@pytest.mark.parametrize(
    ("schedule", "until", "missed"),
    [
        pytest.param(Every(interval=15 * MINUTE), timedelta(hours=8), 32, id="interval-eight-hours"),
        pytest.param(Every(interval=timedelta(seconds=5)), timedelta(days=1095), MISSED_LIMIT, id="interval-years"),
        pytest.param(Cron(expression="0 * * * *"), timedelta(hours=8), 8, id="cron-eight-hours"),
        pytest.param(Cron(expression="* * * * *"), timedelta(days=1095), MISSED_LIMIT, id="cron-years"),
        pytest.param(Cron(expression="* * * * *", jitter=MINUTE), timedelta(days=1095), MISSED_LIMIT, id="cron-jitter"),
        pytest.param(Cron(expression="0 0 1 1 *"), timedelta(days=1095), 2, id="cron-yearly"),
        pytest.param(Cron(expression="0 0 1 1 *"), timedelta(0), 0, id="nothing"),
    ],
)
def test_moments_that_passed_are_counted_up_to_a_limit(schedule: Schedule, until: timedelta, missed: int) -> None:
    first = next_moment(schedule, "a", at("2026-01-01T00:00"))
    assert first is not None

    last, count = passed(schedule, "a", first, first + until)

    assert count == missed
    following = next_moment(schedule, "a", last)
    assert following is not None
    assert last <= first + until < following


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Every(interval=15 * MINUTE), "every 15m"),
        (Every(interval=90 * MINUTE, jitter=MINUTE), "every 1h30m, jitter 1m"),
        (Cron(expression="0 */6 * * *", timezone="Europe/Berlin"), "0 */6 * * * Europe/Berlin"),
        (Cron(expression="0 3 * * MON", jitter=2 * MINUTE), "0 3 * * MON UTC, jitter 2m"),
    ],
)
def test_schedules_are_told_in_words(schedule: Schedule, words: str) -> None:
    assert describe(schedule) == words


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@pytest.mark.parametrize("day", [f"2026-01-{number:02}T12:30" for number in range(5, 12)])
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param(Every(interval=15 * MINUTE), 15 * MINUTE, id="interval"),
        pytest.param(Every(interval=hours(1), jitter=5 * MINUTE), 65 * MINUTE, id="interval-with-jitter"),
        pytest.param(Cron(expression="0 */6 * * *"), hours(6), id="even"),
        pytest.param(Cron(expression="0 8-18 * * MON-FRI"), hours(62), id="weekend"),
        pytest.param(Cron(expression="* 8-18 * * MON-FRI"), hours(61) + MINUTE, id="weekend-each-minute"),
        pytest.param(Cron(expression="0 0 1 1 *", jitter=hours(1)), hours(365 * 24 + 1), id="once-a-year"),
    ],
)
def test_longest_pause_is_found_on_whatever_day(schedule: Schedule, expected: timedelta, day: str) -> None:
    assert longest_pause(schedule, at(day)) == expected


def test_rules_without_a_schedule_have_no_interval() -> None:
    named = make_rule("a.example/app", "b.example/app", name="named")
    often = replace(named, name="often", schedule=Every(interval=15 * MINUTE))
    daily = replace(named, name="daily", schedule=Cron(expression="0 3 * * *"))

    assert intervals_of([named, often, daily], at("2026-01-05")) == {"often": 900, "daily": 86400}
