"""Opens the file of a state store: checked, and where it is damaged, set aside and made anew."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from mirrord.errors import StateError
from mirrord.state.mapping import mapped
from mirrord.state.schema import bring_forward

KEPT_DAMAGED = 3
"""Damaged files that are kept beside the store, for whoever wants to know what happened."""

BUSY_MS = 5_000
_STATEMENTS = 64
"""Statements that are kept compiled: there are some thirty of them."""

_CACHE_KIB = 1024
"""Memory of each connection for pages of the file; the system's cache holds them too."""

_SIDE_FILES = ("", "-wal", "-shm", "-journal")


def open_file(path: Path, now: datetime) -> tuple[Engine, bool]:
    """Return an engine for the store at ``path``, and whether a damaged one had to be set aside for it.

    Raises:
        StateError: it cannot be opened, or is of a newer mirrord.
    """
    with mapped("open"):
        try:
            return _open(path), False
        except DatabaseError as exc:
            if not is_damage(exc):
                raise
        set_aside(path, now)
        return _open(path), True


def connect(path: Path) -> Engine:
    """Return an engine with one connection, which may be used from any thread, one at a time."""
    engine = create_engine(
        f"sqlite:///{path.absolute()}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
        query_cache_size=_STATEMENTS,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined] # a connection of sqlite3
        for pragma in (
            f"busy_timeout={BUSY_MS}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"cache_size=-{_CACHE_KIB}",
            "journal_size_limit=16777216",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def set_aside(path: Path, now: datetime) -> None:
    """Move a damaged store and what belongs to it out of the way; of those set aside before the newest are kept."""
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for suffix in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    for earlier in sorted(path.parent.glob(f"{path.name}.damaged-*T??????"), reverse=True)[KEPT_DAMAGED:]:
        for suffix in _SIDE_FILES:
            with contextlib.suppress(OSError):
                earlier.with_name(earlier.name + suffix).unlink()


def is_damage(error: SQLAlchemyError) -> bool:
    """Say whether an error means that the file holds no sound database."""
    words = str(getattr(error, "orig", error)).lower()
    return any(sign in words for sign in ("malformed", "not a database", "corrupt", _DAMAGED))


_DAMAGED = "the quick check found damage"


def _open(path: Path) -> Engine:
    engine = connect(path)
    try:
        with engine.connect() as connection:
            answer = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        if answer != "ok":
            raise DatabaseError("PRAGMA quick_check", {}, Exception(_DAMAGED))
        bring_forward(engine, path)
    except (SQLAlchemyError, StateError):
        engine.dispose()
        raise
    return engine
