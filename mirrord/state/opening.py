"""Opens the file of a state store: checked, and where it is damaged, set aside and made anew."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import suppress
from datetime import datetime
from enum import Enum
from glob import escape
from pathlib import Path

from sqlalchemy import Engine, event
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from mirrord.state.engine import BUSY_S, FILE_PRAGMAS, begin_to_write, command, connect
from mirrord.state.mapping import is_damage, mapped
from mirrord.state.place import look_at
from mirrord.state.schema import SCHEMA, Schema, bring_forward

KEPT_DAMAGED = 3
"""Damaged files that are kept beside the store, for whoever wants to know what happened."""

_SIDE_FILES = ("-wal", "-shm", "-journal")
_HEADER_BYTES = 100
_USER_VERSION = slice(60, 64)
"""Where a file of SQLite has the number by which a store knows its journal: sqlite.org/fileformat.html, 1.3."""


class Found(Enum):
    """What stood where the store belongs."""

    SOUND = "sound"
    LOST = "was gone or empty"
    DAMAGED = "was damaged and is set aside"


class _DamagedError(Exception):
    """A check found that the file is not sound."""


def ready_file(
    path: Path, now: datetime, *, was_used: bool = False, busy_s: float = BUSY_S, schema: Schema = SCHEMA
) -> Found:
    """See that a sound store with the newest tables stands at ``path``, and return what was found there.

    ``was_used``: a process had this store before, so that it cannot be empty for being new. The caller has the lock.

    Raises:
        StateError: it cannot be opened, or is of a newer mirrord.
    """
    with mapped("open"):
        found = _missing(path, now, was_used=was_used)
        try:
            _ready(path, busy_s, schema)
        except (DatabaseError, sqlite3.DatabaseError, _DamagedError) as exc:
            if not isinstance(exc, _DamagedError) and not is_damage(exc):
                raise
        else:
            return found
        set_aside(path, now)
        _ready(path, busy_s, schema)
        return Found.DAMAGED


def set_aside(path: Path, now: datetime) -> None:
    """Move a damaged store and what belongs to it out of the way; of those set aside before the newest are kept."""
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    for suffix in ("", *_SIDE_FILES):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    stamps = sorted({file.name[: len(aside.name)] for file in path.parent.glob(f"{escape(path.name)}.damaged-*")})
    for stamp in stamps[:-KEPT_DAMAGED]:
        for suffix in ("", *_SIDE_FILES):
            with suppress(OSError):
                path.with_name(stamp + suffix).unlink()


def _missing(path: Path, now: datetime, *, was_used: bool) -> Found:
    """Say whether the file is gone or empty; a journal that was left without it is of no use, and is set aside."""
    if _holds_something(path):
        return Found.SOUND
    journals = [path.with_name(path.name + suffix) for suffix in _SIDE_FILES]
    if any(map(_holds_something, journals)):
        set_aside(path, now)
        return Found.LOST
    return Found.LOST if was_used else Found.SOUND


def _holds_something(path: Path) -> bool:
    found = look_at(path)
    return found is not None and found.st_size > 0


def _ready(path: Path, busy_s: float, schema: Schema) -> None:
    path.touch(0o600)
    number = _header(path)
    was_killed = _holds_something(path.with_name(f"{path.name}-wal"))
    engine = connect(path, busy_s=busy_s)
    event.listen(engine, "begin", begin_to_write)
    try:
        if path.stat().st_size == 0:
            command(engine, *FILE_PRAGMAS)
        _check(engine, number, thoroughly=was_killed)
        bring_forward(engine, path, schema)
    finally:
        with suppress(SQLAlchemyError):
            engine.dispose()


def _header(path: Path) -> int:
    """Return the number that the file itself holds, without what its journal has to add; 0: none."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return int(struct.unpack(">I", header[_USER_VERSION])[0]) if len(header) == _HEADER_BYTES else 0


def _check(engine: Engine, number: int, *, thoroughly: bool) -> None:
    """Have SQLite look at the file; after a process that was killed also at whether indexes and tables agree.

    Raises:
        _DamagedError: the file is not sound, or its journal is that of another store.
        sqlite3.Error: it cannot be read at all.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        (known,) = cursor.execute("PRAGMA user_version").fetchone()
        if number not in {0, known}:
            raise _DamagedError
        (answer,) = cursor.execute(f"PRAGMA {'integrity' if thoroughly else 'quick'}_check(1)").fetchone()
        if answer != "ok":
            raise _DamagedError
    finally:
        connection.close()
