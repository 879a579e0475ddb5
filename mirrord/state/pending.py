"""What is to be written: the newest of each row, so that it is bounded by what there is to know."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, select

from mirrord.state.engine import upsert

Row = dict[str, Any]
Line = dict[Hashable, tuple[int, "Change"]]

ROWS_AT_ONCE = 400
"""Rows of one transaction."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is to stand in a table, or (``row`` None) not. ``keeps`` are columns that stay as they were."""

    table: Table
    key: Row
    row: Row | None
    keeps: frozenset[str] = frozenset()

    @property
    def name(self) -> Hashable:
        """What tells the row from others of its table."""
        return tuple(self.key.values())

    def after(self, earlier: Change | None) -> Change:
        """Return this change where ``earlier`` waits for the same row: columns that stay are those of the earlier."""
        if earlier is None or earlier.row is None or self.row is None or not self.keeps:
            return self
        return replace(self, row={**self.row, **{name: earlier.row[name] for name in self.keeps}})


@dataclass(slots=True)
class Pending:
    """Changes that are not written yet, by table, oldest first, and sources that are to be forgotten.

    Every change has a number that grows. ``urgent`` are names of tables whose rows are written first.
    """

    images: Table
    urgent: frozenset[str] = frozenset()
    lines: dict[str, Line] = field(default_factory=dict)
    left: dict[str, tuple[int, frozenset[str]]] = field(default_factory=dict)
    last: int = 0

    def __bool__(self) -> bool:
        return bool(self.left) or any(self.lines.values())

    def __len__(self) -> int:
        return len(self.left) + sum(map(len, self.lines.values()))

    @property
    def oldest(self) -> int | None:
        """The number of the change that waits longest; None: none does."""
        numbers = [next(iter(line.values()))[0] for line in self.lines.values() if line]
        return min([*numbers, *(number for number, _ in self.left.values())], default=None)

    def concerns(self, tables: Collection[Table]) -> bool:
        """Say whether something waits for one of these tables."""
        return any(self.lines.get(table.name) for table in tables) or (self.images in tables and bool(self.left))

    def add(self, change: Change) -> None:
        """Take a change in, in place of an earlier one of the same row."""
        self.last += 1
        line = self.lines.setdefault(change.table.name, {})
        _, earlier = line.pop(change.name, (0, None))
        line[change.name] = (self.last, change.after(earlier))

    def leave_sources(self, rule: str, left: Collection[str]) -> None:
        """Have all images of a rule forgotten whose source is not among ``left``, also those that wait here."""
        self.last += 1
        _, before = self.left.get(rule, (0, None))
        kept = frozenset(left) if before is None else before.intersection(left)
        self._forget(lambda key: key["rule"] == rule and key["source"] not in left)
        self.left[rule] = (self.last, kept)

    def leave_rules(self, left: Collection[str]) -> None:
        """Forget what waits for images of other rules than these."""
        self._forget(lambda key: key["rule"] not in left)
        self.left = {rule: found for rule, found in self.left.items() if rule in left}

    def take(self) -> Pending:
        """Return some of it, which is no longer here: what forgets sources, what is urgent, then the oldest."""
        taken = Pending(self.images)
        if self.left:
            taken.left, self.left = self.left, {}
            return taken
        room = ROWS_AT_ONCE
        for name in sorted(filter(self.lines.get, self.lines), key=self._turn):
            line = self.lines[name]
            chosen = [key for _, key in zip(range(room), line, strict=False)]
            if chosen:
                taken.lines[name] = {key: line.pop(key) for key in chosen}
            room -= len(chosen)
        return taken

    def put_back(self, taken: Pending) -> None:
        """Take back what could not be written, but where something newer came meanwhile."""
        for name, line in taken.lines.items():
            newer = self.lines.get(name, {})
            older = {key: found for key, found in line.items() if key not in newer and not self._is_left(found)}
            both = {
                key: (number, change.after(line[key][1] if key in line else None))
                for key, (number, change) in newer.items()
            }
            self.lines[name] = older | both
        for rule, (number, left) in taken.left.items():
            _, newer_left = self.left.get(rule, (0, left))
            self.left[rule] = (number, left & newer_left)

    def halves(self) -> Iterator[Pending]:
        """Yield the same in two parts, each smaller than the whole; nothing if it is one change alone."""
        every = [(name, key, found) for name, line in self.lines.items() for key, found in line.items()]
        if len(every) <= 1:
            return
        for part in (every[: len(every) // 2], every[len(every) // 2 :]):
            half = Pending(self.images)
            for name, key, found in part:
                half.lines.setdefault(name, {})[key] = found
            yield half

    def apply(self, connection: Connection) -> None:
        """Write it."""
        for rule, (_, left) in self.left.items():
            self._drop_sources(connection, rule, left)
        for line in self.lines.values():
            changes = [change for _, change in line.values()]
            rows = [{**change.key, **change.row} for change in changes if change.row is not None]
            if rows:
                upsert(connection, changes[0].table, rows, changes[0].keeps)
            for change in changes:
                if change.row is None:
                    where = and_(*(change.table.c[name] == value for name, value in change.key.items()))
                    connection.execute(delete(change.table).where(where))

    def _drop_sources(self, connection: Connection, rule: str, left: frozenset[str]) -> None:
        """Forget images of a rule; one source after another, for a rule may have more than a statement can name."""
        images = self.images
        for source in connection.scalars(select(images.c.source).where(images.c.rule == rule).distinct()).all():
            if source not in left:
                connection.execute(delete(images).where(images.c.rule == rule, images.c.source == source))

    def _turn(self, name: str) -> tuple[bool, int]:
        return name not in self.urgent, next(iter(self.lines[name].values()))[0]

    def _is_left(self, found: tuple[int, Change]) -> bool:
        """Say whether a change is of an image whose source was left after it."""
        number, change = found
        if change.table is not self.images or change.key["rule"] not in self.left:
            return False
        since, left = self.left[change.key["rule"]]
        return number < since and change.key["source"] not in left

    def _forget(self, unwanted: Any) -> None:
        line = self.lines.get(self.images.name, {})
        for key in [key for key, (_, change) in line.items() if unwanted(change.key)]:
            del line[key]
