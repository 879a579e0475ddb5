"""What mirrord coped with on the way, told after the progress display has ended: part of what --verbose shows."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from mirrord.cli.failures import complain
from mirrord.cli.progress import Progress
from mirrord.errors import quote
from mirrord.ports.events import Event, Noted

MOST_NOTES: Final = 200
"""Different notes that are kept; of what comes on top the number is told."""

LONGEST_NOTE: Final = 2000


class Notes(Progress):
    """Keeps notes while another display shows the progress, and writes each once, on stderr, at the end."""

    def __init__(self, shown: Progress, *, everything: bool = True) -> None:
        """Pass everything on to ``shown``; without ``everything`` only notes are kept that nobody has to ask for."""
        self._shown = shown
        self._everything = everything
        self._notes: dict[str, None] = {}
        self._left_out = 0

    def emit(self, event: Event) -> None:
        """Keep a note, and pass every event on."""
        wanted = isinstance(event, Noted) and (self._everything or event.is_unasked)
        if isinstance(event, Noted) and wanted and event.text not in self._notes:
            if len(self._notes) < MOST_NOTES:
                self._notes[event.text] = None
            else:
                self._left_out += 1
        self._shown.emit(event)

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)
        for text in self._notes:
            complain(f"note: {quote(text, LONGEST_NOTE)}")
        if self._left_out:
            complain(f"note: {self._left_out} more notes are not shown")
