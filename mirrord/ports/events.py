"""What happens, told as it happens: progress displays, logs and metrics listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.report import BlobOutcome, PullQuota, UnitResult


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
    """``read`` more bytes of a transfer were read from the source."""

    transfer: int
    read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobFinished:
    """A transfer ended, well or not."""

    transfer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSettled:
    """A target has a blob, or could not get it; ``size`` in bytes."""

    target: Location
    digest: Digest
    size: int
    outcome: BlobOutcome


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
    """Something a reader of the log should know; mirrord coped with it. ``what`` is a stable key."""

    what: str
    text: str
    host: str = ""


Event = (
    RuleStarted
    | ImagesPlanned
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
