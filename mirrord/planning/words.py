"""Spans and moments as sentences say them, and what people call a registry."""

from __future__ import annotations

from datetime import datetime

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_KNOWN_AS = {"docker.io": "Docker Hub", "ghcr.io": "GitHub's registry", "quay.io": "Quay"}
_ELLIPSIS = "…"


def span_text(seconds: float) -> str:
    """Return a span in its two largest units, cut off below: ``45 s``, ``12 min``, ``2 h 10 min``, ``3 d 4 h``.

    Below an hour minutes stand alone. A span below zero is none.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def moment_text(moment: datetime, now: datetime) -> str:
    """Return a moment in UTC as short as it is clear at ``now``: ``14:32 UTC``, ``5 Mar 14:32 UTC``, ``5 Mar 2027``.

    Both are in UTC. The day is left out within the same one, the time of day in another year.
    """
    if moment.date() == now.date():
        return f"{moment:%H:%M} UTC"
    day = f"{moment.day} {moment:%b}"
    return f"{day} {moment:%H:%M} UTC" if moment.year == now.year else f"{day} {moment.year}"


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 mirror``, ``1,234 mirrors``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def registry_text(host: str) -> str:
    """Return what people call a registry: ``Docker Hub`` for ``docker.io``; the host itself, where that is its name."""
    return _KNOWN_AS.get(host, host)


def shorten(text: str, length: int) -> str:
    """Return a text on one line of at most ``length`` characters; what is cut off ends in an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + _ELLIPSIS


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
