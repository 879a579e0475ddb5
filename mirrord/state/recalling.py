"""The side of the state store that the service sees: runs, counts, pages of images. A failure is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, or_, select, tuple_

from mirrord.errors import MirrordError
from mirrord.planning.memory import ImageState, TargetSummary
from mirrord.planning.status import ImagePage, QuotaStatus, RunPage, RunResult, RunStatus, Saved
from mirrord.ports.clock import Clock
from mirrord.ports.history import History, ImageQuery, RuleMemory
from mirrord.state.cursors import decode, encode
from mirrord.state.database import Database
from mirrord.state.journal import Journal
from mirrord.state.pending import Change, Pending
from mirrord.state.rows import image_status, location_of, run_status, run_values
from mirrord.state.tables import FACTS, IMAGES, OWNED, QUOTAS, RULES, RUNS
from mirrord.state.trimming import trim

_PLACE = tuple_(IMAGES.c.rule, IMAGES.c.source, IMAGES.c.ref, IMAGES.c.target)
_ORDER = (IMAGES.c.rule, IMAGES.c.source, IMAGES.c.ref, IMAGES.c.target, IMAGES.c.target_tag)


class SqlHistory(History):
    """Keeps the history in a database."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        """Read and write ``database``, after what ``journal`` has to write."""
        self._database = database
        self._journal = journal
        self._clock = clock

    async def rules(self) -> Mapping[str, RuleMemory]:
        """Return what is remembered of each rule, by name."""

        def work(connection: Connection) -> dict[str, RuleMemory]:
            wanted = select(RULES, RUNS.c.status).join(RUNS, RUNS.c.id == RULES.c.last_run, isouter=True)
            return {
                row.rule: RuleMemory(
                    last_run=run_status(row.status) if row.status is not None else None,
                    last_looked=row.last_looked,
                    last_success=row.last_success,
                )
                for row in connection.execute(wanted)
            }

        return await self._database.read(work)

    async def forget_rules(self, left: Collection[str]) -> None:
        """Forget images and summaries of rules that are not in the configuration any more."""

        def work(connection: Connection) -> None:
            for table in (IMAGES, RULES):
                connection.execute(delete(table).where(table.c.rule.not_in(list(left))))

        await self._journal.flush()
        await self._database.write(work)

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        """Return a rule's images counted by target and state."""

        def work(connection: Connection) -> list[TargetSummary]:
            counted = select(
                IMAGES.c.target,
                IMAGES.c.state,
                func.count().label("images"),
                func.min(IMAGES.c.behind_since).label("since"),
            )
            found: dict[str, TargetSummary] = {}
            for row in connection.execute(
                counted.where(IMAGES.c.rule == rule).group_by(IMAGES.c.target, IMAGES.c.state)
            ):
                known = found.get(row.target)
                try:
                    known = known or TargetSummary(target=location_of(row.target), images={})
                    images = {**known.images, ImageState(row.state): row.images}
                except (MirrordError, ValueError):
                    continue
                moments = (moment for moment in (known.behind_since, row.since) if moment is not None)
                oldest = min(moments, default=None)
                found[row.target] = TargetSummary(target=known.target, images=images, behind_since=oldest)
            return list(found.values())

        await self._journal.flush()
        return await self._database.read(work)

    async def images(self, query: ImageQuery) -> ImagePage:
        """Return images, a page at a time."""
        after = decode(query.after, len(_ORDER)) if query.after is not None else None

        def work(connection: Connection) -> ImagePage:
            total = connection.execute(_filtered(select(func.count()).select_from(IMAGES), query)).scalar_one()
            wanted = _filtered(select(IMAGES), query).order_by(*_ORDER).limit(query.limit + 1)
            if after is not None:
                wanted = wanted.where(tuple_(*_ORDER) > tuple(after))
            rows = connection.execute(wanted).all()
            last = rows[query.limit - 1] if len(rows) > query.limit else None
            following = encode([getattr(last, column.name) for column in _ORDER]) if last is not None else None
            images = (
                image_status(row, query.live.get((row.rule, row.source, row.ref, row.target)))
                for row in rows[: query.limit]
            )
            return ImagePage(images=tuple(images), total=total, next=following)

        await self._journal.flush()
        return await self._database.read(work)

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        """Remember a run, begun or ended."""

        def work(connection: Connection) -> None:
            pending = Pending()
            pending.add(Change(RUNS, {"id": run.id}, run_values(run)))
            if run.finished is not None:
                keeps = {"last_looked"} if not looked else set()
                keeps |= {"last_success"} if run.result is not RunResult.OK else set()
                row = {
                    "last_run": run.id,
                    "last_looked": run.finished if looked else None,
                    "last_success": run.finished if run.result is RunResult.OK else None,
                }
                pending.add(Change(RULES, {"rule": run.rule}, row, frozenset(keeps)))
            pending.apply(connection, IMAGES)

        await self._database.write(work)

    async def close_runs(self) -> None:
        """Mark the runs as interrupted that a process had begun which died.

        Raises:
            StateError: that cannot be written.
        """
        now = self._clock.now()

        def work(connection: Connection) -> None:
            pending = Pending()
            for row in connection.execute(select(RUNS.c.id, RUNS.c.status).where(RUNS.c.finished.is_(None))):
                run = run_status(row.status)
                if run is not None:
                    ended = replace(run, finished=now, result=RunResult.INTERRUPTED)
                    pending.add(Change(RUNS, {"id": row.id}, run_values(ended)))
            pending.apply(connection, IMAGES)

        await self._database.write(work)

    async def run(self, run: str) -> RunStatus | None:
        """Return one run with its changes."""

        def work(connection: Connection) -> RunStatus | None:
            row = connection.execute(select(RUNS.c.status, RUNS.c.changes).where(RUNS.c.id == run)).first()
            return run_status(row.status, row.changes) if row is not None else None

        return await self._database.read(work)

    async def runs(self, *, rule: str | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        """Return runs without their changes, the newest first."""
        (before,) = decode(after, 1) if after is not None else [None]

        def work(connection: Connection) -> RunPage:
            wanted = select(RUNS.c.id, RUNS.c.status).order_by(RUNS.c.id.desc()).limit(limit + 1)
            if rule is not None:
                wanted = wanted.where(RUNS.c.rule == rule)
            if before is not None:
                wanted = wanted.where(RUNS.c.id < before)
            rows = connection.execute(wanted).all()
            found = (run_status(row.status) for row in rows[:limit])
            following = encode([rows[limit - 1].id]) if len(rows) > limit else None
            return RunPage(runs=tuple(one for one in found if one is not None), next=following)

        return await self._database.read(work)

    async def saved(self, since: datetime) -> Saved:
        """Return what runs that ended after a moment did not have to send."""

        def work(connection: Connection) -> Saved:
            columns = (RUNS.c.uploaded_bytes, RUNS.c.mounted_bytes, RUNS.c.existed_bytes)
            sums = select(*(func.coalesce(func.sum(column), 0) for column in columns)).where(RUNS.c.finished > since)
            uploaded, mounted, existed = connection.execute(sums).one()
            return Saved(
                since=since,
                wanted_bytes=uploaded + mounted + existed,
                uploaded_bytes=uploaded,
                saved_bytes=mounted + existed,
            )

        return await self._database.read(work)

    async def keep_quota(self, quota: QuotaStatus) -> None:
        """Remember what a registry said of its quota."""
        values = {
            "remaining": quota.remaining,
            "quota_limit": quota.limit,
            "window_seconds": quota.window_seconds,
            "reserve": quota.reserve,
            "told_at": quota.told_at,
            "refills_at": quota.refills_at,
        }

        def work(connection: Connection) -> None:
            pending = Pending()
            pending.add(Change(QUOTAS, {"registry": quota.registry}, values))
            pending.apply(connection, IMAGES)

        await self._database.write(work)

    async def quotas(self) -> Sequence[QuotaStatus]:
        """Return what each registry said last of its quota."""

        def work(connection: Connection) -> list[QuotaStatus]:
            return [
                QuotaStatus(
                    registry=row.registry,
                    remaining=row.remaining,
                    limit=row.quota_limit,
                    window_seconds=row.window_seconds,
                    reserve=row.reserve,
                    told_at=row.told_at,
                    refills_at=row.refills_at,
                )
                for row in connection.execute(select(QUOTAS).order_by(QUOTAS.c.registry))
            ]

        return await self._database.read(work)

    async def owned(self, rule: str) -> Mapping[str, frozenset[str]]:
        """Return the tags that a rule created, by target."""

        def work(connection: Connection) -> dict[str, frozenset[str]]:
            found: dict[str, set[str]] = {}
            for row in connection.execute(select(OWNED).where(OWNED.c.rule == rule)):
                found.setdefault(row.target, set()).add(row.tag)
            return {target: frozenset(tags) for target, tags in found.items()}

        await self._journal.flush()
        return await self._database.read(work)

    async def trim(self, now: datetime) -> int:
        """Forget what is older than is kept; return how many rows that were."""
        return await trim(self._database, now)

    async def check(self) -> None:
        """See that the store can be read and written."""

        def work(connection: Connection) -> None:
            pending = Pending()
            pending.add(Change(FACTS, {"name": "checked"}, {"at": self._clock.now(), "value": True}))
            pending.apply(connection, IMAGES)

        await self._database.write(work)


def _filtered(statement: Select[Any], query: ImageQuery) -> Select[Any]:
    """Return a question about the images that are asked for."""
    if query.rule is not None:
        statement = statement.where(IMAGES.c.rule == query.rule)
    if query.states:
        is_stored = IMAGES.c.state.in_([state.value for state in query.states])
        wanted = [place for place, state in query.live.items() if state in query.states]
        statement = statement.where(or_(and_(is_stored, _PLACE.not_in(list(query.live))), _PLACE.in_(wanted)))
    if query.search:
        columns = (
            IMAGES.c.source,
            IMAGES.c.ref,
            IMAGES.c.target,
            IMAGES.c.target_tag,
            IMAGES.c.digest,
            IMAGES.c.served,
        )
        statement = statement.where(or_(*(column.icontains(query.search, autoescape=True) for column in columns)))
    return statement
