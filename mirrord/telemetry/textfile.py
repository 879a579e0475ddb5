"""Writes metrics to a file for the textfile collector of Prometheus' node_exporter, after a run that is over."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mirrord.errors import MirrordError, quote
from mirrord.telemetry.catalog import LAST_SUCCESS
from mirrord.telemetry.metrics import Metrics

_MODE: Final = 0o644
_LONGEST_READ: Final = 16 * 1024 * 1024
_SUCCESS = re.compile(rf"^{LAST_SUCCESS.name}\{{.*$", re.MULTILINE)


class TextfileError(MirrordError):
    """The file with the metrics could not be written; the one before is still there."""

    default_code = "TEXTFILE_FAILED"
    default_remedy = "see that its directory exists and can be written; mirrord writes a file beside it and renames it"


def write_textfile(path: str | Path, metrics: Metrics) -> None:
    """Write mirrord's metrics to ``path``, all at once: whoever reads it sees the old file or the new one.

    The process's own metrics are left out: node_exporter has metrics of these names itself, and the process is over.
    The last success of a rule of which this run had none is taken over from the old file.
    The collector reads files whose name ends in ``.prom``, and as another user: so everybody may read this one.

    Raises:
        TextfileError: it cannot be written.
    """
    path = Path(path)
    _recall(path, metrics)
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


def _recall(path: Path, metrics: Metrics) -> None:
    """Let the metrics know of the last successes that an old file tells, as far as it can be read."""
    with suppress(OSError, ValueError):
        with path.open("rb") as file:
            old = file.read(_LONGEST_READ).decode("utf-8")
        for family in text_string_to_metric_families("\n".join(_SUCCESS.findall(old)) + "\n"):
            for sample in family.samples:
                metrics.recall_success(sample.labels.get("rule", ""), float(sample.value))
