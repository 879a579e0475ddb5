"""Questions about images: counts by state, and pages in the order of rule, source, tag and target."""

from __future__ import annotations

from heapq import merge
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select, tuple_

from mirrord.errors import MirrordError
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.status import ImagePage
from mirrord.ports.history import ImageQuery
from mirrord.state.cursors import decode, encode
from mirrord.state.engine import holds
from mirrord.state.rows import image_status, location_of
from mirrord.state.tables import IMAGES

MOST_ROWS = 1_000
"""Rows of a page, of images or runs."""

_LONGEST_SEARCH = 4_200
"""Characters; no name is longer."""

ORDER = (IMAGES.c.rule, IMAGES.c.source, IMAGES.c.ref, IMAGES.c.target, IMAGES.c.target_tag)
_PLACE = tuple_(*ORDER[:4])
_LIVE = "live"
"""Stands among states for images that are in one of those that are asked for at this moment."""

_NAMES = (IMAGES.c.source, IMAGES.c.ref, IMAGES.c.target, IMAGES.c.target_tag)
_DIGESTS = (IMAGES.c.digest, IMAGES.c.served)
_OF_DIGESTS = frozenset("sha:0123456789abcdef")


def rows_of_page(limit: int) -> int:
    """Return how many rows a page has for which so many were asked."""
    return max(1, min(limit, MOST_ROWS))


def place_of(cursor: str | None) -> list[str] | None:
    """Return the values by which a page goes on; None: it is the first.

    Raises:
        UsageError: the cursor was not made here (CURSOR_INVALID).
    """
    return decode(cursor, len(ORDER)) if cursor is not None else None


def image_page(connection: Connection, query: ImageQuery, after: list[str] | None) -> ImagePage:
    """Return a page of images, those that come after a place."""
    if not _may_be_found(query.search):
        return ImagePage()
    limit = rows_of_page(query.limit)
    states = sorted({state.value for state in query.states})
    wanted = [*states, _LIVE] if states and query.live else states
    total = connection.execute(filtered(select(func.count()).select_from(IMAGES), query, wanted)).scalar_one()
    # With a state an index has the order; with several it does for each of them, and for those that only hold now.
    parts = [_rows(connection, query, [state], after, limit + 1) for state in states]
    if states and query.live:
        parts.append(_rows(connection, query, [_LIVE], after, limit + 1))
    found = list(merge(*parts, key=_place)) if parts else _rows(connection, query, [], after, limit + 1)
    following = encode(_place(found[limit - 1])) if len(found) > limit else None
    shown = (image_status(row, query.live.get((row.rule, row.source, row.ref, row.target))) for row in found[:limit])
    return ImagePage(images=tuple(one for one in shown if one is not None), total=total, next=following)


def summaries(connection: Connection, rule: str) -> list[TargetSummary]:
    """Return a rule's images counted by target and state; what cannot be read is left out."""
    counted = select(
        IMAGES.c.target, IMAGES.c.state, func.count().label("images"), func.min(IMAGES.c.behind_since).label("since")
    )
    found: dict[str, TargetSummary] = {}
    for row in connection.execute(counted.where(IMAGES.c.rule == rule).group_by(IMAGES.c.target, IMAGES.c.state)):
        known = found.get(row.target)
        try:
            target = location_of(row.target)
            images = {**(known.images if known is not None else {}), ImageState(row.state): row.images}
        except (MirrordError, ValueError):
            continue
        moments = (known.behind_since if known is not None else None, row.since)
        oldest = min((moment for moment in moments if moment is not None), default=None)
        found[row.target] = TargetSummary(target=target, images=images, behind_since=oldest)
    return list(found.values())


def _may_be_found(search: str) -> bool:
    """Say whether a name may have a text in it. SQLite would look for what stands before a NUL, or fail."""
    return len(search) <= _LONGEST_SEARCH and "\0" not in search and search.isprintable()


def _rows(
    connection: Connection, query: ImageQuery, states: list[str], after: list[str] | None, limit: int
) -> list[Row[Any]]:
    wanted = filtered(select(IMAGES), query, states).order_by(*ORDER).limit(limit)
    if after is not None:
        wanted = wanted.where(tuple_(*ORDER) > tuple(after))
    return list(connection.execute(wanted))


def _place(row: Row[Any]) -> list[str]:
    """Return what rows are sorted by. The database sorts text by its bytes in UTF-8, which is by its characters."""
    return [getattr(row, column.name) for column in ORDER]


def filtered(statement: Select[Any], query: ImageQuery, states: list[str]) -> Select[Any]:
    """Return a question about the images that are asked for."""
    if query.rule is not None:
        statement = statement.where(IMAGES.c.rule == query.rule)
    if states:
        statement = statement.where(or_(*(_in_state(query, state) for state in states)))
    if query.search:
        may_be_digest = _OF_DIGESTS.issuperset(query.search.lower())
        columns = (*_NAMES, *_DIGESTS) if may_be_digest else _NAMES
        statement = statement.where(or_(*(holds(column, query.search) for column in columns)))
    return statement


def _in_state(query: ImageQuery, state: str) -> ColumnElement[bool]:
    """Return whether an image is in a state, and in no other one now; or (`_LIVE`) now in one that is asked for."""
    if state == _LIVE:
        return _PLACE.in_([place for place, now in query.live.items() if now in query.states])
    stored = IMAGES.c.state == state
    return and_(stored, _PLACE.not_in(list(query.live))) if query.live else stored
