"""The times of a cron expression in a time zone, by cronsim, right on days when clocks are changed.

There are two kinds of expressions, as in Debian's cron. Where neither minute nor hour begins with ``*``, a time of day
is meant: it comes once on every day, after the gap where clocks skip it, and the first time where clocks show it twice.
Any other is taken by the wall clock: it comes whenever a clock on the wall shows such a time, so an hourly one comes
every hour. cronsim walks in steps of an hour there and passes over times where clocks are changed by half an hour
(Australia/Lord_Howe), hence `_by_wall_clock`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mirrord.errors import StartupError, quote
from mirrord.planning.schedule import Cron

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


def cron_times(cron: Cron, after: datetime) -> Iterator[datetime]:
    """Return the times of ``cron``, without jitter, that are later than ``after``, in UTC; fifty empty years end them.

    Raises:
        StartupError: the expression or the time zone is not valid (SCHEDULE_INVALID).
    """
    zone = _zone(cron.timezone)
    minute, hour, *_ = cron.expression.split()
    if minute.startswith("*") or hour.startswith("*"):
        return _by_wall_clock(cron, zone, after)
    return _by_day(cron, zone, after)


def _by_day(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for local in _simulate(cron, after.astimezone(zone)):
        time = local.astimezone(UTC)
        # While clocks show an hour for the second time, cronsim still names times of the first.
        if time > after:
            yield time


def _by_wall_clock(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    moment = after
    while True:
        offset = _offset(zone, moment)
        # A change of clocks may be a matching time itself; cronsim looks from the next second on.
        wall = (moment + offset).replace(tzinfo=None)
        for local in _simulate(cron, wall if moment == after else wall - _SECOND):
            time = local.replace(tzinfo=UTC) - offset
            change = _first_change(zone, moment, time)
            if change is not None:
                moment = change
                break
            yield time
            moment = time
        else:
            return


def _first_change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime | None:
    """Return the first moment after ``start`` and up to ``end`` when the zone's clocks are changed."""
    before = _offset(zone, start)
    low = start
    while low < end:
        high = min(low + _DAY, end)
        if _offset(zone, high) == before:
            low = high
            continue
        low = low.replace(microsecond=0)
        high = high.replace(microsecond=0)
        while high - low > _SECOND:
            middle = low + (high - low) // (2 * _SECOND) * _SECOND
            low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
        return high
    return None


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _simulate(cron: Cron, start: datetime) -> CronSim:
    try:
        return CronSim(cron.expression, start)
    except CronSimError as exc:
        message = f'the cron expression "{quote(cron.expression, 100)}" cannot be followed: {exc}'
        raise StartupError(message, code="SCHEDULE_INVALID") from exc


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        message = f'the time zone "{quote(name, 100)}" is not known here'
        raise StartupError(message, code="SCHEDULE_INVALID") from exc
