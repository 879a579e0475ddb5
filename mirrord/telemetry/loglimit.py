"""Bounds how many lines of one kind are written: the first ones in full, of the others their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

MOST_ALIKE: Final = 20
"""Lines of one kind about one rule in a run, or about one registry in `WINDOW_S`."""

WINDOW_S: Final = 600.0

_MOST_KINDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes lines alike: their event, and the rule or registry (``about``: "rule" or "registry") of ``name``."""

    event: str
    about: str
    name: str


@dataclass(slots=True)
class _Count:
    since: float
    taken: int = 0


class Allowance:
    """Counts lines by kind."""

    def __init__(self, monotonic: Callable[[], float], most_alike: int = MOST_ALIKE) -> None:
        """Have let through nothing yet."""
        self._monotonic = monotonic
        self._most_alike = most_alike
        self._counts: dict[Kind, _Count] = {}

    def take(self, kind: Kind) -> bool:
        """Say whether one more line may be written."""
        if kind not in self._counts and len(self._counts) >= _MOST_KINDS:
            return False
        count = self._counts.setdefault(kind, _Count(self._monotonic()))
        count.taken += 1
        return count.taken <= self._most_alike

    def passed(self) -> Iterator[tuple[Kind, int]]:
        """Forget the registries' counts whose time is over; yield how many lines of each were held back."""
        now = self._monotonic()
        over = [kind for kind, count in self._counts.items() if kind.about != "rule" and now - count.since >= WINDOW_S]
        yield from self._forget(over)

    def ended(self, rule: str | None = None) -> Iterator[tuple[Kind, int]]:
        """Forget the counts of a rule, or all; yield how many lines of each were held back."""
        over = [kind for kind in self._counts if rule is None or (kind.about == "rule" and kind.name == rule)]
        yield from self._forget(over)

    def _forget(self, kinds: list[Kind]) -> Iterator[tuple[Kind, int]]:
        for kind in kinds:
            held = self._counts.pop(kind).taken - self._most_alike
            if held > 0:
                yield kind, held
