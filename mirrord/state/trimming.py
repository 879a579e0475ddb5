"""How long what is kept, and how much of it: a store is bounded whatever a year brings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Table,
    and_,
    delete,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)

from mirrord.ports.memory import MOST_SEEN
from mirrord.state.database import Database
from mirrord.state.tables import CREATED, HOLDERS, IMAGES, RUNS, SEEN

RUNS_FOR = timedelta(days=30)
MOST_RUNS = 200
"""Runs kept of a rule; the newest 20 of each are kept however old."""

LEAST_RUNS = 20
CHANGES_FOR = timedelta(days=7)
"""For so long a run's changes are kept; after that its figures alone."""

HOLDERS_FOR = timedelta(days=30)
MOST_HOLDERS = 500_000
CREATED_FOR = timedelta(days=180)
ROWS_AT_ONCE = 5_000
"""Rows deleted in one transaction."""


async def trim(database: Database, now: datetime) -> int:
    """Forget what is older, or more, than is kept; return how many rows that were.

    Raises:
        StateError: the store cannot be written.
    """
    total = 0
    for statement in _statements(now):

        def work(connection: Connection, statement: Delete = statement) -> int:
            return int(connection.execute(statement).rowcount)

        while True:
            count = await database.write(work)
            total += count
            if count < ROWS_AT_ONCE:
                break
    await database.write(lambda connection: _forget_changes(connection, now))
    return total


def _statements(now: datetime) -> Iterator[Delete]:
    newer = RUNS.alias()
    rank = select(func.count()).select_from(newer).where(newer.c.rule == RUNS.c.rule, newer.c.id > RUNS.c.id)
    old = and_(rank.scalar_subquery() >= LEAST_RUNS, RUNS.c.started < now - RUNS_FOR)
    yield _limited(RUNS, or_(old, rank.scalar_subquery() >= MOST_RUNS))
    yield _limited(HOLDERS, HOLDERS.c.at < now - HOLDERS_FOR)
    beyond = select(HOLDERS.c.at).order_by(HOLDERS.c.at.desc()).offset(MOST_HOLDERS).limit(1)
    yield _limited(HOLDERS, HOLDERS.c.at <= beyond.scalar_subquery())
    yield _limited(CREATED, CREATED.c.kept_at < now - CREATED_FOR)
    later = SEEN.alias()
    newer_seen = select(func.count()).where(
        later.c.source == SEEN.c.source, later.c.tag == SEEN.c.tag, later.c.first_seen > SEEN.c.first_seen
    )
    unread = not_(exists(select(IMAGES.c.ref).where(IMAGES.c.source == SEEN.c.source, IMAGES.c.ref == SEEN.c.tag)))
    yield _limited(SEEN, or_(newer_seen.scalar_subquery() >= MOST_SEEN, unread))


def _limited(table: Table, where: ColumnElement[bool]) -> Delete:
    """Return the deletion of a bounded number of rows, found by SQLite's own name for a row."""
    row: ColumnElement[int] = literal_column(f"{table.name}.rowid")
    wanted = select(row).select_from(table).where(where).limit(ROWS_AT_ONCE).correlate(None)
    return delete(table).where(row.in_(wanted))


def _forget_changes(connection: Connection, now: datetime) -> None:
    """Keep the figures of runs that ended long ago, and not what each of them did."""
    old = RUNS.update().where(RUNS.c.finished < now - CHANGES_FOR, RUNS.c.changes != "[]").values(changes="[]")
    connection.execute(old)
