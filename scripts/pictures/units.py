"""Numbers as Grafana writes them, in the units that the dashboards use."""

from __future__ import annotations

import math

LARGE = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
LONG = ((86_400 * 7, "week"), (86_400, "day"), (3600, "hour"), (60, "min"))


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a number in a unit of Grafana, with so many decimals, or three digits."""
    if not math.isfinite(value):
        return "NaN"
    if unit == "percentunit":
        return f"{value * 100:.{_decimals(value * 100, decimals)}f}%"
    if unit == "s":
        return _seconds(value, decimals)
    if unit in {"bytes", "binBps"}:
        size, name = next(((size, name) for size, name in LARGE if abs(value) >= size), (1, "B"))
        return f"{value / size:.{_decimals(value / size, decimals)}f} {name}{'/s' if unit == 'binBps' else ''}"
    text = f"{value:.{_decimals(value, decimals)}f}"
    return f"{text} req/s" if unit == "reqps" else text


def _seconds(value: float, decimals: int | None) -> str:
    if value and abs(value) < 1:
        return f"{value * 1000:.{_decimals(value * 1000, decimals)}f} ms"
    size, name = next(((size, name) for size, name in LONG if abs(value) >= size), (1, "s"))
    return f"{value / size:.{_decimals(value / size, decimals)}f} {name}"


def _decimals(value: float, decimals: int | None) -> int:
    if decimals is not None:
        return decimals
    if value == round(value):
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))) if abs(value) >= 0.01 else 3)  # noqa: PLR2004 - three digits
