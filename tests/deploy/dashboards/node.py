"""Serves a file of metrics over HTTP, as node_exporter does for its textfile collector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.prometheus import exposed


@contextmanager
def served(file: Path) -> Iterator[int]:
    """Serve a file of metrics, as node_exporter does; nothing as long as it is not there."""

    def answer(_accept: str | None) -> tuple[bytes, str]:
        return file.read_bytes() if file.exists() else b"", "text/plain; version=0.0.4; charset=utf-8"

    with exposed(answer) as port:
        yield port
