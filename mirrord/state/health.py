"""Whether the state store can be used: told once when it breaks, and once when it works again."""

from __future__ import annotations

import anyio

from mirrord.errors import StateError
from mirrord.ports.events import EventSink, StateChanged


class Health:
    """What the last use of the store said of it."""

    def __init__(self, events: EventSink) -> None:
        """Begin well; ``events`` is told of changes."""
        self._events = events
        self._error: StateError | None = None
        self.changed = anyio.Event()

    @property
    def error(self) -> StateError | None:
        """Why the store cannot be used at the moment; None: it can."""
        return self._error

    def failed(self, error: StateError) -> None:
        """Take note that it cannot be used."""
        self._take(error)

    def worked(self) -> None:
        """Take note that something was written."""
        self._take(None)

    def _take(self, error: StateError | None) -> None:
        changed = (error is None) != (self._error is None)
        self._error = error
        if changed:
            self._events.emit(StateChanged(error=str(error) if error is not None else None))
            self.changed.set()
            self.changed = anyio.Event()
