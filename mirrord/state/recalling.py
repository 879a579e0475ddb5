"""The side of the state store that the service sees: runs, counts, pages of images. A failure is told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Table, delete, func, select

from mirrord.errors import StateError
from mirrord.planning.memory import TargetSummary
from mirrord.planning.status import ImagePage, QuotaStatus, RunPage, RunResult, RunStatus, Saved
from mirrord.ports.clock import Clock
from mirrord.ports.history import History, ImageQuery, RuleMemory
from mirrord.state.cursors import decode, encode
from mirrord.state.database import Database
from mirrord.state.engine import upsert
from mirrord.state.journal import CHECKED, Journal
from mirrord.state.pages import image_page, place_of, rows_of_page, summaries
from mirrord.state.rows import MOST_INTEGER, run_status, run_values
from mirrord.state.tables import FACTS, IMAGES, OWNED, QUOTAS, RULES, RUNS
from mirrord.state.trimming import trim


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
        self._journal.leave_rules(left)
        await self._journal.settle(IMAGES)  # what is on its way to the disk
        for table in (IMAGES, RULES):
            for rule in await self._database.read(partial(_rules_of, table=table)):
                if rule not in left:
                    await self._database.write(partial(_drop_rule, table=table, rule=rule))

    async def summary(self, rule: str) -> Sequence[TargetSummary]:
        """Return a rule's images counted by target and state."""
        if not await self._journal.settle(IMAGES):
            why = self._database.health.error
            if why is None:
                raise StateError("the state store cannot be written")
            raise StateError(why.message, code=why.code, remedy=why.remedy)
        return await self._database.read(partial(summaries, rule=rule))

    async def images(self, query: ImageQuery) -> ImagePage:
        """Return images, a page at a time."""
        after = place_of(query.after)
        await self._journal.settle(IMAGES)
        return await self._database.read(partial(image_page, query=query, after=after))

    async def save_run(self, run: RunStatus, *, looked: bool) -> None:
        """Remember a run, begun or ended."""
        await self._database.write(partial(_save, run=run, looked=looked))

    async def close_runs(self) -> None:
        """Mark the runs as interrupted that a process had begun which died.

        They ended when that process was last seen to write, as far as is known.

        Raises:
            StateError: that cannot be written.
        """
        now = self._clock.now()

        def work(connection: Connection) -> None:
            last_sign = connection.scalar(select(FACTS.c.at).where(FACTS.c.name == CHECKED)) or now
            unfinished = select(RUNS.c.id, RUNS.c.status).where(RUNS.c.finished.is_(None))
            for row in connection.execute(unfinished).all():
                run = run_status(row.status)
                if run is None:
                    connection.execute(delete(RUNS).where(RUNS.c.id == row.id))
                    continue
                ended = max(run.started, min(last_sign, now))
                _save(connection, replace(run, finished=ended, result=RunResult.INTERRUPTED), looked=False)

        await self._database.write(work)

    async def run(self, run: str) -> RunStatus | None:
        """Return one run with its changes."""

        def work(connection: Connection) -> RunStatus | None:
            wanted = select(RUNS.c.status, RUNS.c.changes, RUNS.c.changes_count).where(RUNS.c.id == run)
            row = connection.execute(wanted).first()
            return run_status(row.status, row.changes, row.changes_count) if row is not None else None

        return await self._database.read(work)

    async def runs(self, *, rule: str | None = None, limit: int = 50, after: str | None = None) -> RunPage:
        """Return runs without their changes, the newest first."""
        (before,) = decode(after, 1) if after is not None else [None]
        limit = rows_of_page(limit)

        def work(connection: Connection) -> RunPage:
            wanted = select(RUNS.c.id, RUNS.c.status, RUNS.c.changes_count).order_by(RUNS.c.id.desc()).limit(limit + 1)
            if rule is not None:
                wanted = wanted.where(RUNS.c.rule == rule)
            if before is not None:
                wanted = wanted.where(RUNS.c.id < before)
            rows = connection.execute(wanted).all()
            found = (run_status(row.status, count=row.changes_count) for row in rows[:limit])
            following = encode([rows[limit - 1].id]) if len(rows) > limit else None
            return RunPage(runs=tuple(one for one in found if one is not None), next=following)

        return await self._database.read(work)

    async def saved(self, since: datetime) -> Saved:
        """Return what runs that ended after a moment did not have to send."""

        def work(connection: Connection) -> Saved:
            columns = (RUNS.c.uploaded_bytes, RUNS.c.mounted_bytes, RUNS.c.existed_bytes, RUNS.c.fanout_bytes)
            sums = select(*(func.coalesce(func.sum(column), 0) for column in columns)).where(RUNS.c.finished > since)
            uploaded, mounted, existed, fanout = connection.execute(sums).one()
            return Saved(
                since=since,
                wanted_bytes=uploaded + mounted + existed,
                uploaded_bytes=uploaded,
                saved_bytes=mounted + existed,
                fanout_bytes=fanout,
            )

        return await self._database.read(work)

    async def keep_quota(self, quota: QuotaStatus) -> None:
        """Remember what a registry said of its quota."""
        row = {
            "registry": quota.registry,
            "remaining": _fitting(quota.remaining),
            "quota_limit": _fitting(quota.limit),
            "window_seconds": _fitting(quota.window_seconds),
            "reserve": _fitting(quota.reserve),
            "told_at": quota.told_at,
            "refills_at": quota.refills_at,
        }

        await self._database.write(partial(upsert, table=QUOTAS, rows=[row]))

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

        await self._journal.settle(OWNED)
        return await self._database.read(work)

    async def trim(self, now: datetime) -> int:
        """Forget what is older than is kept; return how many rows that were."""
        return await trim(self._database, now)

    async def check(self, *, whole: bool = True) -> None:
        """See that the store can be read and written; without ``whole`` that its file still is the one that is open."""
        await self._database.check_file()
        if not whole:
            return
        await self._journal.probe()
        await self._database.read(lambda connection: connection.scalar(select(FACTS.c.at)))


def _rules_of(connection: Connection, table: Table) -> Sequence[str]:
    return connection.scalars(select(table.c.rule).distinct()).all()


def _drop_rule(connection: Connection, table: Table, rule: str) -> None:
    connection.execute(delete(table).where(table.c.rule == rule))


def _save(connection: Connection, run: RunStatus, *, looked: bool) -> None:
    """Write a run, and if it ended what is to be remembered of its rule."""
    upsert(connection, RUNS, [{"id": run.id, **run_values(run)}])
    if run.finished is None:
        return
    succeeded = run.result is RunResult.OK
    keeps = ({"last_looked"} if not looked else set()) | ({"last_success"} if not succeeded else set())
    row = {
        "rule": run.rule,
        "last_run": run.id,
        "last_looked": run.finished if looked else None,
        "last_success": run.finished if succeeded else None,
    }
    upsert(connection, RULES, [row], frozenset(keeps))


def _fitting(number: int | None) -> int | None:
    """Return a number that a registry told as one that a column takes."""
    return max(-MOST_INTEGER, min(number, MOST_INTEGER)) if number is not None else None
