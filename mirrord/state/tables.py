"""The tables of the state store. One `METADATA` for every database; migrations make what stands here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Dialect, Index, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

METADATA = MetaData()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, kept as microseconds since 1970: it sorts, and reads back exactly, in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return what is stored."""
        del dialect
        return (value - _EPOCH) // _MICROSECOND if value is not None else None

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return what was meant."""
        del dialect
        return _EPOCH + value * _MICROSECOND if value is not None else None


IMAGES = Table(
    "images",
    METADATA,
    Column("rule", String, primary_key=True),
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True),
    Column("target", String, primary_key=True),
    Column("target_tag", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("digest", String),
    Column("reason", Text, nullable=False),
    Column("code", String),
    Column("message", Text),
    Column("remedy", Text),
    Column("first_seen", Moment),
    Column("behind_since", Moment),
    Column("served", String),
    Column("proven_at", Moment),
    Column("scope", String, nullable=False),
    Column("referrers_at", Moment),
    Column("referrers_mark", String, nullable=False),
    Column("subjects", Text, nullable=False),
    Column("attached_mark", String, nullable=False),
    Column("attached_at", Moment),
)
Index("images_by_state", IMAGES.c.rule, IMAGES.c.target, IMAGES.c.state, IMAGES.c.behind_since)

OWNED = Table(
    "owned",
    METADATA,
    Column("rule", String, primary_key=True),
    Column("target", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("since", Moment, nullable=False),
)

SEEN = Table(
    "seen",
    METADATA,
    Column("source", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("first_seen", Moment, nullable=False),
)

CREATED = Table(
    "created",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("created", Moment),
    Column("kept_at", Moment, nullable=False),
)
Index("created_by_age", CREATED.c.kept_at)

HOLDERS = Table(
    "holders",
    METADATA,
    Column("host", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("path", String, primary_key=True),
    Column("at", Moment, nullable=False),
)
Index("holders_by_age", HOLDERS.c.at)

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String, primary_key=True),
    Column("rule", String, nullable=False),
    Column("started", Moment, nullable=False),
    Column("finished", Moment),
    Column("uploaded_bytes", BigInteger, nullable=False),
    Column("mounted_bytes", BigInteger, nullable=False),
    Column("existed_bytes", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("changes", Text, nullable=False),
)
Index("runs_by_rule", RUNS.c.rule, RUNS.c.id)
Index("runs_by_end", RUNS.c.finished)

RULES = Table(
    "rules",
    METADATA,
    Column("rule", String, primary_key=True),
    Column("last_run", String),
    Column("last_looked", Moment),
    Column("last_success", Moment),
)

QUOTAS = Table(
    "quotas",
    METADATA,
    Column("registry", String, primary_key=True),
    Column("remaining", BigInteger, nullable=False),
    Column("quota_limit", BigInteger),
    Column("window_seconds", BigInteger),
    Column("reserve", BigInteger, nullable=False),
    Column("told_at", Moment),
    Column("refills_at", Moment),
)

FACTS = Table(
    "facts",
    METADATA,
    Column("name", String, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("value", Boolean, nullable=False),
)
"""What is known of the store itself: whether it was made anew, and the mark that `check` writes."""
