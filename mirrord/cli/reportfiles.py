"""Files that a run writes beside its result: which were asked for, whether they can be written, and writing them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mirrord.errors import MirrordError, UsageError, quote


class ReportKind(StrEnum):
    """What a report is written as."""

    JUNIT = "junit"
    MARKDOWN = "markdown"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report that was asked for. ``path`` is as it was given."""

    kind: ReportKind
    path: str


def parse_reports(values: Sequence[str]) -> tuple[ReportFile, ...]:
    """Return the reports that ``KIND=FILE`` asks for.

    Raises:
        UsageError: it is no such pair, or one file would be written twice.
    """
    reports = tuple(map(_parse, values))
    places = [os.path.realpath(report.path) for report in reports]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UsageError(
                f'--report names the file "{quote(reports[number].path)}" twice',
                code="USAGE_CONFLICT",
                remedy="give each report a file of its own",
            )
    return reports


def check_writable(path: str, option: str, *, config: str | None = None) -> None:
    """See that a file could be written at the end of a run; nothing is made.

    Args:
        path: the file.
        option: the option that named it.
        config: the configuration file, which is never written over.

    Raises:
        UsageError: its directory does not exist or cannot be written to, or it is no file.
    """
    target = Path(os.path.realpath(path))
    fault = _fault_of(target)
    if not fault and config is not None and target == Path(os.path.realpath(config)):
        fault = "that is the configuration file"
    if fault:
        raise UsageError(
            f'{option}: "{quote(path)}" cannot be written: {fault}', remedy="name a file in a directory that exists"
        )


def write_file(path: str, text: str) -> None:
    """Put ``text`` in the place of what the file holds, at once: a reader sees all of it or what was there before.

    Raises:
        MirrordError: it cannot be written (REPORT_UNWRITABLE).
    """
    try:
        _replace(Path(os.path.realpath(path)), text.encode("utf-8", "backslashreplace"))
    except OSError as exc:
        raise MirrordError(
            f'the report "{quote(path)}" could not be written: {exc.strerror}',
            code="REPORT_UNWRITABLE",
            remedy="see that its directory exists, can be written to, and has room",
        ) from exc


def _parse(value: str) -> ReportFile:
    kind, sign, path = value.partition("=")
    kinds = [known.value for known in ReportKind]
    if not sign or kind not in kinds:
        raise UsageError(f'--report takes KIND=FILE, not "{quote(value)}"', remedy=f"the kinds are {', '.join(kinds)}")
    if path in {"", "-"}:
        raise UsageError(
            f"--report {kind} needs a file; it is never written to stdout",
            remedy=f"write --report {kind}=FILE; --output json writes the result to stdout as JSON",
        )
    return ReportFile(ReportKind(kind), path)


def _fault_of(target: Path) -> str:
    try:
        kind = _kind(target)
        if stat.S_ISDIR(kind):
            return "it is a directory"
        if kind and not stat.S_ISREG(kind):
            return "it is no regular file"
        if not stat.S_ISDIR(_kind(target.parent)):
            return "its directory does not exist"
        if not os.access(target.parent, os.W_OK | os.X_OK):
            return "its directory cannot be written to"
    except OSError as exc:
        return exc.strerror or "its path is not valid"
    return ""


def _kind(path: Path) -> int:
    """Return a file's mode, 0 where there is none; `Path.is_dir` and its kin hide why one cannot be looked at."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _replace(target: Path, content: bytes) -> None:
    """Write a new file beside ``target`` and rename it; a link keeps pointing where it did."""
    beside = target.parent / f".mirrord-{secrets.token_hex(8)}.tmp"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # there is none yet, or it belongs to somebody else
                os.fchmod(descriptor, target.stat().st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
