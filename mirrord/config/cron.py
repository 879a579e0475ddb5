"""Cron expressions: five fields, checked field by field, with a proof that they can fire at all.

Fields are those of vixie cron: minute, hour, day of month, month, day of week (0 and 7 are Sunday), with names
(``MON``, ``JAN``), ranges, steps, lists, and ``@hourly`` and its kin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirrord.config.faults import fault
from mirrord.errors import quote

_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
_LONGEST_MONTH = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1))
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = re.compile(r"(?:(?P<any>\*)|(?P<low>[0-9A-Z]+)(?:-(?P<high>[0-9A-Z]+))?)(?:/(?P<step>[0-9]{1,4}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """What one field may say."""

    name: str
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


def looks_like_cron(text: str) -> bool:
    """Say whether a schedule is meant as a cron expression rather than as a duration."""
    return text.startswith("@") or len(text.split()) > 2 or "*" in text  # noqa: PLR2004 - "5 minutes" is no cron


def normalise_cron(text: str) -> str:
    """Return ``text`` as five fields separated by single spaces, shorthands written out.

    Raises:
        PydanticCustomError: not valid (CRON_INVALID), or no such day exists (CRON_NEVER_FIRES).
    """
    expression = " ".join(text.split())
    if expression.startswith("@"):
        if expression.lower() not in _SHORTHANDS:
            raise _invalid(text, f"shorthands are {', '.join(_SHORTHANDS)}")
        return _SHORTHANDS[expression.lower()]
    parts = expression.split(" ")
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise _invalid(text, f"it has {len(parts)} fields, and five are needed: {names}")
    values = [_read(part.upper(), field, text) for part, field in zip(parts, _FIELDS, strict=True)]
    _check_fires(parts, values, text)
    return " ".join(_written(part, field, text) for part, field in zip(parts, _FIELDS, strict=True))


def _read(part: str, field: _Field, text: str) -> frozenset[int]:
    taken: set[int] = set()
    for item in part.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise _invalid(text, f'"{quote(item, 40)}" says nothing about the {field.name}')
        low = field.low if match["any"] else _value(match["low"], field, text)
        high = low
        if match["high"]:
            high = _value(match["high"], field, text)
        elif match["any"] or match["step"]:
            high = field.high
        step = int(match["step"] or 1)
        if step == 0 or low > high:
            problem = "has a step of 0" if step == 0 else "runs backwards"
            raise _invalid(text, f'"{quote(item, 40)}" {problem} ({field.name})')
        taken.update(range(low, high + 1, step))
    return frozenset(taken)


def _written(part: str, field: _Field, text: str) -> str:
    """Return a field without steps in ranges of one value: cronsim would read ``5-5/2`` as ``5/2``."""
    return ",".join(_without_step(item, field, text) for item in part.split(","))


def _without_step(item: str, field: _Field, text: str) -> str:
    match = _ITEM.fullmatch(item.upper())
    assert match is not None
    if match["high"] and match["step"] and _value(match["low"], field, text) == _value(match["high"], field, text):
        return match["low"]
    return item


def _value(word: str, field: _Field, text: str) -> int:
    value = field.names.get(word, int(word) if word.isdigit() and len(word) < 5 else -1)  # noqa: PLR2004 - digits
    if not field.low <= value <= field.high:
        names = f" or {next(iter(field.names))} to {list(field.names)[-1]}" if field.names else ""
        raise _invalid(
            text, f'the {field.name} is "{quote(word, 40)}", and goes from {field.low} to {field.high}{names}'
        )
    return value


def _check_fires(parts: list[str], values: list[frozenset[int]], text: str) -> None:
    _, _, days, months, _ = values
    # Where both days are restricted, either is enough, and every week has its weekdays.
    weekday_alone_fires = not parts[4].startswith("*")
    if not weekday_alone_fires and all(min(days) > _LONGEST_MONTH[month] for month in months):
        raise fault(
            "CRON_NEVER_FIRES", f'the cron expression "{quote(text)}" never fires: no such month has a day {min(days)}'
        )


def _invalid(text: str, problem: str) -> Exception:
    return fault("CRON_INVALID", f'the cron expression "{quote(text)}" is not valid: {problem}')
