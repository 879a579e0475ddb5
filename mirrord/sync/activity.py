"""What goes on in a run, added up from events: the figures that progress displays show."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.report import Outcome
from mirrord.ports.events import (
    BlobFinished,
    BlobProgress,
    BlobStarted,
    Event,
    ImagesPlanned,
    RuleStarted,
    UnitFinished,
)

RATE_WINDOW_S = 5.0


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def measure(self, now: float, total: int) -> float:
        """Take note of how many bytes there are by now, and return the rate."""
        samples = self._samples
        while len(samples) > 1 and now - samples[1][0] >= RATE_WINDOW_S:
            samples.popleft()
        since, before = samples[0]
        if now > samples[-1][0]:
            samples.append((now, total))
        return (total - before) / (now - since) if now > since else 0.0


@dataclass(slots=True)
class Transfer:
    """A blob on its way. ``done`` and ``size`` are in bytes."""

    digest: Digest
    size: int
    source: Location
    targets: tuple[Location, ...]
    rate: Rate
    done: int = 0


@dataclass(slots=True)
class Activity:
    """Figures of a run; ``planned`` and ``done`` are images that need work, counted once a tag and target.

    Written by the event loop, read by the thread that draws: every field is read as it stands.
    """

    now: Callable[[], float]
    started: float = 0.0
    rules: int = 0
    images_seen: int = 0
    planned: int = 0
    read_bytes: int = 0
    done: int = 0
    failed: int = 0
    transfers: dict[int, Transfer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = self.now()

    @property
    def total(self) -> int:
        """How many images (tags on targets) are known to need work so far."""
        return max(self.planned, self.done)

    @property
    def elapsed_s(self) -> float:
        """How long the run has been going on."""
        return self.now() - self.started

    def take(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RuleStarted():
                self.rules += 1
            case ImagesPlanned():
                self.images_seen += event.images
                self.planned += event.tags
            case UnitFinished():
                result = event.result
                if result.outcome is Outcome.FAILED:
                    self.failed += len(result.tags)
                if event.carried_out and result.outcome is not Outcome.SKIPPED:
                    self.done += len(result.tags)
            case BlobStarted():
                rate = Rate(self.now())
                self.transfers[event.transfer] = Transfer(event.digest, event.size, event.source, event.targets, rate)
            case BlobProgress():
                self.read_bytes += event.read
                if (transfer := self.transfers.get(event.transfer)) is not None:
                    transfer.done += event.read
            case BlobFinished():
                self.transfers.pop(event.transfer, None)
            case _:
                pass
