"""The schedule of a rule."""

from __future__ import annotations

import zoneinfo
from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from mirrord.config.cron import looks_like_cron, normalise_cron
from mirrord.config.faults import fault
from mirrord.config.fields import text_reader
from mirrord.config.quantities import Interval, Jitter
from mirrord.config.section import Section
from mirrord.config.tree import Scalar
from mirrord.errors import quote


def _zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if text == "UTC":  # known to everyone, even where no time zone database is installed
            return text
        raise fault(
            "TIMEZONE_INVALID",
            f'"{quote(text, 60)}" is no time zone of this system; '
            "expected a name of the IANA database, Europe/Berlin for instance",
        ) from None
    return text


class ScheduleSection(Section):
    """When a rule runs: at an interval, or at the times of a cron expression."""

    shorthand: ClassVar = {
        "type": "string",
        "title": "interval or cron expression",
        "examples": ["15m", "0 */6 * * *", "@daily"],
    }

    every: Interval | None = Field(
        default=None,
        description="Run at this interval, counted from 1970-01-01 UTC, so that replicas and restarts agree. Without "
        "`jitter`, rules are spread over a tenth of the interval, at most a minute, by their names.",
        examples=["15m"],
    )
    cron: Annotated[str, text_reader("cron expression", normalise_cron)] | None = Field(
        default=None,
        description="Run at these times: minute, hour, day of month, month, day of week (0 or 7 is Sunday), with "
        "names, ranges, steps and lists; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Where day of month "
        "and day of week are both given, either is enough.",
        examples=["0 */6 * * *"],
    )
    timezone: Annotated[str, text_reader("time zone", _zone)] = Field(
        default="UTC", description="The time zone of `cron`, by its IANA name.", examples=["Europe/Berlin"]
    )
    jitter: Jitter = Field(
        default=timedelta(0),
        description="Start each run later by up to this, so that rules do not start together. By how much follows from "
        "the name of the rule and the time, and never reaches the next time.",
        examples=["2m"],
    )

    @classmethod
    def expand(cls, scalar: Scalar) -> dict[str, object]:
        """Return the mapping that an interval or a cron expression stands for."""
        return {"cron" if looks_like_cron(scalar.text) else "every": scalar}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise fault("SCHEDULE_INVALID", "a schedule has either every or cron")
        if self.every is not None and "timezone" in self.model_fields_set and self.timezone != "UTC":
            raise fault("SCHEDULE_INVALID", "a time zone means something with cron only", ("timezone",))
        if self.every is not None and self.jitter >= self.every:
            raise fault("SCHEDULE_INVALID", "jitter must be shorter than the interval", ("jitter",))
        return self
