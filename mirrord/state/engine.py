"""Connections to the file, and the few statements that differ from database to database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.pool import QueuePool

BUSY_S = 5.0
"""How long a statement waits where another program has the file locked."""

_PRAGMAS = (
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "journal_size_limit=16777216",
    "cache_size=-1024",  # KiB a connection: the system's cache holds the file too
)
"""What holds for a connection. What holds for the file, `FILE_PRAGMAS`, is written to it once."""

FILE_PRAGMAS = ("auto_vacuum=INCREMENTAL", "journal_mode=WAL")

_STATEMENTS = 64
"""Statements that are kept compiled: there are some thirty."""


def connect(path: Path, *, connections: int = 1, busy_s: float = BUSY_S) -> Engine:
    """Return an engine whose connections any thread may use, one at a time.

    Transactions begin where they are said to, and take the right to write at once: the driver by itself begins them
    with the first change of a row, and leaves tables that are made outside of them.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        query_cache_size=_STATEMENTS,
        connect_args={"check_same_thread": False, "timeout": busy_s, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def command(engine: Engine, *pragmas: str) -> None:
    """Run commands of SQLite that stand in no transaction."""
    connection = engine.raw_connection()
    try:
        for pragma in pragmas:
            connection.cursor().execute(f"PRAGMA {pragma}").fetchall()
    finally:
        connection.close()


def begin_to_write(connection: Connection) -> None:
    """Take the right to write for the transaction that SQLAlchemy has just begun."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], keeps: frozenset[str] = frozenset()
) -> None:
    """Insert rows, or replace those that are there; columns of ``keeps`` stay as they were."""
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.c
        if column.name not in keys and column.name not in keeps
    }
    if changed:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))
    else:
        connection.execute(statement.on_conflict_do_nothing(index_elements=keys), list(rows))


def holds(column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
    """Return whether a column has a text in it, whatever the case. SQLite's LIKE looks at no case of ASCII letters."""
    return column.contains(text, autoescape=True)
