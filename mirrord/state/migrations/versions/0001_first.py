"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "images",
        *(
            sa.Column(name, sa.String, primary_key=True, nullable=False)
            for name in ("rule", "source", "ref", "target", "target_tag")
        ),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("digest", sa.String),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("code", sa.String),
        sa.Column("message", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.Column("first_seen", sa.BigInteger),
        sa.Column("behind_since", sa.BigInteger),
        sa.Column("served", sa.String),
        sa.Column("proven_at", sa.BigInteger),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("referrers_at", sa.BigInteger),
        sa.Column("referrers_mark", sa.String, nullable=False),
        sa.Column("subjects", sa.Text, nullable=False),
        sa.Column("attached_mark", sa.String, nullable=False),
        sa.Column("attached_at", sa.BigInteger),
    )
    op.create_index("images_by_target", "images", ["rule", "target", "state", "behind_since"])
    op.create_index("images_by_state", "images", ["state", "rule", "source", "ref", "target", "target_tag"])
    op.create_table(
        "owned",
        *(sa.Column(name, sa.String, primary_key=True, nullable=False) for name in ("rule", "target", "tag")),
        sa.Column("since", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "seen",
        *(sa.Column(name, sa.String, primary_key=True, nullable=False) for name in ("source", "tag", "digest")),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "created",
        sa.Column("digest", sa.String, primary_key=True, nullable=False),
        sa.Column("created", sa.BigInteger),
        sa.Column("kept_at", sa.BigInteger, nullable=False),
    )
    op.create_index("created_by_age", "created", ["kept_at"])
    op.create_table(
        "holders",
        *(sa.Column(name, sa.String, primary_key=True, nullable=False) for name in ("host", "digest", "path")),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("holders_by_age", "holders", ["at"])
    op.create_table(
        "runs",
        sa.Column("id", sa.String, primary_key=True, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("uploaded_bytes", "mounted_bytes", "existed_bytes", "fanout_bytes")
        ),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("changes_count", sa.BigInteger, nullable=False),
        sa.Column("changes_bytes", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
    )
    op.create_index("runs_by_rule", "runs", ["rule", "id"])
    op.create_index("runs_by_end", "runs", ["finished"])
    op.create_table(
        "rules",
        sa.Column("rule", sa.String, primary_key=True, nullable=False),
        sa.Column("last_run", sa.String),
        sa.Column("last_looked", sa.BigInteger),
        sa.Column("last_success", sa.BigInteger),
    )
    op.create_table(
        "quotas",
        sa.Column("registry", sa.String, primary_key=True, nullable=False),
        sa.Column("remaining", sa.BigInteger, nullable=False),
        sa.Column("quota_limit", sa.BigInteger),
        sa.Column("window_seconds", sa.BigInteger),
        sa.Column("reserve", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.BigInteger),
        sa.Column("refills_at", sa.BigInteger),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String, primary_key=True, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
