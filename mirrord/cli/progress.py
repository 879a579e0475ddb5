"""Progress on stderr: live bars on a terminal, lines without one, nothing where that was asked for.

Events only change figures. A thread of its own does all the writing, so that a terminal that stands still, a full
pipe or a closed stderr can never hold up or break a run.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

from mirrord.cli.names import result_name
from mirrord.cli.options import Colour
from mirrord.cli.output import make_console
from mirrord.cli.units import clock_text, count_text, size_text, time_text
from mirrord.planning.report import Outcome, UnitResult
from mirrord.ports.events import Event, EventSink, UnitFinished
from mirrord.sync.activity import Activity, Rate

if TYPE_CHECKING:
    from rich.live import Live

PAINT_S = 0.125
SUMMARY_S = 10.0
FAREWELL_S = 1.0
"""How long the end of a run waits for a terminal or pipe that takes no more text."""

MOST_LINES = 10_000
"""Lines that wait for a slow reader; what comes on top is left out, for the report has it all."""

_WORKED_ON = frozenset({Outcome.COPIED, Outcome.FAILED, Outcome.BLOCKED})


class Progress(EventSink, Protocol):
    """An event sink that shows what it is told while its context lasts."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show nothing any more."""
        ...


def make_progress(
    *,
    wanted: bool,
    colour: Colour,
    environment: Mapping[str, str],
    stream: IO[str] | None = None,
    notes: bool = False,
) -> Progress:
    """Return the progress display that suits stderr, or ``stream`` in its place; with ``notes``, it tells those too."""
    if notes:
        from mirrord.cli.notes import Notes

        return Notes(make_progress(wanted=wanted, colour=colour, environment=environment, stream=stream))
    stream = stream if stream is not None else sys.stderr
    if not wanted:
        return Silence()
    if _is_terminal(stream) and environment.get("TERM", "") not in {"", "dumb"}:
        return Bars(stream, colour=colour)
    return Lines(stream)


class Silence(Progress):
    """Shows nothing."""

    def emit(self, event: Event) -> None:
        """Forget the event."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Bars(Progress):
    """Live bars: one for all images, and one for each of the transfers that are running."""

    def __init__(self, stream: IO[str], *, colour: Colour, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._colour = colour
        self._activity = Activity(now)
        self._rate = Rate(now())
        self._stop = threading.Event()
        self._painter: threading.Thread | None = None

    def emit(self, event: Event) -> None:
        """Count an event."""
        self._activity.take(event)

    def __enter__(self) -> Self:
        self._painter = threading.Thread(target=self._paint, name="progress", daemon=True)
        self._painter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._painter is not None:
            self._painter.join(FAREWELL_S)

    def _paint(self) -> None:
        from rich.live import Live

        from mirrord.cli.bars import bars

        with contextlib.suppress(OSError, ValueError):  # the terminal is gone; the run goes on
            console = make_console(self._stream, self._colour)
            live = Live(
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                get_renderable=lambda: bars(self._activity, self._rate, width=console.width, height=console.height),
            )
            with live:
                self._refresh_until_stopped(live)

    def _refresh_until_stopped(self, live: Live) -> None:
        while not self._stop.wait(PAINT_S):
            live.refresh()


class Lines(Progress):
    """A line for each image that was worked on, and a summary every ten seconds."""

    def __init__(
        self, stream: IO[str], *, now: Callable[[], float] = time.monotonic, summary_s: float = SUMMARY_S
    ) -> None:
        self._stream = stream
        self._activity = Activity(now)
        self._rate = Rate(now())
        self._summary_s = summary_s
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)
        self._writer: threading.Thread | None = None

    def emit(self, event: Event) -> None:
        """Count an event, and tell of an image that is done."""
        self._activity.take(event)
        if isinstance(event, UnitFinished) and event.carried_out and event.result.outcome in _WORKED_ON:
            self._put(finished_line(event.result, self._activity))

    def __enter__(self) -> Self:
        self._writer = threading.Thread(target=self._write, name="progress", daemon=True)
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put(None)
        if self._writer is not None:
            self._writer.join(FAREWELL_S)

    def _put(self, line: str | None) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def _write(self) -> None:
        due = self._activity.now() + self._summary_s
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more; the run goes on
            while True:
                try:
                    line = self._lines.get(timeout=max(0.0, due - self._activity.now()))
                except queue.Empty:
                    due += self._summary_s
                    line = summary_line(self._activity, self._rate)
                if line is None:
                    return
                self._stream.write(f"{line}\n")
                self._stream.flush()


def finished_line(result: UnitResult, activity: Activity) -> str:
    """Return the line of one image that was worked on."""
    place = f"[{activity.done}/{activity.total}]"
    if result.outcome is Outcome.COPIED:
        uploaded = result.blobs.uploaded[1]
        spent = f"{size_text(uploaded)} uploaded, {time_text(result.seconds)}"
        return f"{place} copied {result_name(result)}: {spent}"
    return f"{place} {result.outcome.value} {result_name(result)}: {result.problem or result.reason}"


def summary_line(activity: Activity, rate: Rate) -> str:
    """Return the figures of a run on one line."""
    read = activity.read_bytes
    parts = [
        f"{activity.done}/{activity.total} images" if activity.total else f"{activity.images_seen} images looked at"
    ]
    if activity.failed:
        parts.append(f"{activity.failed} failed")
    parts.append(f"{size_text(read)} read, {size_text(rate.measure(activity.now(), read))}/s")
    parts.append(count_text(len(activity.transfers), "transfer"))
    return f"{clock_text(activity.elapsed_s)} {', '.join(parts)}"


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
