"""The moments of a schedule: a pure function of schedule and rule, equal on all replicas and after every restart."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, pairwise, takewhile

from mirrord.jobs.crontimes import cron_times
from mirrord.planning.rule import Rule
from mirrord.planning.schedule import Cron, Every, Schedule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAUSES_OVER = timedelta(days=7)
"""The longest pause of a cron expression is looked for in so long a time: nights and weekends lie in it."""

MISSED_LIMIT = 1000
"""Moments that passed unused are counted up to this many."""

_SPREAD_SHARE = 10
_SPREAD_LIMIT = timedelta(minutes=1)
_TICK = timedelta(milliseconds=1)


def next_moment(schedule: Schedule, rule: str, after: datetime) -> datetime | None:
    """Return the first moment of a rule's schedule, jitter included, that is later than ``after`` (UTC).

    None: there is none within fifty years.

    Raises:
        StartupError: the expression or the time zone is not valid (SCHEDULE_INVALID).
    """
    return next(_moments(schedule, rule, after), None)


def longest_pause(schedule: Schedule, now: datetime) -> timedelta | None:
    """Return how far apart the moments of a schedule are at most, jitter included; None: there are not two of them.

    Raises:
        StartupError: the expression or the time zone is not valid (SCHEDULE_INVALID).
    """
    if isinstance(schedule, Every):
        return schedule.interval + schedule.jitter
    longest: timedelta | None = None
    for earlier, later in pairwise(cron_times(schedule, now)):
        longest = max(longest or later - earlier, later - earlier)
        if later > now + PAUSES_OVER:  # at most one time a minute
            break
    return longest + schedule.jitter if longest is not None else None


def intervals_of(rules: Sequence[Rule], now: datetime) -> dict[str, float]:
    """Return by rule how far apart the moments of its schedule are at most, in seconds; rules without one are left out.

    Raises:
        StartupError: an expression or a time zone is not valid (SCHEDULE_INVALID).
    """
    pauses: dict[Schedule, timedelta | None] = {}  # most rules share a schedule
    for rule in rules:
        if rule.schedule is not None and rule.schedule not in pauses:
            pauses[rule.schedule] = longest_pause(rule.schedule, now)
    found = ((rule.name, pauses[rule.schedule]) for rule in rules if rule.schedule is not None)
    return {name: pause.total_seconds() for name, pause in found if pause is not None}


def passed(schedule: Schedule, rule: str, first: datetime, now: datetime) -> tuple[datetime, int]:
    """Return the last moment that is no later than ``now``, and how many there were before it from ``first`` on.

    ``first`` is a moment of the schedule, no later than ``now``. Not more than `MISSED_LIMIT` are counted.
    """
    if isinstance(schedule, Every):
        number = (now - EPOCH) // schedule.interval
        if _interval_moment(schedule, rule, number) > now:
            number -= 1
        missed = number - (first - EPOCH) // schedule.interval
        return _interval_moment(schedule, rule, number), min(missed, MISSED_LIMIT)
    later = takewhile(lambda moment: moment <= now, _moments(schedule, rule, first))
    seen = list(islice(later, MISSED_LIMIT))
    if len(seen) < MISSED_LIMIT:
        return [first, *seen][-1], len(seen)
    return _last_time(schedule, rule, now), MISSED_LIMIT


def _moments(schedule: Schedule, rule: str, after: datetime) -> Iterator[datetime]:
    return _intervals(schedule, rule, after) if isinstance(schedule, Every) else _times(schedule, rule, after)


def _intervals(every: Every, rule: str, after: datetime) -> Iterator[datetime]:
    number = (after - EPOCH) // every.interval
    if _interval_moment(every, rule, number) <= after:
        number += 1
    while True:
        yield _interval_moment(every, rule, number)
        number += 1


def _interval_moment(every: Every, rule: str, number: int) -> datetime:
    """Return a moment by its number; it lies before the next multiple of the interval, so none overtakes another."""
    nominal = EPOCH + number * every.interval
    if every.jitter:
        return nominal + _delay(f"{rule}\0{nominal.isoformat()}", min(every.jitter, every.interval - _TICK))
    # By the name alone: the runs of a rule are one interval apart, and rules do not start together.
    return nominal + _delay(rule, min(every.interval / _SPREAD_SHARE, _SPREAD_LIMIT))


def _times(cron: Cron, rule: str, after: datetime) -> Iterator[datetime]:
    if not cron.jitter:
        yield from cron_times(cron, after)
        return
    times = cron_times(cron, _before_last_time(cron, after))
    for nominal, following in pairwise(chain(times, [None])):
        assert nominal is not None
        most = min(cron.jitter, following - nominal - _TICK) if following else cron.jitter
        moment = nominal + _delay(f"{rule}\0{nominal.isoformat()}", most)
        if moment > after:
            yield moment


def _before_last_time(cron: Cron, now: datetime) -> datetime:
    """Return something earlier than the last time up to ``now``; at most the jitter earlier, what is older is over."""
    span = min(timedelta(minutes=1), cron.jitter)
    while span < cron.jitter:
        first = next(cron_times(cron, now - span), None)
        if first is not None and first <= now:
            break
        span = min(2 * span, cron.jitter)
    return now - span


def _last_time(cron: Cron, rule: str, now: datetime) -> datetime:
    """Return the last moment up to ``now``, of a schedule that has had some."""
    span = timedelta(minutes=1)
    while True:
        moments = takewhile(lambda moment: moment <= now, _times(cron, rule, now - span))
        last = deque(moments, maxlen=1)
        if last:
            return last[0]
        span *= 2


def _delay(key: str, most: timedelta) -> timedelta:
    """Return a span from 0 to ``most`` in milliseconds, always the same for a key, evenly spread over keys."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return (number * (most // _TICK + 1) >> 64) * _TICK
