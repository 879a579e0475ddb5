"""What holds for every schedule: what the configuration accepts can be scheduled, and moments come in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from mirrord.config.cron import normalise_cron
from mirrord.jobs.crontimes import cron_times
from mirrord.jobs.moments import next_moment, passed
from mirrord.planning.schedule import Cron, Every, Schedule

MONTHS = ("JAN", "feb", "Mar", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "mon", "Tue", "WED", "THU", "FRI", "SAT")
ZONES = (
    *("UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York"),
    "Australia/Lord_Howe",  # by half an hour
    "America/Havana",  # at midnight
    "Antarctica/Troll",  # by two hours
    "Africa/Casablanca",  # back and forth within weeks
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def fields(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high).map(str)
    value = st.one_of(numbers, numbers.map(lambda text: text.zfill(2)), *([st.sampled_from(names)] if names else []))
    span = st.builds("{}-{}".format, value, value)
    step = st.integers(0, 100).map(lambda number: f"/{number}") | st.just("")
    return st.lists(st.builds("{}{}".format, st.just("*") | value | span, step), min_size=1, max_size=3).map(",".join)


EXPRESSIONS = st.tuples(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12, MONTHS), fields(0, 7, WEEKDAYS)).map(
    " ".join
)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=2000)).map(lambda span: datetime(2024, 1, 1, tzinfo=UTC) + span)
SPANS = st.timedeltas(timedelta(seconds=1), timedelta(days=365))
JITTERS = st.timedeltas(timedelta(0), timedelta(days=1))
SCHEDULES = st.one_of(
    st.tuples(SPANS, JITTERS).map(lambda both: Every(interval=both[0], jitter=both[1] % both[0])),
    st.builds(
        Cron,
        expression=st.sampled_from(["* * * * *", "*/7 3 * * *", "30 2 * * *", "0 */6 * * *", "0 0 1,15 * MON"]),
        timezone=st.sampled_from(ZONES),
        jitter=JITTERS,
    ),
)


def accepted(expression: str) -> str | None:
    """Return a cron expression as the configuration keeps it; None: it is refused, though it may fire."""
    try:
        return normalise_cron(expression)
    except PydanticCustomError as exc:
        if exc.type == "CRON_NEVER_FIRES":
            with pytest.raises(CronSimError):
                CronSim(expression, START)
        return None


@given(EXPRESSIONS)
@example("5-5/2 7-7/3 * jan-1/2 sun-0/2")
@example("0 0 29 2 */7")
@example("0 0 31 2 */3")
@example("0 0 31 2 MON")
@example("* * */31 2 5")
def test_every_expression_that_the_configuration_accepts_fires_and_means_the_same_to_cronsim(expression: str) -> None:
    kept = accepted(expression)
    if kept is None:
        return

    simulated = CronSim(kept, START)
    first = next(cron_times(Cron(expression=kept, timezone="Europe/Berlin"), START))

    assert normalise_cron(kept) == kept
    assert simulated.minutes == numbers(expression, 0, 59, 60)
    assert simulated.hours == numbers(expression, 1, 23, 24)
    assert simulated.days == numbers(expression, 2, 31, 32, low=1)
    assert simulated.months == numbers(expression, 3, 12, 13, low=1)
    assert {day % 7 for day in simulated.weekdays if isinstance(day, int)} == numbers(expression, 4, 7, 7)
    assert first > START


def numbers(expression: str, index: int, high: int, modulus: int, *, low: int = 0) -> set[int]:
    """Return what a field of an expression says, read in the plainest way."""
    names = {name.upper(): str(number) for number, name in enumerate(MONTHS, 1)} if index == 3 else {}
    names |= {name.upper(): str(number) for number, name in enumerate(WEEKDAYS)} if index == 4 else {}
    taken = set()
    for item in expression.upper().split()[index].split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        start = low if first == "*" else int(names.get(first, first))
        end = int(names.get(last, last)) if dash else high if step or first == "*" else start
        taken |= {number % modulus for number in range(start, end + 1, int(step or 1))}
    return taken


@given(
    st.sampled_from(["* * * * *", "*/20 * * * *", "0 * * * *", "45 */2 * * *", "* 1,2 * * *", "0 */6 1 * *"]),
    st.sampled_from(ZONES),
    MOMENTS,
)
@example("0 */2 * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 12, tzinfo=UTC))
@example("45 * * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 12, tzinfo=UTC))
@example("0 * * * *", "Antarctica/Troll", datetime(2026, 3, 29, 0, 30, tzinfo=UTC))
def test_expressions_of_the_wall_clock_fire_whenever_a_clock_shows_such_a_time(
    expression: str, zone: str, after: datetime
) -> None:
    end = after + timedelta(hours=30)
    minutes, hours, days = (numbers(expression, index, high, 99) for index, high in enumerate((59, 23, 31)))
    minute = after.replace(second=0, microsecond=0)
    expected = []
    while (minute := minute + timedelta(minutes=1)) <= end:
        local = minute.astimezone(ZoneInfo(zone))
        if local.minute in minutes and local.hour in hours and local.day in days:
            expected.append(minute)

    times = cron_times(Cron(expression=expression, timezone=zone), after)

    assert list(islice(times, len(expected))) == expected
    assert next(times) > end


@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(ZONES), MOMENTS)
@example(30, 2, "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC))
@example(45, 1, "Australia/Lord_Howe", datetime(2026, 4, 4, 14, 50, tzinfo=UTC))
def test_times_of_day_come_once_on_every_day(minute: int, hour: int, zone: str, after: datetime) -> None:
    local = ZoneInfo(zone)

    times = list(islice(cron_times(Cron(expression=f"{minute} {hour} * * *", timezone=zone), after), 400))

    dates = [time.astimezone(local).date() for time in times]
    assert times[0] > after
    assert all(later - date == timedelta(days=1) for date, later in pairwise(dates))
    meant = [datetime(date.year, date.month, date.day, hour, minute, tzinfo=local) for date in dates]
    shown = [datetime_of.astimezone(UTC) for datetime_of in meant]
    # Only where clocks skip the time it is another one: the first that they show after the gap.
    for time, wished in zip(times, shown, strict=True):
        if time != wished:
            before = (time - timedelta(seconds=1)).astimezone(local)
            assert time.astimezone(local).utcoffset() != before.utcoffset()
            assert wished.astimezone(local).replace(tzinfo=None) > time.astimezone(local).replace(tzinfo=None)


@given(SCHEDULES, st.text(max_size=20), MOMENTS)
def test_moments_of_a_rule_come_in_order_and_in_its_jitter(schedule: Schedule, rule: str, after: datetime) -> None:
    moments = [after]
    while len(moments) < 10:
        moment = next_moment(schedule, rule, moments[-1])
        assert moment is not None
        moments.append(moment)

    assert all(moment < later for moment, later in pairwise(moments))
    assert moments[1:] == walk_by_hand(schedule, rule, after, moments[-1])


def walk_by_hand(schedule: Schedule, rule: str, after: datetime, end: datetime) -> list[datetime]:
    """Return the moments that are found when looking for each from the nominal time before it."""
    nominal = nominal_times(schedule, after - timedelta(days=2), end)
    found = []
    for time, following in pairwise(nominal):
        moment = next_moment(schedule, rule, time - timedelta(microseconds=1))
        assert moment is not None
        most = (
            schedule.jitter
            if schedule.jitter or isinstance(schedule, Cron)
            else min(schedule.interval / 10, timedelta(minutes=1))
        )
        assert moment < time or time <= moment <= time + most
        assert moment < following
        if moment >= time and after < moment <= end:
            found.append(moment)
    return found


def nominal_times(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """Return the times of a schedule without jitter, and one after ``end``."""
    if isinstance(schedule, Cron):
        times = cron_times(Cron(expression=schedule.expression, timezone=schedule.timezone), start)
        listed = []
        for time in times:
            listed.append(time)
            if time > end:
                break
        return listed
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = max(start, end - 12 * schedule.interval) if schedule.interval < timedelta(hours=1) else start
    number = (first - schedule.interval - epoch) // schedule.interval
    last = (end - epoch) // schedule.interval + 1
    return [epoch + index * schedule.interval for index in range(number, last + 1)]


@given(SCHEDULES, st.text(max_size=20), MOMENTS, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_what_passed_is_counted_as_it_would_have_rung(
    schedule: Schedule, rule: str, after: datetime, slept: timedelta
) -> None:
    first = next_moment(schedule, rule, after)
    assert first is not None
    now = first + slept

    last, missed = passed(schedule, rule, first, now)

    following = next_moment(schedule, rule, last)
    assert first <= last <= now
    assert following is None or following > now
    count, moment = 0, first
    while moment < last and count < 1000:
        later = next_moment(schedule, rule, moment)
        assert later is not None
        count, moment = count + 1, later
    assert missed == count
