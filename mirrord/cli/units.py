"""Numbers as people read them."""

from __future__ import annotations

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_MINUTE = 60
_HOUR = 3600


def size_text(size: float) -> str:
    """Return bytes with a unit: ``0 B``, ``1.5 MiB``, ``312 MiB``."""
    if size < _STEP:
        return f"{size:.0f} B"
    step = 0
    size /= _STEP
    while size >= _STEP - 0.5 and step < len(_UNITS) - 1:
        size /= _STEP
        step += 1
    return f"{size:.1f} {_UNITS[step]}" if size < 100 else f"{size:.0f} {_UNITS[step]}"  # noqa: PLR2004 - three digits


def time_text(seconds: float) -> str:
    """Return a duration: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:  # noqa: PLR2004 - tenths matter below
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def clock_text(seconds: float) -> str:
    """Return a duration as a stopwatch shows it, of one width: ``0:07``, ``12:34``, ``1:02:03``."""
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE}:{whole % _MINUTE:02}"
    return f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02}:{whole % _MINUTE:02}"


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 image``, ``1,234 images``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
