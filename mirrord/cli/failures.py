"""From exceptions to messages and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Mapping

from mirrord.errors import (
    ConfigError,
    InvalidReferenceError,
    MirrordError,
    PolicyRefusedError,
    StartupError,
    UsageError,
    quote,
)
from mirrord.planning.report import EXIT_FAILED, EXIT_REFUSED, EXIT_STARTUP, EXIT_USAGE

__all__ = [
    "EXIT_FAILED",
    "EXIT_REFUSED",
    "EXIT_STARTUP",
    "EXIT_USAGE",
    "SIGNAL_BASE",
    "InterruptedRunError",
    "as_error",
    "as_json",
    "complain",
    "exit_code_of",
    "explain",
    "show_traceback",
    "unwrap",
]

SIGNAL_BASE = 128

_CODES: tuple[tuple[type[MirrordError], int], ...] = (
    (ConfigError, EXIT_USAGE),
    (UsageError, EXIT_USAGE),
    (InvalidReferenceError, EXIT_USAGE),
    (StartupError, EXIT_STARTUP),
    (PolicyRefusedError, EXIT_REFUSED),
    (MirrordError, EXIT_FAILED),
)


class InterruptedRunError(Exception):
    """A signal ended the command: what was in flight was finished or left consistent. Exit code 130 or 143."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"ended by {number.name}")
        self.exit_code = SIGNAL_BASE + number


def unwrap(error: BaseException) -> BaseException:
    """Return the one exception inside exception groups; of several, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an exception stands for."""
    if isinstance(error, InterruptedRunError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return SIGNAL_BASE + signal.SIGINT
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_FAILED)


def as_error(error: BaseException) -> MirrordError:
    """Return an exception as one of ours; what nobody expected is a fault of mirrord."""
    if isinstance(error, MirrordError):
        return error
    if isinstance(error, InterruptedRunError | KeyboardInterrupt):
        return MirrordError("the command was ended by a signal before it had a result", code="INTERRUPTED")
    return MirrordError(
        quote(f"{type(error).__name__}: {error}"),
        code="INTERNAL_ERROR",
        remedy="this is a fault of mirrord: please report it with what the option --verbose prints",
    )


def explain(error: MirrordError) -> str:
    """Return what is printed to stderr, in lines; faults of a configuration read like those of a compiler."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        plural = "problem" if count == 1 else "problems"
        return f"{error}\nerror: {error.code}: {count} {plural} in the configuration; nothing was attempted"
    return f"error: {error}"


def as_json(error: MirrordError) -> Mapping[str, object]:
    """Return an error as JSON results show it."""
    values: dict[str, object] = {"code": error.code, "message": error.message, "remedy": error.remedy}
    if isinstance(error, ConfigError):
        values["message"] = "the configuration is not valid; nothing was attempted"
        values["problems"] = [
            {
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "code": problem.code,
                "message": problem.message,
            }
            for problem in error.problems
        ]
    return values


def complain(text: str) -> None:
    """Write a message to stderr; a stderr that is gone is no reason to fail."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        return


def show_traceback(error: BaseException) -> None:
    """Write where an exception came from to stderr."""
    complain(traceback_text(error))


def traceback_text(error: BaseException) -> str:
    """Return a traceback with all causes. Messages of other libraries may quote what was sent: secrets are left out."""
    from mirrord.registry.redact import redact_text

    entries = traceback.format_exception(error)
    shown = [entry if entry.lstrip(" |+-").startswith("File ") else redact_text(entry) for entry in entries]
    return "".join(shown).rstrip()
