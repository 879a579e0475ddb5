"""How long what is kept, and how much of it: a store is bounded whatever a year brings.

What is too much is looked for by a reader, and deleted by its key in small transactions, so that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, bindparam, delete, func, or_, select, tuple_, update

from mirrord.ports.memory import MOST_SEEN
from mirrord.state.database import Database
from mirrord.state.tables import CREATED, HOLDERS, IMAGES, RUNS, SEEN

RUNS_FOR = timedelta(days=30)
MOST_RUNS = 200
"""Runs kept of a rule."""

LEAST_RUNS = 20
"""The newest runs of a rule, which are kept however old."""

CHANGES_FOR = timedelta(days=7)
"""For so long a run's changes are kept; after that its figures alone."""

CHANGES_BYTES = 64 * 1024 * 1024
"""So much text of changes is kept in all, of the newest runs."""

HOLDERS_FOR = timedelta(days=30)
MOST_HOLDERS = 500_000
"""Places of blobs that are kept, of those that were seen last."""

CREATED_FOR = timedelta(days=180)
MOST_CREATED = 500_000
"""Images of which the time of their creation is kept."""

SEEN_FOR = timedelta(days=90)
"""For so long the digests of a tag are kept that no rule mirrors any more."""

ROWS_AT_ONCE = 500
"""Rows deleted in one transaction."""

PAGES_AT_ONCE = 2_000
"""Unused pages of the file that one trim gives back to the disk; 8 MB."""


async def trim(database: Database, now: datetime) -> int:
    """Forget what is older, or more, than is kept; return how many rows that were.

    Raises:
        StateError: the store cannot be read or written.
    """
    total = 0
    for table, wanted in _unwanted(now):
        total += await _delete(database, table, wanted)
    await _forget_changes(database, now)
    await database.vacuum(PAGES_AT_ONCE)
    return total


def _unwanted(now: datetime) -> Iterator[tuple[Table, Select[Any]]]:
    """Yield which rows of which table are to go, by their keys."""
    yield RUNS, _old_runs(now)
    yield HOLDERS, select(*HOLDERS.primary_key).where(HOLDERS.c.at < now - HOLDERS_FOR)
    yield HOLDERS, _beyond(HOLDERS, HOLDERS.c.at, MOST_HOLDERS)
    yield CREATED, select(CREATED.c.digest).where(CREATED.c.kept_at < now - CREATED_FOR)
    yield CREATED, _beyond(CREATED, CREATED.c.kept_at, MOST_CREATED)
    mirrored = select(IMAGES.c.source, IMAGES.c.ref)
    unread = tuple_(SEEN.c.source, SEEN.c.tag).not_in(mirrored)
    yield SEEN, select(*SEEN.primary_key).where(SEEN.c.first_seen < now - SEEN_FOR, unread)
    yield SEEN, _superseded()


def _old_runs(now: datetime) -> Select[Any]:
    place = func.row_number().over(partition_by=RUNS.c.rule, order_by=RUNS.c.id.desc())
    ranked = select(RUNS.c.id, RUNS.c.started, place.label("place")).subquery()
    is_old = and_(ranked.c.started < now - RUNS_FOR, ranked.c.place > LEAST_RUNS)
    return select(ranked.c.id).where(or_(is_old, ranked.c.place > MOST_RUNS))


def _superseded() -> Select[Any]:
    """Return the digests that a tag had before the last `MOST_SEEN`."""
    place = func.row_number().over(partition_by=(SEEN.c.source, SEEN.c.tag), order_by=SEEN.c.first_seen.desc())
    ranked = select(*SEEN.primary_key, place.label("place")).subquery()
    return select(ranked.c.source, ranked.c.tag, ranked.c.digest).where(ranked.c.place > MOST_SEEN)


def _beyond(table: Table, age: Any, most: int) -> Select[Any]:
    return select(*table.primary_key).order_by(age.desc()).offset(most)


async def _delete(database: Database, table: Table, wanted: Select[Any]) -> int:
    """Delete rows by their keys, some at a time; return how many there were."""
    keys = [column.name for column in table.primary_key]
    statement = delete(table).where(and_(*(table.c[name] == bindparam(f"key_{name}") for name in keys)))
    total = 0
    while True:
        found = await database.read(partial(_find, wanted=wanted))
        rows = [{f"key_{name}": value for name, value in zip(keys, row, strict=True)} for row in found]
        if rows:
            await database.write(partial(_run, statement=statement, rows=rows))
        total += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return total


def _find(connection: Connection, wanted: Select[Any]) -> Sequence[Row[Any]]:
    return connection.execute(wanted.limit(ROWS_AT_ONCE)).all()


def _run(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    connection.execute(statement, rows)


async def _forget_changes(database: Database, now: datetime) -> None:
    """Keep the figures of runs that ended long ago, and not what each of them did."""
    sums = select(
        RUNS.c.id, RUNS.c.finished, RUNS.c.changes_bytes, func.sum(RUNS.c.changes_bytes).over(order_by=RUNS.c.id.desc())
    ).subquery()
    sums_id, finished, size, total = sums.c
    wanted = select(sums_id).where(size > 0, or_(finished < now - CHANGES_FOR, total > CHANGES_BYTES))
    statement = update(RUNS).where(RUNS.c.id == bindparam("key_id")).values(changes="[]", changes_bytes=0)
    while True:
        rows = [{"key_id": run} for (run,) in await database.read(partial(_find, wanted=wanted))]
        if rows:
            await database.write(partial(_run, statement=statement, rows=rows))
        if len(rows) < ROWS_AT_ONCE:
            return
