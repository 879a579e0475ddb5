"""What panels show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class Line:
    """A series with its name; ``points`` are moments in seconds since 1970 and values."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]
    colour: str = ""


@dataclass
class Data:
    """What a panel shows: lines by the letter of their query, in the time range; events are moments and colours."""

    start: float
    end: float
    step: float
    by_query: dict[str, list[Line]] = field(default_factory=dict)
    events: Sequence[tuple[float, str]] = ()

    @property
    def lines(self) -> list[Line]:
        """All lines."""
        return [line for lines in self.by_query.values() for line in lines]
