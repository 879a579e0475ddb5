"""The agenda by itself: a week of rules, clocks that jump, schedules that change."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from mirrord.errors import StartupError
from mirrord.jobs.agenda import Agenda
from mirrord.jobs.moments import MISSED_LIMIT
from mirrord.planning.schedule import Cron, Every, Schedule

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
QUARTER = Every(interval=15 * MINUTE)
DAILY = Cron(expression="0 12 * * *")


def agenda_of(now: datetime = NOON, /, **schedules: Schedule) -> Agenda:
    agenda = Agenda()
    agenda.replace(schedules, now)
    return agenda


def rung(agenda: Agenda, now: datetime) -> dict[str, tuple[datetime, int]]:
    return {firing.rule: (firing.due, firing.missed) for firing in agenda.due(now)}


def run_until(agenda: Agenda, end: datetime) -> dict[str, list[datetime]]:
    """Let an agenda ring at each of its moments, and return what rang by rule."""
    rang: dict[str, list[datetime]] = defaultdict(list)
    while (moment := agenda.next_moment) is not None and moment <= end:
        for firing in agenda.due(moment):
            assert firing.due == moment
            assert firing.missed == 0
            rang[firing.rule].append(firing.due)
    return rang


def test_week_of_fifty_rules_rings_every_moment_once() -> None:
    """The week in which Berlin's clocks go forward."""
    start = datetime(2026, 3, 23, tzinfo=UTC)
    week = 7 * DAY
    intervals = [timedelta(minutes=number) for number in (5, 7, 10, 15, 30, 60, 90, 240, 1440, 11)]
    every: dict[str, Schedule] = {f"every {i} {n}": Every(interval=i) for i in intervals for n in range(4)}
    times = {
        "* * * * *": 7 * 24 * 60,
        "0 * * * *": 7 * 24,
        "*/20 8-17 * * MON-FRI": 5 * 10 * 3,
        "30 2 * * *": 7,
        "0 0 * * 0": 1,
        "0 0 * * 7": 1,
        "0 */6 * * *": 28,
        "0 6 25 * THU": 2,
        "15 12 24-26 3 *": 3,
        "0 0 1 1 *": 0,
    }
    cron: dict[str, Schedule] = {text: Cron(expression=text, timezone="Europe/Berlin") for text in times}
    agenda = agenda_of(start, **every, **cron)

    rang = run_until(agenda, start + week)

    assert len(every) + len(cron) == 50
    assert {text: len(rang[text]) for text in times} == times
    for rule, schedule in every.items():
        assert isinstance(schedule, Every)
        assert week // schedule.interval <= len(rang[rule]) <= -(-week // schedule.interval)
        assert all(later - moment == schedule.interval for moment, later in pairwise(rang[rule]))


def test_rules_with_jitter_ring_once_for_each_of_their_times() -> None:
    hourly = Cron(expression="0 * * * *", jitter=20 * MINUTE)
    agenda = agenda_of(a=hourly, b=Every(interval=HOUR, jitter=59 * MINUTE))

    rang = run_until(agenda, NOON + 7 * DAY)

    assert [moment.replace(minute=0, second=0, microsecond=0) for moment in rang["a"]] == [
        NOON + number * HOUR for number in range(0 if rang["a"][0] < NOON + HOUR else 1, len(rang["a"]))
    ]
    for moments in rang.values():
        hours = [moment.replace(minute=0, second=0, microsecond=0) for moment in moments]
        assert all(later - hour == HOUR for hour, later in pairwise(hours))
        assert len(hours) in {167, 168, 169}


@pytest.mark.covers("D89")
def test_rules_that_were_slept_through_ring_once_and_count_what_they_missed() -> None:
    agenda = agenda_of(quarter=QUARTER, daily=DAILY, hourly=Cron(expression="0 * * * *"))
    first = agenda.next_run("quarter")
    assert first is not None

    rang = rung(agenda, NOON + 8 * HOUR + MINUTE)

    assert rang["quarter"] == (first + 32 * QUARTER.interval, 32)
    assert rang["hourly"] == (NOON + 8 * HOUR, 7)
    assert "daily" not in rang
    assert rung(agenda, NOON + 8 * HOUR + 2 * MINUTE) == {}


@pytest.mark.covers("D88")
def test_clock_that_jumps_forward_by_three_years_rings_each_rule_once() -> None:
    seconds: dict[str, Schedule] = {f"s{number}": Every(interval=timedelta(seconds=5)) for number in range(20)}
    agenda = agenda_of(daily=DAILY, minutely=Cron(expression="* * * * *"), **seconds)
    later = NOON + 3 * 365 * DAY

    rang = rung(agenda, later)

    assert rang["daily"] == (later, MISSED_LIMIT)
    assert rang["minutely"] == (later, MISSED_LIMIT)
    assert all(
        later - due < timedelta(seconds=5) and missed == MISSED_LIMIT for due, missed in rang.values() if due < later
    )
    assert rang.keys() == {"daily", "minutely", *seconds}
    assert agenda.next_run("daily") == later + DAY
    assert agenda.next_moment is not None
    assert later < agenda.next_moment <= later + timedelta(seconds=5)


@pytest.mark.covers("D88")
def test_clock_that_jumps_back_by_three_years_plans_anew_and_rings_nothing_at_once() -> None:
    agenda = agenda_of(quarter=QUARTER, daily=DAILY)
    run_until(agenda, NOON + DAY)
    before = NOON - 3 * 365 * DAY

    assert rung(agenda, before + MINUTE) == {}

    assert agenda.next_run("daily") == before + DAY
    assert agenda.next_moment is not None
    assert before + MINUTE < agenda.next_moment <= before + 17 * MINUTE
    assert len(run_until(agenda, before + DAY)["quarter"]) in {95, 96}


def test_clock_that_was_years_ahead_and_is_set_right_costs_one_extra_run() -> None:
    agenda = agenda_of(quarter=QUARTER, yearly=Cron(expression="0 0 1 1 *"))
    ahead = rung(agenda, NOON + 3 * 365 * DAY)

    rang = run_until_back(agenda, NOON + MINUTE, NOON + HOUR + MINUTE)

    assert ahead.keys() == {"quarter", "yearly"}
    assert len(rang["quarter"]) == 4
    assert agenda.next_run("yearly") == datetime(2027, 1, 1, tzinfo=UTC)


def run_until_back(agenda: Agenda, now: datetime, end: datetime) -> dict[str, list[datetime]]:
    """Set the clock back to ``now``, where nothing may ring, and let it go on from there."""
    assert agenda.due(now) == []
    return run_until(agenda, end)


@pytest.mark.covers("D88")
def test_clock_that_is_set_back_by_an_hour_rings_no_moment_of_a_slow_rule_twice() -> None:
    """A fast one goes on at its own times, as it would stand still for an hour otherwise."""
    agenda = agenda_of(NOON - 2 * HOUR, quarter=QUARTER, daily=DAILY, hourly=Cron(expression="0 * * * *"))
    run_until(agenda, NOON + MINUTE)

    rang = run_until_back(agenda, NOON - HOUR + 2 * MINUTE, NOON + MINUTE)

    assert "daily" not in rang
    assert agenda.next_run("daily") == NOON + DAY
    assert rang["hourly"] == []
    assert agenda.next_run("hourly") == NOON + HOUR
    assert len(rang["quarter"]) == 4


def test_clock_that_is_set_back_by_a_second_rings_nothing_twice() -> None:
    agenda = agenda_of(NOON - HOUR, daily=DAILY, quarter=QUARTER, fast=Every(interval=timedelta(seconds=5)))
    run_until(agenda, NOON)
    last = {rule: agenda.next_run(rule) for rule in ("daily", "quarter", "fast")}

    assert rung(agenda, NOON - timedelta(seconds=1)) == {}

    assert {rule: agenda.next_run(rule) for rule in last} == last


def test_clock_that_is_set_back_by_more_than_two_hours_lets_a_day_ring_again() -> None:
    """It may have been wrong before: a run too many is harmless, one too few is not."""
    agenda = agenda_of(NOON - HOUR, daily=DAILY)
    run_until(agenda, NOON + MINUTE)

    rang = run_until_back(agenda, NOON - 3 * HOUR, NOON + DAY)

    assert rang["daily"] == [NOON, NOON + DAY]


def test_clock_that_wanders_back_step_by_step_leaves_no_rule_standing_still() -> None:
    agenda = agenda_of(NOON - HOUR, quarter=QUARTER)
    run_until(agenda, NOON + MINUTE)
    for step in range(1, 30):
        now = NOON - step * 10 * MINUTE
        assert agenda.due(now) == []
        assert agenda.next_moment is not None
        assert agenda.next_moment - now <= 2 * QUARTER.interval


def test_replacing_schedules_keeps_what_did_not_change() -> None:
    agenda = agenda_of(same=QUARTER, changed=QUARTER, gone=QUARTER)
    due = agenda.next_run("same")
    assert due is not None

    agenda.replace({"same": QUARTER, "changed": DAILY, "new": Every(interval=MINUTE)}, due + MINUTE)

    assert agenda.next_run("same") == due
    assert agenda.next_run("changed") == NOON + DAY
    assert agenda.next_run("gone") is None
    new = agenda.next_run("new")
    assert new is not None
    assert due + MINUTE < new <= due + 2 * MINUTE
    assert rung(agenda, due + MINUTE) == {"same": (due, 0)}


def test_removed_rule_never_rings() -> None:
    agenda = agenda_of(a=QUARTER, b=QUARTER)

    agenda.replace({"b": QUARTER}, NOON)

    assert rung(agenda, NOON + HOUR).keys() == {"b"}
    agenda.replace({}, NOON + HOUR)
    assert agenda.next_moment is None
    assert agenda.due(NOON + DAY) == []


def test_schedules_of_which_one_cannot_be_followed_change_nothing() -> None:
    agenda = agenda_of(a=QUARTER)
    before = agenda.next_run("a")

    with pytest.raises(StartupError):
        agenda.replace({"a": DAILY, "b": Cron(expression="61 * * * *")}, NOON)

    assert agenda.next_run("a") == before
    assert agenda.next_run("b") is None


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(None, True, id="never-ran"),
        pytest.param(NOON - DAY - MINUTE, True, id="ran-before-the-moment"),
        pytest.param(NOON - DAY, True, id="a-day-ago"),
        pytest.param(NOON, False, id="ran-at-the-moment"),
        pytest.param(NOON + MINUTE, False, id="ran-after-it"),
        pytest.param(NOON + 300 * DAY, False, id="ran-in-the-future"),
    ],
)
def test_rule_is_overdue_when_a_moment_passed_since_it_ran(last: datetime | None, expected: bool) -> None:
    agenda = agenda_of(daily=DAILY)

    assert agenda.overdue("daily", last, NOON + 5 * MINUTE) is expected


def test_rule_without_schedule_is_never_overdue() -> None:
    agenda = agenda_of()

    assert agenda.overdue("a", None, NOON) is False
    assert agenda.overdue("a", NOON - DAY, NOON) is False


def test_ten_thousand_rules_are_planned_and_ring_in_order() -> None:
    schedules: dict[str, Schedule] = {
        f"rule {number}": Every(interval=15 * MINUTE) if number % 10 else Cron(expression=f"{number % 60} * * * *")
        for number in range(10_000)
    }
    agenda = agenda_of(**schedules)
    agenda.replace(schedules, NOON)

    firings = [firing for minute in range(1, 62) for firing in agenda.due(NOON + minute * MINUTE)]

    assert [firing.due for firing in firings] == sorted(firing.due for firing in firings)
    assert sum(firing.missed for firing in firings) == 0
    count = defaultdict[str, int](int)
    for firing in firings:
        count[firing.rule] += 1
    assert all(count[rule] in ({4, 5} if isinstance(schedules[rule], Every) else {1, 2}) for rule in schedules)
