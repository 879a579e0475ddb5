"""What each event is called in the log, how grave it is, and its keys. docs/reference/logs.md says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from mirrord.planning.report import Outcome, UnitResult
from mirrord.planning.status import ProblemStatus, RunResult, RunStatus
from mirrord.ports.events import (
    BlobFinished,
    BlobProgress,
    BlobSettled,
    BlobStarted,
    BreakerChanged,
    ConfigLoaded,
    Event,
    GuardRefused,
    ImagesPlanned,
    IntegrityFailed,
    ManifestPulled,
    Noted,
    QuotaTold,
    RegistryPaused,
    RequestDone,
    RequestRetried,
    RuleStarted,
    RunBegan,
    RunEnded,
    ScheduleSkipped,
    ServiceStarted,
    ServiceStopped,
    ServiceStopping,
    StateChanged,
    UnitFinished,
    UnitStarted,
)
from mirrord.telemetry.loglimit import Kind

Level = Literal["debug", "info", "warning", "error"]

LONG_WAIT_S: Final = 10.0
"""A retry that waits longer is worth a warning."""

LONG_PAUSE_S: Final = 1.0
"""A pause that becomes longer by less is no news."""

EVENTS: Final[Mapping[str, str]] = {
    "fault": "error",
    "run_began": "info",
    "run_ended": "info, warning, error",
    "image_copied": "info",
    "tag_moved": "info",
    "image_failed": "error",
    "image_blocked": "warning",
    "image_in_sync": "debug",
    "image_skipped": "debug",
    "rule_looked_at": "debug",
    "images_planned": "debug",
    "schedule_skipped": "warning",
    "guard_refused": "debug, warning",
    "config_loaded": "info",
    "config_refused": "error",
    "service_started": "info",
    "service_draining": "info",
    "service_stopped": "info",
    "image_began": "debug",
    "state_unusable": "error",
    "state_usable": "info",
    "state_rebuilt": "warning",
    "repository_created": "info",
    "mirror_passed_over": "warning",
    "catalog_only": "warning",
    "bulk_refused": "warning",
    "bulk_unknown": "debug",
    "bulk_differs": "warning",
    "referrers_tag_refused": "warning",
    "referrers_tag_invalid": "warning",
    "noted": "warning",
    "registry_paused": "debug, warning",
    "breaker_opened": "warning",
    "breaker_closed": "info",
    "integrity_failed": "warning",
    "request_retried": "debug, warning",
    "request_done": "debug",
    "manifest_pulled": "debug",
    "quota_told": "debug",
    "blob_started": "debug",
    "blob_settled": "debug",
    "library": "warning, error",
    "lines_held_back": "that of what was held back",
    "lines_dropped": "warning",
}
"""All names of events, with their levels."""

_NOTED: Mapping[str, Level] = {"repository_created": "info", "bulk_unknown": "debug"}
"""Levels of notes that warn of nothing; none of them comes in great numbers at its level."""
_TOLD_BY_IMAGE = frozenset({"immutable", "overwrite"})
_MOST_TAGS = 20
_MOST_TEXTS = 5
_MOVED = "the tag moved"
_IMAGES = {
    Outcome.FAILED: ("error", "image_failed"),
    Outcome.BLOCKED: ("warning", "image_blocked"),
    Outcome.IN_SYNC: ("debug", "image_in_sync"),
    Outcome.SKIPPED: ("debug", "image_skipped"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the log. ``kind``: it may come many times, and is then held back; None: each is written."""

    level: Level
    event: str
    fields: dict[str, object] = field(default_factory=dict)
    kind: Kind | None = None


def line_of(event: Event) -> Line | None:  # noqa: C901, PLR0911, PLR0912 - one case for each event
    """Return the line that tells an event; None where it is not worth one."""
    match event:
        case RunBegan(run=run):
            return Line(level="info", event="run_began", fields={**_about_run(run), "cause": run.cause})
        case RunEnded(run=run):
            return _run_ended(run)
        case UnitFinished(result=result):
            return _image(result)
        case RuleStarted():
            return Line(level="debug", event="rule_looked_at", fields={"rule": event.rule})
        case ImagesPlanned():
            fields: dict[str, object] = {"rule": event.rule, "images": event.images, "units": event.units}
            return Line(level="debug", event="images_planned", fields={**fields, "tags": event.tags})
        case ScheduleSkipped() | GuardRefused():
            return _of_rule(event)
        case ConfigLoaded(error=None):
            return Line(level="info", event="config_loaded", fields={"file": event.file, "rules": event.rules})
        case ConfigLoaded():
            return Line(level="error", event="config_refused", fields={"file": event.file, "error": event.error})
        case StateChanged(error=None):
            return Line(level="info", event="state_usable")
        case StateChanged():
            return Line(level="error", event="state_unusable", fields={"error": event.error})
        case ServiceStarted() | ServiceStopping() | ServiceStopped():
            return _of_service(event)
        case UnitStarted():
            place = {"rule": event.rule, "source": str(event.source), "target": str(event.target)}
            return Line(level="debug", event="image_began", fields={**place, "tags": len(event.tags)})
        case BlobStarted() | BlobSettled():
            return _blob(event)
        case BlobProgress() | BlobFinished():
            return None
        case _:
            return _of_registry(event)


def _of_service(event: ServiceStarted | ServiceStopping | ServiceStopped) -> Line:
    match event:
        case ServiceStarted():
            fields: dict[str, object] = {"url": event.url, "rules": event.rules, "version": event.version}
            return Line(level="info", event="service_started", fields=fields)
        case ServiceStopping():
            fields = {"cause": event.cause, "running": event.running, "drain_seconds": event.drain_s}
            return Line(level="info", event="service_draining", fields=fields)
        case ServiceStopped():
            return Line(level="info", event="service_stopped", fields={"interrupted": event.interrupted})


def _of_registry(
    event: RequestDone
    | RequestRetried
    | ManifestPulled
    | QuotaTold
    | Noted
    | RegistryPaused
    | BreakerChanged
    | IntegrityFailed,
) -> Line:
    fields: dict[str, object] = {"registry": event.host}
    level: Level = "warning"
    match event:
        case RequestDone():
            fields |= {"method": event.method, "status": event.status, "duration_ms": _ms(event.seconds)}
            return Line(level="debug", event="request_done", fields=fields)
        case RequestRetried():
            name, level = "request_retried", "warning" if event.wait_s > LONG_WAIT_S else "debug"
            fields |= {"reason": event.reason, "wait_s": round(event.wait_s, 3)}
        case ManifestPulled():
            return Line(level="debug", event="manifest_pulled", fields=fields)
        case QuotaTold(quota=quota):
            fields |= {"remaining": quota.remaining, "limit": quota.limit, "window_s": quota.window_s}
            return Line(level="debug", event="quota_told", fields=fields)
        case Noted():
            return _noted(event, fields)
        case RegistryPaused():
            name, level = "registry_paused", "warning" if event.seconds >= LONG_PAUSE_S else "debug"
            fields |= {"reason": event.reason, "seconds": round(event.seconds, 3)}
        case BreakerChanged():
            name, level = ("breaker_opened", "warning") if event.is_open else ("breaker_closed", "info")
        case _:
            name = "integrity_failed"
            fields["reason"] = event.reason
    return Line(level=level, event=name, fields=fields, kind=Kind(name, "registry", event.host))


def _noted(event: Noted, fields: dict[str, object]) -> Line:
    known = event.what in EVENTS
    name = event.what if known else "noted"
    fields = {**fields, "text": event.text} if known else {**fields, "what": event.what, "text": event.text}
    if not event.host:
        fields.pop("registry")
    level = _NOTED.get(name, "warning")
    kind = None if name in _NOTED else Kind(name, "registry", event.host)
    return Line(level=level, event=name, fields=fields, kind=kind)


def _of_rule(event: ScheduleSkipped | GuardRefused) -> Line:
    fields: dict[str, object] = {"rule": event.rule, "reason": event.reason}
    if isinstance(event, ScheduleSkipped):
        return Line(level="warning", event="schedule_skipped", fields=fields)
    # The image's own line has the names and the remedy; one fault is not told twice.
    level: Level = "debug" if event.reason in _TOLD_BY_IMAGE else "warning"
    return Line(level=level, event="guard_refused", fields=fields, kind=Kind("guard_refused", "rule", event.rule))


def _blob(event: BlobStarted | BlobSettled) -> Line:
    if isinstance(event, BlobStarted):
        targets = [str(target) for target in event.targets]
        fields: dict[str, object] = {"source": str(event.source), "targets": targets}
        return Line(
            level="debug",
            event="blob_started",
            fields={**fields, "digest": str(event.digest), "bytes": event.size},
        )
    fields = {"target": str(event.target), "digest": str(event.digest), "bytes": event.size}
    return Line(level="debug", event="blob_settled", fields={**fields, "outcome": event.outcome})


def _image(result: UnitResult) -> Line:
    fields: dict[str, object] = {
        "rule": result.rule,
        "source": str(result.source),
        "target": str(result.target),
        "tags": [str(target or source) for source, target in result.tags if target or source][:_MOST_TAGS],
        "digest": str(result.digest) if result.digest else None,
    }
    if len(result.tags) > _MOST_TAGS:
        fields["tags_left_out"] = len(result.tags) - _MOST_TAGS
    if result.served is not None and result.served != result.digest:
        fields["served"] = str(result.served)
    if result.outcome is Outcome.COPIED:
        name = "tag_moved" if result.reason.startswith(_MOVED) else "image_copied"
        fields |= {"bytes": result.blobs.uploaded[1], "duration_ms": _ms(result.seconds), "reason": result.reason}
        return Line(level="info", event=name, fields=_known(fields))
    level, name = _IMAGES[result.outcome]
    if result.problem is not None:
        problem = result.problem
        fields |= {"code": problem.code, "error": problem.message, "remedy": problem.remedy or None}
    else:
        fields["reason"] = result.reason
    return Line(level=level, event=name, fields=_known(fields), kind=Kind(name, "rule", result.rule))  # type: ignore[arg-type] # of the table above


def _run_ended(run: RunStatus) -> Line:
    level: Level = "warning"
    if run.result is RunResult.OK:
        level = "info"
    elif run.result is RunResult.FAILED:
        level = "error"
    fields: dict[str, object] = {
        **_about_run(run),
        "result": run.result,
        "duration_ms": _ms(run.seconds or 0.0),
        **{key: run.outcomes.get(key, 0) for key in ("in_sync", "copied", "skipped", "blocked", "failed")},
        "uploaded_bytes": run.blobs.uploaded.bytes,
        "requests": sum(run.requests.values()),
        "lag_seconds": round(run.lag_seconds, 3),
        "problems": _problems(run.problems),
        "warnings": list(run.warnings[:_MOST_TEXTS]) or None,
    }
    return Line(level=level, event="run_ended", fields=_known(fields))


def _problems(problems: Sequence[ProblemStatus]) -> list[str] | None:
    texts = [f"{problem.code}: {problem.message}" for problem in problems[:_MOST_TEXTS]]
    return texts or None


def _about_run(run: RunStatus) -> dict[str, object]:
    return {"rule": run.rule, "run": run.id}


def _known(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
