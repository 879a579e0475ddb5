"""A run as NDJSON: one JSON object a line, for each image as soon as it is settled."""

from __future__ import annotations

from mirrord.cli.output import Output, OutputFailedError
from mirrord.cli.runjson import result_json
from mirrord.ports.events import Event, EventSink, UnitFinished


class ImageStream(EventSink):
    """Writes settled images to stdout, and passes every event on.

    ``failure`` is set when stdout does not take them: an event sink never raises, so the end of the run has to.
    """

    def __init__(self, out: Output, then: EventSink) -> None:
        self.failure: OutputFailedError | None = None
        self._out = out
        self._then = then

    def emit(self, event: Event) -> None:
        """Write what an event says of an image."""
        if isinstance(event, UnitFinished):
            try:
                self._out.json_line({"type": "image", **result_json(event.result)})
            except OutputFailedError as exc:
                self.failure = exc
        self._then.emit(event)
