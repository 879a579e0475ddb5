"""The tables of the state store. One `METADATA` for every database; migrations make what stands here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Column, Dialect, Index, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

METADATA = MetaData()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, kept as microseconds since 1970: it sorts, and reads back exactly, in every database.

    What is no moment reads back as None: nothing is known then.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return what is stored."""
        del dialect
        if value is None:
            return None
        return ((value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: object, dialect: Dialect) -> datetime | None:
        """Return what was meant."""
        del dialect
        try:
            return _EPOCH + value * _MICROSECOND if isinstance(value, int) else None
        except OverflowError:
            return None


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
Index("images_by_target", IMAGES.c.rule, IMAGES.c.target, IMAGES.c.state, IMAGES.c.behind_since)
Index("images_by_state", IMAGES.c.state, *IMAGES.primary_key)

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
    Column("fanout_bytes", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("changes_count", BigInteger, nullable=False),
    Column("changes_bytes", BigInteger, nullable=False),
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
)
"""What is known of the store itself: when it was last seen to take something."""
