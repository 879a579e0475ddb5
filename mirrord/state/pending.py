"""What is to be written: the newest of each row, so that it is bounded by what there is to know."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, not_
from sqlalchemy.dialects.sqlite import insert

Row = dict[str, Any]
_Key = tuple[str, Hashable]

ROWS_AT_ONCE = 500
"""Rows of one transaction: a question waits for no more."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is to stand in a table, or (``row`` None) not. ``keeps`` are columns that stay as they were."""

    table: Table
    key: Row
    row: Row | None
    keeps: frozenset[str] = frozenset()


@dataclass(slots=True)
class Pending:
    """Changes that are not written yet, in the order of their first mention, and sources that are to be forgotten."""

    changes: dict[_Key, Change] = field(default_factory=dict)
    sources_left: dict[str, frozenset[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return bool(self.changes or self.sources_left)

    def add(self, change: Change) -> None:
        """Take a change in, in place of an earlier one of the same row."""
        self.changes[change.table.name, tuple(change.key.values())] = change

    def leave_sources(self, rule: str, left: frozenset[str], images: Table) -> None:
        """Have all images of a rule forgotten whose source is not among ``left``, also those that wait here."""
        for key, change in list(self.changes.items()):
            if change.table is images and change.key["rule"] == rule and change.key["source"] not in left:
                del self.changes[key]
        self.sources_left[rule] = left

    def take(self) -> Pending:
        """Return some of it, which is no longer here."""
        if self.sources_left:
            taken = Pending(sources_left=self.sources_left)
            self.sources_left = {}
            return taken
        keys = list(islice(self.changes, ROWS_AT_ONCE))
        return Pending(changes={key: self.changes.pop(key) for key in keys})

    def put_back(self, taken: Pending) -> None:
        """Take back what could not be written, but where something newer came meanwhile."""
        self.changes = {**taken.changes, **self.changes}
        self.sources_left = {**taken.sources_left, **self.sources_left}

    def apply(self, connection: Connection, images: Table) -> None:
        """Write it."""
        for rule, left in self.sources_left.items():
            unwanted = and_(images.c.rule == rule, not_(images.c.source.in_(left)))
            connection.execute(delete(images).where(unwanted))
        for table, changes in self._by_table():
            rows = [{**change.key, **change.row} for change in changes if change.row is not None]
            if rows:
                _upsert(connection, table, rows, next(iter(changes)).keeps)
            for change in changes:
                if change.row is None:
                    where = and_(*(table.c[name] == value for name, value in change.key.items()))
                    connection.execute(delete(table).where(where))

    def _by_table(self) -> Iterator[tuple[Table, list[Change]]]:
        found: dict[str, list[Change]] = {}
        for change in self.changes.values():
            found.setdefault(change.table.name, []).append(change)
        for changes in found.values():
            yield changes[0].table, changes


def _upsert(connection: Connection, table: Table, rows: list[Row], keeps: frozenset[str]) -> None:
    """Insert rows, or replace those that are there; columns of ``keeps`` stay as they were."""
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {
        column.name: statement.excluded[column.name]
        for column in table.c
        if column.name not in keys and column.name not in keeps
    }
    if changed:
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)
    else:
        connection.execute(statement.on_conflict_do_nothing(index_elements=keys), rows)
