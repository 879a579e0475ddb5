"""Spans of time as the configuration writes them."""

from __future__ import annotations

from datetime import timedelta

_UNIT_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def format_duration(span: timedelta) -> str:
    """Return a span to the millisecond in its shortest form, largest unit first: ``1d12h``, ``15m``, ``0s``."""
    milliseconds = round(span / timedelta(milliseconds=1))
    pieces = []
    for unit, length in _UNIT_MILLISECONDS.items():
        count, milliseconds = divmod(milliseconds, length)
        if count:
            pieces.append(f"{count}{unit}")
    return "".join(pieces) or "0s"
