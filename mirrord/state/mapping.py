"""The one place where errors of the database become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from mirrord.errors import StateError, quote

_REMEDIES = (
    ("full", "make room on its disk"),
    ("readonly", "make the file and its directory writable"),
    ("read-only", "make the file and its directory writable"),
    ("locked", "see what else has the file open"),
    ("i/o", "see whether its disk is well"),
    ("malformed", "start mirrord again: it sets the damaged file aside and makes a new one"),
)
_REMEDY = "see that its file can be read and written"

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_VALUES = (ValueError, TypeError, ArithmeticError)
"""What Python and sqlite3 raise for a value that no column can hold: a number of 30 digits, half a character."""


class UnwritableError(StateError):
    """The store is well, but a value cannot be written to it."""


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Turn what the database raises into a `StateError`; ``doing`` is what was tried: ``open``, ``read``, ``write``.

    Raises:
        StateError: the database failed.
        UnwritableError: the database is well, and refuses a value.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
        cause = str(getattr(exc, "orig", None) or exc)
        low = cause.lower()
        remedy = next((remedy for sign, remedy in _REMEDIES if sign in low), _REMEDY)
        kind = UnwritableError if _is_about_a_value(exc) else StateError
        raise kind(f"could not {doing} the state store: {quote(cause)}", remedy=remedy) from exc
    except _VALUES as exc:
        raise UnwritableError(f"could not {doing} the state store: {quote(str(exc))}") from exc


def is_damage(error: BaseException) -> bool:
    """Say whether an error means that the file holds no sound database."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGE


def _is_about_a_value(error: Exception) -> bool:
    """Say whether the failure is of what was to be written. All that SQLite says of the file is operational."""
    if isinstance(error, DBAPIError):
        return not isinstance(error, OperationalError) and not is_damage(error) and _code(error) != sqlite3.SQLITE_FULL
    return isinstance(error, SQLAlchemyError) and isinstance(getattr(error, "orig", None), _VALUES)


def _code(error: DBAPIError) -> int | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
