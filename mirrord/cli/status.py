"""`mirrord status`: how a running service stands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from mirrord.cli.columns import columns
from mirrord.cli.options import OutputFormat, OutputOption
from mirrord.cli.output import Output
from mirrord.cli.serviceclient import UrlOption, service_status, service_url
from mirrord.errors import quote
from mirrord.planning.words import moment_text, registry_text, shorten, span_text

Json = Mapping[str, object]

_HEAD = ("RULE", "STATE", "BEHIND", "LAST RUN", "NEXT RUN")
_NARROWEST_NAME = 12
_PIPE_WIDTH = 10_000


def status(*, url: UrlOption = None, output: OutputOption = OutputFormat.TEXT) -> int:
    """Show how the running service stands: the verdict, each rule, quotas, and what is wrong with its file.

    The token is that of the file MIRRORD_API_TOKEN_FILE, if it is set.
    """
    found = service_status(service_url(url, os.environ), os.environ)
    out = Output()
    if output is OutputFormat.JSON:
        out.json(found)
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    out.raw("".join(f"{line}\n" for line in status_lines(found, width)))
    return 0


def status_lines(found: Json, width: int) -> Iterator[str]:
    """Yield the lines of a status. Names of rules are cut so far that the table fits ``width`` columns."""
    now = _moment(found, "now")
    verdict = _part(found, "verdict")
    yield _text(verdict, "headline")
    for detail in _items(verdict, "details"):
        yield f"  {quote(str(detail), 1000)}"
    yield from _troubles(found)
    rules = [rule for rule in _items(found, "rules") if isinstance(rule, dict)]
    if rules:
        yield ""
        yield from _table(rules, now, width)
    registries = [host for host in _items(found, "registries") if isinstance(host, dict)]
    lines = [line for host in registries for line in _registry(host, now)]
    if lines:
        yield ""
        yield from lines
    yield ""
    yield from _about(found, now)


def _troubles(found: Json) -> Iterator[str]:
    config = _part(found, "config")
    error = config.get("error")
    if isinstance(error, str):
        yield ""
        yield f"{_text(config, 'file')} was refused as it stands, the one before it is in force:"
        for line in error.splitlines():
            yield f"  {quote(line, 1000)}"
    if isinstance(found.get("state_error"), str):
        yield ""
        yield f"the state store cannot be used: {_text(found, 'state_error')}"
    if found.get("draining") is True:
        yield ""
        yield "the service is about to end"


def _table(rules: Sequence[Json], now: datetime | None, width: int) -> Sequence[str]:
    rows = [(_state(rule), _behind(rule), _last(rule, now), _next(rule, now)) for rule in rules]
    others = sum(max(len(row[place]) for row in (*rows, _HEAD[1:])) + 2 for place in range(4))
    room = max(_NARROWEST_NAME, width - others)
    names = [shorten(_text(rule, "name"), room) for rule in rules]
    return columns([_HEAD, *((name, *row) for name, row in zip(names, rows, strict=True))])


def _state(rule: Json) -> str:
    return "copying" if isinstance(rule.get("running"), dict) else _text(rule, "state").replace("_", " ")


def _behind(rule: Json) -> str:
    """Return how far it is behind, and of what promise: ``3 h 10 min of 1 h``."""
    behind, promise = _number(rule, "freshness_seconds"), rule.get("objective_seconds")
    told = span_text(behind) if behind else "-"
    if not isinstance(promise, int | float):
        return told
    of = f"{told} of {span_text(promise)}"
    return of if rule.get("is_fresh") is True else f"{of} !"


def _last(rule: Json, now: datetime | None) -> str:
    run = _part(rule, "last_run")
    finished = _moment(run, "finished")
    if finished is None or now is None:
        return "-"
    return f"{_text(run, 'result')}, {span_text((now - finished).total_seconds())} ago"


def _next(rule: Json, now: datetime | None) -> str:
    running = _part(rule, "running")
    if running:
        share, eta = running.get("share"), running.get("eta_seconds")
        told = f"{share:.0%}" if isinstance(share, int | float) else "running"
        return f"{told}, {span_text(eta)} left" if isinstance(eta, int | float) else told
    if rule.get("queued") is True:
        return "queued"
    due = _moment(rule, "next_run")
    if due is None or now is None:
        return "-"
    return f"in {span_text((due - now).total_seconds())}" if due > now else "now"


def _registry(host: Json, now: datetime | None) -> Iterator[str]:
    name = registry_text(_text(host, "registry"))
    if host.get("answers") is False:
        yield f"{name} does not answer"
    quota = _part(host, "quota")
    if not quota:
        return
    limit, window = quota.get("limit"), quota.get("window_seconds")
    of = f" of {limit:,}" if isinstance(limit, int) else ""
    within = f" in {span_text(window)}" if isinstance(window, int | float) else ""
    refills = _moment(quota, "refills_at")
    more = f", more by {moment_text(refills, now)}" if refills is not None and now is not None else ""
    reserve = _number(quota, "reserve")
    reserved = f", {reserve:,.0f} reserved" if reserve else ""
    yield f"{name}: {_number(quota, 'remaining'):,.0f}{of} pulls left{within}{reserved}{more}"


def _about(found: Json, now: datetime | None) -> Iterator[str]:
    started, config = _moment(found, "started"), _part(found, "config")
    loaded = _moment(config, "loaded_at")
    up = f", up for {span_text((now - started).total_seconds())}" if now is not None and started is not None else ""
    since = f" of {moment_text(loaded, now)}" if now is not None and loaded is not None else ""
    yield f"mirrord {_text(found, 'version')}{up}"
    yield f"{_text(config, 'file')}{since}"


def _text(part: Json, key: str) -> str:
    """Return text that is harmless to a terminal: what the service knows came from registries."""
    return quote(str(part.get(key, "")), 1000)


def _number(part: Json, key: str) -> float:
    value = part.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _part(part: Json, key: str) -> Json:
    value = part.get(key)
    return value if isinstance(value, dict) else {}


def _items(part: Json, key: str) -> Sequence[object]:
    value = part.get(key)
    return value if isinstance(value, list) else []


def _moment(part: Json, key: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(part.get(key)))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
