"""When a rule runs, as values; `mirrord.jobs` finds the moments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


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
