"""When a rule runs, as values; `mirrord.jobs` finds the moments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mirrord.planning.duration import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """At an interval, counted from the epoch: every replica and every restart gives the same moments."""

    interval: timedelta
    jitter: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """At the times of a cron expression of five fields, in the zone of that IANA name."""

    expression: str
    timezone: str = "UTC"
    jitter: timedelta = timedelta(0)


Schedule = Every | Cron
"""What tells when rules are due."""


def describe(schedule: Schedule) -> str:
    """Return a schedule in words: ``every 15m``, or ``0 */6 * * * Europe/Berlin, jitter 2m``."""
    if isinstance(schedule, Every):
        words = f"every {format_duration(schedule.interval)}"
    else:
        words = f"{schedule.expression} {schedule.timezone}"
    return f"{words}, jitter {format_duration(schedule.jitter)}" if schedule.jitter else words
