"""The log: one line for each change in the world, for what was coped with, and for what the user must act on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from mirrord.ports.events import Event, EventSink, RuleStarted, RunBegan, RunEnded
from mirrord.telemetry.liblogs import Library, listening
from mirrord.telemetry.logevents import Level, Line, line_of
from mirrord.telemetry.loglimit import MOST_ALIKE, Allowance, Kind
from mirrord.telemetry.logtext import clean
from mirrord.telemetry.logwriter import LineWriter
from mirrord.telemetry.slim import structlog

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_MOST_RUNS = 10_000

Format = Literal["console", "json"]


class Log(EventSink):
    """Takes events and writes lines; nothing that goes wrong here reaches anybody else.

    ``faults`` counts events that could not be told, ``dropped`` lines that could not be written.
    """

    def __init__(
        self, *, level: str, render: structlog.typing.Processor, stream: TextIO, now: Callable[[], datetime]
    ) -> None:
        """Write nothing yet; see `open_log`."""
        self.faults = 0
        self._least = LEVELS[level]
        self._now = now
        self._runs: dict[str, str] = {}
        self._allowance = Allowance(time.monotonic, MOST_ALIKE)
        self._writer = LineWriter(stream, dropped_line=self._dropped_line)
        self._processors: list[structlog.typing.Processor] = [self._stamp, _clean, render]
        self._logger = structlog.wrap_logger(
            _Lines(self._writer),
            processors=self._processors,
            wrapper_class=structlog.make_filtering_bound_logger(self._least),
            context_class=dict,
            cache_logger_on_first_use=True,
        )

    @property
    def dropped(self) -> int:
        """How many lines could not be written."""
        return self._writer.dropped

    def emit(self, event: Event) -> None:
        """Write the line of an event."""
        try:
            self._take(event)
        except Exception:  # noqa: BLE001 - no log line may stop what it tells of
            self.faults += 1

    def tell(self, event: str, /, level: Level = "info", **fields: object) -> None:
        """Write a line about the service itself: ``service_started`` for instance."""
        try:
            self._write(Line(level=level, event=event, fields=fields))
        except Exception:  # noqa: BLE001 - as above
            self.faults += 1

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Have what libraries log, from a warning on, written as lines of this log, until the end of the block."""
        with listening(self._library):
            yield

    def flush(self) -> bool:
        """Wait, not for long, until all lines are written; say whether they are. Blocks: for tests and the end."""
        return self._writer.flush()

    def close(self) -> None:
        """Write what waits, and what was held back; blocks for a few seconds at most."""
        try:
            self._tell_held(self._allowance.ended())
        except Exception:  # noqa: BLE001 - as above
            self.faults += 1
        self._writer.close()

    def _take(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._tell_held(self._allowance.ended(event.run.rule))
            if len(self._runs) < _MOST_RUNS:
                self._runs[event.run.rule] = event.run.id
        elif isinstance(event, RuleStarted) and event.rule not in self._runs:
            self._tell_held(self._allowance.ended(event.rule))
        elif isinstance(event, RunEnded):
            self._tell_held(self._allowance.ended(event.run.rule))
            self._runs.pop(event.run.rule, None)
        line = line_of(event)
        if line is None or LEVELS[line.level] < self._least:
            return
        self._tell_held(self._allowance.passed())
        if line.kind is None or self._allowance.take(line.kind):
            self._write(line)

    def _tell_held(self, held: Iterator[tuple[Kind, int]]) -> None:
        for kind, count in held:
            self._write(
                Line(
                    level="error" if kind.event == "image_failed" else "warning",
                    event="lines_held_back",
                    fields={"of": kind.event, kind.about: kind.name, "count": count},
                )
            )

    def _write(self, line: Line) -> None:
        fields = line.fields
        rule = fields.get("rule")
        if "run" not in fields and isinstance(rule, str) and rule in self._runs:
            fields = {"run": self._runs[rule], **fields}
        getattr(self._logger, line.level)(line.event, **fields)

    def _library(self, said: Library) -> None:
        try:
            kind = Kind("library", "logger", said.logger)
            if self._allowance.take(kind):
                self._write(Line(level=said.level, event="library", fields=said.fields))
        except Exception:  # noqa: BLE001 - as above
            self.faults += 1

    def _stamp(self, _logger: object, level: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        moment = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"ts": moment, "level": level, "event": fields.pop("event"), **fields}

    def _dropped_line(self, count: int) -> str:
        fields: Any = {"event": "lines_dropped", "count": count}
        for processor in self._processors:
            fields = processor(None, "warning", fields)
        return str(fields)


class _Lines:
    """What structlog hands whole lines to."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = writer.write


def _clean(_logger: object, _level: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {str(key): clean(value, key=str(key)) for key, value in fields.items()}


def open_log(
    level: str,
    format: Format,  # noqa: A002 - that is what it is called everywhere
    stream: TextIO,
    *,
    environment: Mapping[str, str] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Log:
    """Return a log that writes to ``stream``; nothing of structlog or the standard library is configured by it.

    Args:
        level: the least grave lines that are written: debug, info, warning or error.
        format: ``json``, one object a line, or ``console``, for people; coloured on a terminal, unless NO_COLOR is set.
        stream: where lines go; it is not closed.
        environment: where NO_COLOR is looked for; None: that of the process.
        now: the moment.
    """
    render: structlog.typing.Processor
    if format == "json":
        render = structlog.processors.JSONRenderer()
    else:
        variables = os.environ if environment is None else environment
        colours = _is_terminal(stream) and not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"
        render = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False, timestamp_key="ts", pad_event_to=20)
    return Log(level=level, render=render, stream=stream, now=now)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False
