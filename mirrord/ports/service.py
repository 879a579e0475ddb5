"""The running service, as the API, the page, the health checks and the metrics see it. All of it answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mirrord.planning.status import Cause, RuleStatus, ServiceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What came of asking for a run. ``run`` is its id; ``already``: it had been asked for before, or has not begun."""

    rule: str
    run: str
    already: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, and whether it is well; ``detail`` says what is the matter, or how it stands."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``live``: whether the service makes progress. ``ready``: whether it has a configuration and a usable state."""

    live: tuple[Check, ...]
    ready: tuple[Check, ...]

    @property
    def is_live(self) -> bool:
        """Whether every check of progress is well."""
        return all(check.ok for check in self.live)

    @property
    def is_ready(self) -> bool:
        """Whether every check of readiness is well."""
        return all(check.ok for check in self.ready)


class ServiceView(Protocol):
    """What can be seen of the service, and the one thing that can be asked of it."""

    @property
    def version(self) -> int:
        """A number that grows with every change but those of progress and time."""
        ...

    def status(self) -> ServiceStatus:
        """Return how everything stands now. Cheap enough for a few times a second."""
        ...

    def rule(self, name: str) -> RuleStatus | None:
        """Return how one rule stands now; None: there is none of that name."""
        ...

    def health(self) -> Health:
        """Return whether the service is live and ready."""
        ...

    def wake(self, rule: str, cause: Cause) -> Ticket | None:
        """Have a rule run as soon as it may; one that runs already runs once more after that. None: no such rule.

        A rule that waits to begin is not queued twice.
        """
        ...

    @property
    def queue_depth(self) -> int:
        """How many rules wait to begin."""
        ...

    @property
    def loop_lag_s(self) -> float:
        """By how much the event loop was late when it was last looked at, in seconds."""
        ...
