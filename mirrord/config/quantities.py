"""Fields with units: durations, sizes and shares, each within its bounds."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from mirrord.config.faults import fault
from mirrord.config.fields import Reader
from mirrord.config.tree import Scalar
from mirrord.config.units import (
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)
from mirrord.errors import quote
from mirrord.planning.duration import format_duration

_DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$|\$\{"
_SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|KiB|MiB|GiB|TiB|KB|kB|MB|GB|TB)?$|\$\{"
_SHARE_PATTERN = r"^[0-9]+(\.[0-9]+)?%$|\$\{"


def duration(low: str, high: str) -> Reader:
    """Return a reader of durations from ``low`` to ``high``."""
    lowest, highest = parse_duration(low), parse_duration(high)
    assert lowest is not None
    assert highest is not None
    expected = f"a duration from {low} to {high}, such as 90s, 15m, 6h, 30d"

    def read(scalar: Scalar) -> timedelta:
        value = parse_duration(scalar.text)
        if value is None or not lowest <= value <= highest:
            problem = "is no duration" if value is None else "is out of range"
            raise fault("DURATION_INVALID", f'"{quote(scalar.text, 60)}" {problem}; expected {expected}')
        return value

    return Reader(
        expected, read, {"type": "string", "title": "duration", "pattern": _DURATION_PATTERN}, _write_duration
    )


def _write_duration(value: object) -> str:
    assert isinstance(value, timedelta)
    return format_duration(value)


def _read_bandwidth(scalar: Scalar) -> int:
    size = parse_size(scalar.text)
    if size is None:
        raise fault("SIZE_INVALID", f'"{quote(scalar.text, 60)}" is no size; expected {_BANDWIDTH_EXPECTED}')
    if not _LEAST_BANDWIDTH <= size <= _MOST_BANDWIDTH:
        raise fault("OUT_OF_RANGE", f'"{quote(scalar.text, 60)}" is out of range; expected {_BANDWIDTH_EXPECTED}')
    return size


def _write_size(value: object) -> str:
    assert isinstance(value, int)
    return format_size(value)


def _read_share(scalar: Scalar) -> float:
    share = parse_share(scalar.text)
    if share is None:
        raise fault("SHARE_INVALID", f'"{quote(scalar.text, 60)}" is no percentage; expected 0% to 100%')
    if not 0 <= share <= 1:
        raise fault("OUT_OF_RANGE", f'"{quote(scalar.text, 60)}" is out of range; expected 0% to 100%')
    return share


def _write_share(value: object) -> str:
    assert isinstance(value, float)
    return format_share(value)


_LEAST_BANDWIDTH = 1024
_MOST_BANDWIDTH = 1024**4
_BANDWIDTH_EXPECTED = "bytes per second from 1KiB to 1TiB, such as 50MiB"

Bandwidth = Annotated[
    int,
    Reader(
        _BANDWIDTH_EXPECTED,
        _read_bandwidth,
        {"type": ["string", "integer"], "title": "size", "pattern": _SIZE_PATTERN},
        _write_size,
    ),
]
Share = Annotated[
    float,
    Reader(
        "a percentage from 0% to 100%",
        _read_share,
        {"type": "string", "title": "percentage", "pattern": _SHARE_PATTERN},
        _write_share,
    ),
]
Interval = Annotated[timedelta, duration("1s", "365d")]
Jitter = Annotated[timedelta, duration("0s", "1d")]
Age = Annotated[timedelta, duration("1m", "36500d")]
Freshness = Annotated[timedelta, duration("1s", "365d")]
Recheck = Annotated[timedelta, duration("0s", "365d")]
Grace = Annotated[timedelta, duration("0s", "365d")]
