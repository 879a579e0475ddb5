"""Durations (``90s 15m 6h 30d``), sizes (``50MiB``) and shares (``10%``): text to values and back."""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w)")
_UNIT_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(B|KiB|MiB|GiB|TiB|KB|kB|MB|GB|TB)?")
_UNIT_BYTES = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    "kB": 1000,
}
_SHARE = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,6})?)%")
_LONGEST = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta | None:
    """Return a duration: one or more numbers with units, ``1h30m`` for instance; None if ``text`` is none.

    More than a hundred years are a hundred years.
    """
    pieces = _DURATION.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return None
    milliseconds = sum(float(number) * _UNIT_MILLISECONDS[unit] for number, unit in pieces)
    return min(_LONGEST, timedelta(milliseconds=min(milliseconds, _LONGEST / timedelta(milliseconds=1))))


def parse_size(text: str) -> int | None:
    """Return a number of bytes; None if ``text`` is no size. ``KiB`` is 1024 bytes, ``KB`` 1000."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return (
        int(float(match[1]) * _UNIT_BYTES[match[2] or "B"])
        if "." in match[1]
        else int(match[1]) * _UNIT_BYTES[match[2] or "B"]
    )


def format_size(size_bytes: int) -> str:
    """Return the shortest text that `parse_size` reads as ``size_bytes``."""
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"):
        if size_bytes and size_bytes % _UNIT_BYTES[unit] == 0:
            return f"{size_bytes // _UNIT_BYTES[unit]}{unit}"
    return f"{size_bytes}B"


def parse_share(text: str) -> float | None:
    """Return a percentage as a fraction of 1; None if ``text`` is no percentage."""
    match = _SHARE.fullmatch(text)
    return float(match[1]) / 100 if match else None


def format_share(share: float) -> str:
    """Return the text that `parse_share` reads as ``share``."""
    return f"{share * 100:.6f}".rstrip("0").rstrip(".") + "%"
