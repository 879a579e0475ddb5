"""What libraries write to Python's logging, brought to our log: from a warning on, and never with a URL in full."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from mirrord.telemetry.logevents import Level

LIBRARIES: Final = (
    *("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi", "sqlalchemy", "alembic", "aiosqlite", "psycopg"),
    *("apscheduler", "watchfiles", "asyncio", "aiohttp", "aiohttp.access", "httpx2", "httpcore2", "httpx", "httpcore"),
    *("boto3", "botocore", "urllib3", "google", "google.auth"),
)
"""Loggers that are held to warnings whatever they were set to: HTTP clients tell every URL below that."""

_MOST_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Library:
    """What a library said."""

    logger: str
    level: Level
    fields: dict[str, object]


class _Handler(logging.Handler):
    def __init__(self, take: Callable[[Library], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on what was said; what cannot be put together is told as such, and nothing is raised."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the arguments do not fit the message, or cannot be shown
            text = f"a message that cannot be put together: {record.msg!r}"
        fields: dict[str, object] = {"logger": record.name, "text": text}
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields |= {"error": f"{type(error).__name__}: {error}", "trace": _frames(record.exc_info[2])}
        self._take(Library(record.name, "error" if record.levelno >= logging.ERROR else "warning", fields))


@contextmanager
def listening(take: Callable[[Library], None]) -> Iterator[None]:
    """Hand on all that is logged, from a warning on, until the end of the block; then all is as it was."""
    root, handler = logging.getLogger(), _Handler(take)
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in LIBRARIES}
    root.addHandler(handler)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).propagate = True  # google-auth keeps its lines to itself
    try:
        yield
    finally:
        root.removeHandler(handler)
        for name, (level, propagates) in before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagates


def _frames(trace: TracebackType | None) -> list[str]:
    """Return where an error came from, the innermost place last; without source lines, which may hold anything."""
    frames = traceback.extract_tb(trace)[-_MOST_FRAMES:]
    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
