"""What a page shows against what a command printed: equal, but for moments, durations and what else differs by run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from itertools import groupby

ELLIPSIS = "..."
VARYING = (
    (re.compile(r"\x1b\[[\d;]*[A-Za-z]"), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<moment>"),
    (re.compile(r"\b\d{8}T\d{9}-[0-9a-f]{6}\b"), "<run>"),
    (re.compile(r"\b\d\d:\d\d(?::\d\d)?\b(?=  | UTC)"), "<clock>"),
    (re.compile(r"\b(in|ok,) \d+(?:\.\d+)? s\b"), r"\1 <duration>"),
    # Moments of a schedule of 15 minutes are the same for all who have it, so the next one may be near.
    (re.compile(r"(?<=  )in (?:\d|1[0-5]) min$"), "in <duration>"),
    (re.compile(r"\bduration_ms=\d+\b"), "duration_ms=<duration>"),
    (re.compile(r"\b\d+(?:\.\d+)? [KM]iB/s"), "<rate>"),
    (re.compile(r"/tmp/mirrord-demo-\w{8}/"), "<directory of the demo>/"),
    (re.compile(r"\b127\.0\.0\.1:[1-9]\d{4}\b"), "127.0.0.1:<port>"),
    # Columns are as wide as what stands in them.
    (re.compile(r"(?<=\S) {2,}"), "  "),
)
REQUESTS = re.compile(r"(?<=\brequests=)\d+|\b\d+(?= requests? in <duration>)")
PROGRESS = re.compile(r"^\[\d+/(\d+)\] (.*): .* uploaded, \d+\.\d s$")
TOLERANCE = 0.05
"""Of a number of requests: connections that are made side by side ask now and then once more."""


def difference(shown: Sequence[str], *printed: str) -> str:
    """Return how what a page shows differs from what was printed; empty if it does not.

    A line of three dots stands for any lines, and three dots within a line for anything there. Progress lines come in
    any order, and which of two images uploaded what they share is open.

    Args:
        shown: the lines of the page.
        *printed: what may be meant: the standard output alone, or all.
    """
    wanted = _lines("\n".join(shown))
    for text in printed:
        if _matches(wanted, _lines(text)):
            return ""
    nearest = _lines(printed[-1])
    return "\n".join(difflib.ndiff(wanted, nearest))


def _lines(text: str) -> list[str]:
    """Return lines with what varies replaced by its name."""
    found = []
    for raw in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        line = raw.rstrip()
        progress = PROGRESS.match(line)
        if progress:
            found.append(f"[<n>/{progress[1]}] {progress[2]}: <size> uploaded, <duration>")
            continue
        for pattern, name in VARYING:
            line = pattern.sub(name, line)
        found.append(line)
    return [
        line
        for is_progress, group in groupby(found, key=lambda line: line.startswith("[<n>/"))
        for line in (sorted(group) if is_progress else group)
    ]


def _matches(wanted: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether lines are those wanted, where a line of three dots takes any number of them."""
    reached = {0}
    for line in wanted:
        if line == ELLIPSIS:
            reached = set(range(min(reached), len(printed) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(printed) and _same(line, printed[at])}
    return len(printed) in reached


def _same(wanted: str, printed: str) -> bool:
    counts = [[int(count) for count in REQUESTS.findall(line)] for line in (wanted, printed)]
    if len(counts[0]) != len(counts[1]):
        return False
    if any(abs(one - other) > max(1, TOLERANCE * one) for one, other in zip(*counts, strict=True)):
        return False
    wanted, printed = (REQUESTS.sub("<requests>", line) for line in (wanted, printed))
    pattern = ".*".join(map(re.escape, wanted.split(ELLIPSIS)))
    return re.fullmatch(pattern, printed) is not None
