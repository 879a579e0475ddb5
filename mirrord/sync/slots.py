"""One place a rule: what it waits for, and what it is doing. No rule ever runs beside itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime

from mirrord.planning.rule import Rule
from mirrord.planning.status import Cause
from mirrord.sync.engine import Engine
from mirrord.sync.meter import RunMeter
from mirrord.sync.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run that was asked for. ``order`` is the place in the queue."""

    run: str
    cause: Cause
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run that goes on, under the configuration that it began with."""

    asked: Asked
    rule: Rule
    run: Run
    meter: RunMeter
    engine: Engine


@dataclass(slots=True)
class Slot:
    """The place of one rule. ``begun`` is when its last run began, in the order in which things were asked for."""

    rule: Rule
    engine: Engine
    asked: Asked | None = None
    begun: int = -1
    running: Running | None = None


def new_run_id(moment: datetime) -> str:
    """Return an id for a run: text that sorts by the moment, and that no two runs share."""
    return f"{moment:%Y%m%dT%H%M%S%f}"[:-3] + f"-{secrets.token_hex(3)}"
