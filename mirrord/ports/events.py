"""What happens, told as it happens: progress displays, logs and metrics listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.report import BlobOutcome, PullQuota, UnitResult

if TYPE_CHECKING:  # runs without a service do not need it
    from mirrord.planning.status import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStarted:
    """A rule began to look at its source."""

    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesPlanned:
    """A share of a rule's images was looked at; ``units`` will be copied (one a target), with ``tags`` in all."""

    rule: str
    images: int
    units: int
    tags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStarted:
    """An image begins to be brought to one target; ``tags`` are the source's, None for one without."""

    rule: str
    source: Location
    target: Location
    tags: tuple[Tag | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFinished:
    """An image is settled on one target. Where it was not ``carried_out``, a look was enough to settle it."""

    result: UnitResult
    carried_out: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobStarted:
    """Bytes of a blob begin to flow to one or more targets. ``transfer`` tells transfers of one run apart."""

    transfer: int
    digest: Digest
    size: int
    source: Location
    targets: tuple[Location, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobProgress:
    """``read`` more bytes of a transfer were read from the source; ``host`` is the source's registry.

    Several runs of one process may number their transfers alike; ``host`` is true whichever run it was.
    """

    transfer: int
    read: int
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFinished:
    """A transfer ended, well or not."""

    transfer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSettled:
    """A target has a blob, or could not get it; ``size`` in bytes.

    ``shared``: it was uploaded from a read that had fed another target before, so that it was not read again for this.
    """

    target: Location
    digest: Digest
    size: int
    outcome: BlobOutcome
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDone:
    """One HTTP exchange ended. ``status`` 0: there was no answer. ``method`` is upper case."""

    host: str
    method: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetried:
    """A request will be sent again after ``wait_s`` seconds."""

    host: str
    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestPulled:
    """A manifest was fetched from a registry that counts it against a quota."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaTold:
    """A registry told what is left of its quota of pulls."""

    host: str
    quota: PullQuota


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something a reader of the log should know; mirrord coped with it. ``what`` is a stable key.

    ``is_unasked``: commands tell it even without --verbose, since without it their result would surprise.
    """

    what: str
    text: str
    host: str = ""
    is_unasked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegan:
    """A rule begins to run."""

    run: RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A rule's run ended; `RunStatus.finished` and `RunStatus.result` are set. ``looked``: its source could be seen."""

    run: RunStatus
    looked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSkipped:
    """A moment of a schedule passed without a run of its own; ``reason``: ``overlap``, ``missed``, ``draining``."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigLoaded:
    """A configuration is in force from now on, or (``error``) was refused and the one before stays."""

    file: str
    at: datetime
    rules: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted:
    """The service can be reached at ``url``; ``rules`` are in force."""

    url: str
    rules: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopping:
    """The service begins nothing any more; what is on its way may take ``drain_s`` seconds; ``cause`` is a signal."""

    cause: str
    running: int
    drain_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopped:
    """The service ended; ``interrupted`` runs were broken off."""

    interrupted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPaused:
    """A registry asked to be left alone for so long (429, Retry-After, a quota)."""

    host: str
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged:
    """A registry keeps failing and is left alone (``is_open``), or answers again."""

    host: str
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrityFailed:
    """A registry served other bytes than it promised; ``reason``: ``digest``, ``size``, ``read_back``."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRefused:
    """A policy or guard kept something from being done; ``reason`` is a stable key: ``immutable``, ``rollback``."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The state store cannot be used (``error``), or can be again (None)."""

    error: str | None


Event = (
    RuleStarted
    | ImagesPlanned
    | UnitStarted
    | UnitFinished
    | BlobStarted
    | BlobProgress
    | BlobFinished
    | BlobSettled
    | RequestDone
    | RequestRetried
    | ManifestPulled
    | QuotaTold
    | Noted
    | RunBegan
    | RunEnded
    | ScheduleSkipped
    | ConfigLoaded
    | ServiceStarted
    | ServiceStopping
    | ServiceStopped
    | RegistryPaused
    | BreakerChanged
    | IntegrityFailed
    | GuardRefused
    | StateChanged
)


class EventSink(Protocol):
    """Takes events; never blocks, never raises."""

    def emit(self, event: Event) -> None:
        """Take one event."""
        ...


class NullSink(EventSink):
    """Takes events and forgets them."""

    def emit(self, event: Event) -> None:
        """Forget the event."""


OnFault = Callable[[EventSink, Event], None]


class Sinks(EventSink):
    """Hands every event to several listeners, in their order."""

    def __init__(self, *sinks: EventSink, on_fault: OnFault = lambda _sink, _event: None) -> None:
        """Know the first listeners; ``on_fault`` is called while what one of them raised is being handled."""
        self._sinks = list(sinks)
        self._on_fault = on_fault

    def add(self, sink: EventSink) -> None:
        """Let one more listen from now on."""
        self._sinks.append(sink)

    def emit(self, event: Event) -> None:
        """Hand the event on. A listener that breaks its promise and raises is told of, and harms nobody else."""
        for sink in self._sinks:
            try:
                sink.emit(event)
            except Exception:  # noqa: BLE001 - a promise broken by one
                self._on_fault(sink, event)
