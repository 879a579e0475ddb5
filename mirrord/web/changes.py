"""What changed between two looks at the service, as events for those who look on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property

from mirrord.planning.status import RuleStatus, ServiceStatus
from mirrord.web.answers import dump

_NEVER = datetime.fromtimestamp(0, UTC)


class Snapshot:
    """The service at one moment. ``version`` is that of the view."""

    def __init__(self, version: int, status: ServiceStatus) -> None:
        self.version = version
        self.status = status
        self.rules = {rule.name: rule for rule in status.rules}

    @cached_property
    def text(self) -> bytes:
        """All of it as one event."""
        return event("status", self.status)

    @property
    def is_running(self) -> bool:
        """Whether something changes that the view's version does not count."""
        return any(rule.running is not None for rule in self.status.rules)


def event(name: str, value: object, kind: object | None = None) -> bytes:
    """Return one event. JSON has no line breaks, so its data is one line."""
    return b"event: " + name.encode() + b"\ndata: " + dump(value, kind) + b"\n\n"


def changes(before: Snapshot, after: Snapshot) -> Sequence[bytes]:
    """Return what is to be told to one who knows ``before``; nothing where only time went on."""
    gone = [name for name in before.rules if name not in after.rules]
    known = [name for name in before.rules if name in after.rules]
    if list(after.rules)[: len(known)] != known:
        return [after.text]  # in another order, which single rules cannot tell
    told = [event("gone", {"name": name}, dict[str, str]) for name in gone]
    told.extend(_of_rules(before, after))
    if _without_noise(before) != _without_noise(after):
        told.append(event("service", replace(after.status, rules=())))
    return told


def _of_rules(before: Snapshot, after: Snapshot) -> Iterator[bytes]:
    for name, rule in after.rules.items():
        old = before.rules.get(name)
        if old is None or _lasting(old) != _lasting(rule):
            yield event("rule", rule)
        run = rule.last_run
        if run is not None and run.finished is not None and old is not None and _ended(old) != run.id:
            yield event("run", run)


def _lasting(rule: RuleStatus) -> RuleStatus:
    return replace(rule, freshness_seconds=0.0)


def _ended(rule: RuleStatus) -> str | None:
    run = rule.last_run
    return run.id if run is not None and run.finished is not None else None


def _without_noise(snapshot: Snapshot) -> ServiceStatus:
    """Return the service without rules and what changes by itself while nothing runs."""
    rate = snapshot.status.rate if snapshot.is_running else 0.0
    return replace(snapshot.status, rules=(), now=_NEVER, rate=rate)
