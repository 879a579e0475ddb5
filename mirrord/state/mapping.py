"""The one place where errors of the database become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from mirrord.errors import StateError, quote

_REMEDIES = (
    ("full", "make room on its disk"),
    ("readonly", "make the file and its directory writable"),
    ("read-only", "make the file and its directory writable"),
    ("locked", "see what else has the file open"),
    ("i/o", "see whether its disk is well"),
)


_REMEDY = "see that its file can be read and written"


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Turn what the database raises into a `StateError`; ``doing`` is what was tried: ``open``, ``read``, ``write``."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
        cause = str(getattr(exc, "orig", None) or exc)
        low = cause.lower()
        remedy = next(
            (remedy for sign, remedy in _REMEDIES if sign in low), "see that its file can be read and written"
        )
        raise StateError(f"could not {doing} the state store: {quote(cause)}", remedy=remedy) from exc
