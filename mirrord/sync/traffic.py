"""Adds up what a run costs, from events."""

from __future__ import annotations

from collections import Counter

from mirrord.planning.report import BlobOutcome, PullQuota, TrafficReport
from mirrord.ports.events import (
    BlobProgress,
    BlobSettled,
    Event,
    EventSink,
    ManifestPulled,
    Noted,
    QuotaTold,
    RequestDone,
    RequestRetried,
)
from mirrord.sync.hints import BULK_DIFFERS


class Traffic(EventSink):
    """Counts requests and bytes by registry, and passes every event on."""

    def __init__(self, then: EventSink) -> None:
        """Count nothing yet; ``then`` gets every event too."""
        self._then = then
        self._requests: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._differs: Counter[str] = Counter()
        self._retries = 0
        self._pulls: Counter[str] = Counter()
        self._quotas: dict[str, PullQuota] = {}

    def emit(self, event: Event) -> None:
        """Count an event and pass it on."""
        match event:
            case RequestDone():
                self._requests[event.host] += 1
            case RequestRetried():
                self._retries += 1
            case ManifestPulled():
                self._pulls[event.host] += 1
            case QuotaTold():
                self._quotas[event.host] = event.quota
            case BlobProgress():
                self._read[event.host] += event.read
            case BlobSettled() if event.outcome is BlobOutcome.UPLOADED:
                self._written[event.target.host] += event.size
            case Noted() if event.what == BULK_DIFFERS:
                self._differs[event.host] += 1
            case _:
                pass
        self._then.emit(event)

    def report(self) -> TrafficReport:
        """Return the sums so far."""
        return TrafficReport(
            requests=dict(self._requests),
            bytes_read=dict(self._read),
            bytes_written=dict(self._written),
            retries=self._retries,
            pulls=dict(self._pulls),
            quotas=dict(self._quotas),
            bulk_differs=dict(self._differs),
        )
