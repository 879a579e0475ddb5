"""What one run does and costs, while others run beside it: events are counted for the run in whose task they happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import BlobOutcome, BlobTally, Outcome
from mirrord.planning.runstatus import counts_of
from mirrord.planning.status import Progress, TransferStatus
from mirrord.ports.clock import Clock
from mirrord.ports.events import (
    BlobSettled,
    Event,
    EventSink,
    ManifestPulled,
    RequestDone,
    UnitFinished,
    UnitStarted,
)
from mirrord.ports.turns import ON_BEHALF_OF
from mirrord.sync.activity import Activity, Rate, Transfer

MOST_TRANSFERS = 8
"""Transfers that are shown of a run."""

_CURRENT: ContextVar[RunMeter | None] = ContextVar("mirrord_run", default=None)

Copying = tuple[Location, Location, Tag | None]
"""An image on its way: source, target and the source's tag."""


class RunMeter(EventSink):
    """Counts what happens in one run. ``arrived``: images that were copied since images were counted, by target."""

    def __init__(self, run: str, rule: str, clock: Clock) -> None:
        """Begin to count for a run by its id."""
        self.run = run
        self.rule = rule
        self.started = clock.now()
        self.requests: Counter[str] = Counter()
        self.pulls: Counter[str] = Counter()
        self.copying: set[Copying] = set()
        self.arrived: Counter[Location] = Counter()
        self.fanout_bytes = 0
        self.activity = Activity(clock.monotonic)
        self._rate = Rate(clock.monotonic())
        self._clock = clock
        self._happened_at = clock.monotonic()
        self._blobs = BlobTally()

    @property
    def idle_s(self) -> float:
        """How long nothing has happened, in seconds."""
        return self._clock.monotonic() - self._happened_at

    def emit(self, event: Event) -> None:
        """Count an event of this run."""
        self._happened_at = self._clock.monotonic()
        self.activity.take(event)
        match event:
            case RequestDone():
                self.requests[event.host] += 1
            case ManifestPulled():
                self.pulls[event.host] += 1
            case BlobSettled() if event.outcome is not BlobOutcome.FAILED:
                self._blobs += BlobTally(**{event.outcome.value: (1, event.size)})
                self.fanout_bytes += event.size if event.shared else 0
            case UnitStarted():
                self.copying.update((event.source, event.target, tag) for tag in event.tags)
            case UnitFinished() if event.carried_out:
                result = event.result
                self.copying.difference_update((result.source, result.target, tag) for tag, _ in result.tags)
                if result.outcome is Outcome.COPIED:
                    self.arrived[result.target] += len(result.tags)
            case _:
                pass

    def progress(self) -> Progress:
        """Return how far the run is."""
        activity = self.activity
        rate = self._rate.measure(activity.now(), activity.read_bytes)
        share = _share(activity)
        eta_s = None
        if share is not None and share > 0 and activity.elapsed_s > 0:
            eta_s = round(activity.elapsed_s * (1 - share) / share, 1)
        return Progress(
            run=self.run,
            started=self.started,
            looked_at=activity.images_seen,
            total=activity.total,
            done=activity.done,
            failed=activity.failed,
            read_bytes=activity.read_bytes,
            rate=round(rate, 1),
            share=round(share, 4) if share is not None else None,
            eta_seconds=eta_s,
            idle_seconds=round(self.idle_s, 1),
            blobs=counts_of(self._blobs),
            transfers=tuple(
                _transfer(transfer, activity.now()) for transfer in list(activity.transfers.values())[:MOST_TRANSFERS]
            ),
        )


class Metered(EventSink):
    """Hands every event on, and to the meter of the run in whose task it happens."""

    def __init__(self, then: EventSink) -> None:
        """Hand events to ``then`` too."""
        self._then = then

    def emit(self, event: Event) -> None:
        """Count the event for its run, and hand it on."""
        meter = _CURRENT.get()
        if meter is not None:
            meter.emit(event)
        self._then.emit(event)


@contextmanager
def measuring(meter: RunMeter) -> Iterator[None]:
    """Count what happens in this task, and in the tasks that it starts, for one run; they take turns as that run."""
    token, turn = _CURRENT.set(meter), ON_BEHALF_OF.set(meter.run)
    try:
        yield
    finally:
        ON_BEHALF_OF.reset(turn)
        _CURRENT.reset(token)


def _share(activity: Activity) -> float | None:
    """Return what is done of the images that need work, transfers under way counted by their bytes."""
    if not activity.total:
        return None
    halfway = sum(transfer.done / transfer.size for transfer in activity.transfers.values() if transfer.size)
    images_under_way = min(len(activity.transfers), activity.total - activity.done)
    under_way = halfway / max(1, len(activity.transfers)) * images_under_way
    return min(1.0, (activity.done + under_way) / activity.total)


def _transfer(transfer: Transfer, now: float) -> TransferStatus:
    rate = transfer.rate.measure(now, transfer.done)
    return TransferStatus(
        digest=str(transfer.digest),
        source=str(transfer.source),
        targets=tuple(str(target) for target in transfer.targets),
        size=transfer.size,
        done=transfer.done,
        rate=round(rate, 1),
        eta_seconds=round((transfer.size - transfer.done) / rate, 1) if rate > 0 else None,
    )
