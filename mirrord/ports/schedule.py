"""What tells when rules are due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mirrord.planning.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A rule is due: ``due`` is the moment that its schedule names, jitter included (UTC); ``missed`` more passed."""

    rule: str
    due: datetime
    missed: int = 0


class Timetable(Protocol):
    """The schedules of all rules, and the alarm that rings for them."""

    def replace(self, schedules: Mapping[str, Schedule]) -> None:
        """Go by these schedules from now on, by rule; one that did not change keeps its next moment."""
        ...

    def next_run(self, rule: str) -> datetime | None:
        """Return when a rule is due next (UTC), jitter included; None: never, or there is no such rule."""
        ...

    def overdue(self, rule: str, last: datetime | None) -> bool:
        """Say whether a moment of a rule's schedule has passed since ``last``; with None: whether it has a schedule."""
        ...

    async def serve(self, ring: Callable[[Firing], None]) -> None:
        """Ring for every rule that is due, until cancelled. Several moments that passed at once ring once.

        A clock that jumps is noticed within half a minute: forward, what was passed rings once; back, the next moments
        are found anew, and none that rang already rings again but at its own time.
        """
        ...

    @property
    def ticked_at(self) -> float:
        """When the alarm last looked at the clock, in monotonic seconds: at least twice a minute while it serves."""
        ...
