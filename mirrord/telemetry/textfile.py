"""Writes metrics to a file for the textfile collector of Prometheus' node_exporter, after a run that is over."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from prometheus_client import generate_latest

from mirrord.errors import MirrordError, quote
from mirrord.telemetry.metrics import Metrics

_MODE = 0o644


class TextfileError(MirrordError):
    """The file with the metrics could not be written; the one before is still there."""

    default_code = "TEXTFILE_FAILED"
    default_remedy = "see that its directory exists and can be written; mirrord writes a file beside it and renames it"


def write_textfile(path: str | Path, metrics: Metrics) -> None:
    """Write mirrord's metrics to ``path``, all at once: whoever reads it sees the old file or the new one.

    The process's own metrics are left out: node_exporter has metrics of these names itself, and the process is over.
    The collector reads files whose name ends in ``.prom``, and as another user: so everybody may read this one.

    Raises:
        TextfileError: it cannot be written.
    """
    path = Path(path)
    text = generate_latest(metrics.collector)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            os.fchmod(file.fileno(), _MODE)
        Path(temporary).replace(path)
    except (OSError, ValueError) as exc:
        if temporary:
            with suppress(OSError):
                Path(temporary).unlink()
        why = exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
        raise TextfileError(f"write the metrics to {quote(str(path))}: {quote(why)}") from exc
