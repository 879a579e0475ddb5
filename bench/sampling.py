"""What a process uses, looked at every few seconds, and whether that grows."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

WARM_UP = 0.1
"""The share of the time in which caches may fill: it is left out of every comparison."""

WINDOW = 0.2
"""The share of the time that baseline and end are the means of."""

_TICKS = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"


class Sample(NamedTuple):
    """One look. ``seconds`` since the first, ``cpu_s`` since the start of the process, sizes in bytes."""

    seconds: float
    rss: int
    anonymous: int
    descriptors: int
    sockets: int
    connections: int
    threads: int
    cpu_s: float
    state: int


class Trend(NamedTuple):
    """How one figure developed: its mean after the warm-up and at the end, and the slope between, for an hour."""

    name: str
    baseline: float
    end: float
    most: float
    slope: float

    @property
    def growth(self) -> float:
        """By which share of the baseline it grew; 0 where there is no baseline."""
        return (self.end - self.baseline) / self.baseline if self.baseline else 0.0


def look(pid: int, *, seconds: float = 0.0, state_files: Sequence[Path] = (), proc: Path = Path("/proc")) -> Sample:
    """Look at a process.

    Args:
        pid: the process.
        seconds: what stands in the sample.
        state_files: files whose sizes are added up.
        proc: where the kernel shows processes.

    Raises:
        OSError: the process is gone.
    """
    here = proc / str(pid)
    status = dict(line.split(":", 1) for line in (here / "status").read_text().splitlines() if ":" in line)
    # The name of a program may have spaces and brackets: fields are counted from the last one.
    fields = (here / "stat").read_text().rpartition(")")[2].split()
    links = [_link(entry) for entry in (here / "fd").iterdir()]
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    return Sample(
        seconds=round(seconds, 3),
        rss=_kibibytes(status, "VmRSS"),
        anonymous=_kibibytes(status, "RssAnon"),
        descriptors=len(links),
        sockets=len(inodes),
        connections=_connections(here, inodes),
        threads=int(status["Threads"]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        state=sum(file.stat().st_size for file in state_files if file.exists()),
    )


class Sampler:
    """Looks at a process every few seconds while its context lasts, and writes each sample into a CSV file.

    Args:
        look: takes a sample, given the seconds since the first.
        file: the CSV file.
        every_s: how long it waits between two samples.
    """

    def __init__(self, look: Callable[[float], Sample], file: Path, *, every_s: float) -> None:
        self.samples: list[Sample] = []
        self.failure: OSError | None = None
        self._look = look
        self._file = file
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        begin = time.monotonic()
        with self._file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Sample._fields)
            while True:
                try:
                    sample = self._look(time.monotonic() - begin)
                except OSError as exc:  # the process is gone: whoever started it knows why
                    self.failure = exc
                    return
                self.samples.append(sample)
                writer.writerow(sample)
                file.flush()
                if self._end.wait(self._every_s):
                    return


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """Return how each figure developed; CPU as the share of one that was used. Nothing for fewer than ten samples."""
    if len(samples) < 10:
        return []
    start, end = samples[0].seconds, samples[-1].seconds
    span = end - start
    warm = [sample for sample in samples if sample.seconds >= start + WARM_UP * span]
    first = [sample for sample in warm if sample.seconds <= start + (WARM_UP + WINDOW) * span]
    last = [sample for sample in warm if sample.seconds >= end - WINDOW * span]
    found = [
        _trend(name, warm, first, last)
        for name in ("rss", "anonymous", "descriptors", "sockets", "connections", "threads", "state")
    ]
    return [*found, Trend("cpu", _cpu(first), _cpu(last), max(_cpu(first), _cpu(last)), 0.0)]


def _trend(name: str, warm: Sequence[Sample], first: Sequence[Sample], last: Sequence[Sample]) -> Trend:
    values = [float(getattr(sample, name)) for sample in warm]
    times = [sample.seconds for sample in warm]
    return Trend(name, _mean(first, name), _mean(last, name), max(values), _slope(times, values) * 3600)


def _mean(samples: Sequence[Sample], name: str) -> float:
    return sum(float(getattr(sample, name)) for sample in samples) / len(samples)


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the line with the least squares, in units a second."""
    middle_time, middle_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((moment - middle_time) ** 2 for moment in times)
    if not spread:
        return 0.0
    pairs = zip(times, values, strict=True)
    return sum((moment - middle_time) * (value - middle_value) for moment, value in pairs) / spread


def _cpu(samples: Sequence[Sample]) -> float:
    span = samples[-1].seconds - samples[0].seconds
    return (samples[-1].cpu_s - samples[0].cpu_s) / span if span else 0.0


def _kibibytes(status: Mapping[str, str], name: str) -> int:
    return int(status[name].split()[0]) * 1024


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:  # it was closed meanwhile
        return ""


def _connections(here: Path, inodes: set[str]) -> int:
    """Return how many TCP connections are established of which the process has the socket."""
    count = 0
    for table in ("tcp", "tcp6"):
        file = here / "net" / table
        if file.exists():
            rows = [line.split() for line in file.read_text().splitlines()[1:]]
            count += sum(row[3] == _ESTABLISHED and row[9] in inodes for row in rows)
    return count
