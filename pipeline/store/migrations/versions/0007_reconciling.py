"""What the reconciler remembers: sightings, watermarks, suspicions, crashes, counters, and indexes of what is due."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
OPEN = sa.text("closed_at IS NULL")
INDEXES = {
    "ix_waits_look_again": ["look_again_at"],
    "ix_waits_deadline": ["reminded_at", "deadline"],
    "ix_waits_wake_requested": ["wake_requested_at"],
    "ix_waits_checked": ["checked_at"],
}


def upgrade() -> None:
    """Make the tables, the column and the indexes."""
    op.add_column("waits", sa.Column("checked_at", TIME, nullable=True))
    for name, columns in INDEXES.items():
        op.create_index(name, "waits", columns, sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_table(
        "sightings",
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("thing", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changed_at", TIME, nullable=True),
        sa.Column("polled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("place", "thing"),
    )
    _by_name("watermarks", sa.Column("name", sa.String(), nullable=False), sa.Column("at", TIME, nullable=False))
    _by_name(
        "counters", sa.Column("name", sa.String(), nullable=False), sa.Column("value", sa.Integer(), nullable=False)
    )
    _by_name("suspicions", sa.Column("subject", sa.String(), nullable=False), sa.Column("since", TIME, nullable=False))
    op.create_table(
        "crashes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["work_items.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_crashes_recent", "crashes", ["project", "at"])


def _by_name(table: str, key: sa.Column[str], value: sa.Column[Any]) -> None:
    op.create_table(table, key, value, sa.PrimaryKeyConstraint(key.name))


def downgrade() -> None:
    """Drop them again."""
    for table in ("crashes", "suspicions", "counters", "watermarks", "sightings"):
        op.drop_table(table)
    for name in INDEXES:
        op.drop_index(name, "waits")
    with op.batch_alter_table("waits") as waits:
        waits.drop_column("checked_at")
