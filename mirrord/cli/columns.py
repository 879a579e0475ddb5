"""Text in columns, for results that have several facts on each line."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], *, indent: int = 0, gap: int = 2) -> list[str]:
    """Return one line a row, the columns aligned on the left; the last one is never cut and never padded."""
    if not rows:
        return []
    width = max(map(len, rows))
    filled = [[*row, *([""] * (width - len(row)))] for row in rows]
    sizes = [max(len(row[place]) for row in filled) for place in range(width)]
    space = " " * gap
    return [
        (" " * indent + space.join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True))).rstrip()
        for row in filled
    ]
