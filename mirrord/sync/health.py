"""Whether the service makes progress, and whether it can be used: from facts, as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mirrord.ports.service import Check
from mirrord.sync.meter import RunMeter

LATEST_TICK_S = 120.0
"""The alarm looks at the clock twice a minute; four times as long without a look means that it stands still."""

STALLED_S = 5 * 60.0
"""A run in which nothing happens for so long is shown as stalled."""

LONGEST_IDLE_S = 30 * 60.0
"""A run in which nothing happens for so long will not go on. Waiting for a quota takes up to 15 minutes."""

LONGEST_TURN_S = 6 * 3600.0
"""As long may a run wait for places and blobs that other runs have, while these move bytes: layers may be huge."""


def live_checks(since_tick_s: float, meters: Iterable[RunMeter]) -> tuple[Check, ...]:
    """Return whether the schedule and every run make progress.

    Args:
        since_tick_s: how long ago the alarm looked at the clock, in seconds.
        meters: those of the runs that go on.
    """
    known = list(meters)
    is_busy = any(meter.activity.transfers and meter.idle_s <= STALLED_S for meter in known)
    longest_s = LONGEST_TURN_S if is_busy else LONGEST_IDLE_S
    stuck = [meter for meter in known if meter.idle_s > longest_s]
    detail = ", ".join(f"{meter.rule}: nothing for {meter.idle_s / 60:.0f} min" for meter in stuck[:5])
    return (
        Check(
            name="schedule", ok=since_tick_s <= LATEST_TICK_S, detail=f"looked at the clock {since_tick_s:.0f} s ago"
        ),
        Check(name="runs", ok=not stuck, detail=detail or "all make progress"),
    )


def ready_checks(config_error: str | None, state_error: str | None, *, is_draining: bool) -> Sequence[Check]:
    """Return whether a configuration is in force and the state store can be used.

    A configuration that was refused does not count: the one before it is in force.
    """
    refused = "the file as it stands was refused; the one before it is in force"
    return (
        Check(name="config", ok=True, detail=refused if config_error else "in force"),
        Check(name="state", ok=state_error is None, detail=state_error or "can be read and written"),
        Check(name="running", ok=not is_draining, detail="about to end" if is_draining else "takes work"),
    )
