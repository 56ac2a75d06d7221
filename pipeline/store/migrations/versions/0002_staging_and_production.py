"""Staging and production: coverage, hooks, probes, and what became of a deploy."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables and columns."""
    with op.batch_alter_table("work_items") as items:
        items.add_column(sa.Column("deployed", sa.String(), nullable=True))
        items.add_column(sa.Column("monitor_until", TIME, nullable=True))
    op.create_table(
        "coverage_baselines",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("percent", sa.Float(), nullable=False),
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("project"),
    )
    _evidence(
        "coverage_runs",
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("percent", sa.Float(), nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("log", sa.String(), nullable=False),
        indexed=("commit",),
    )
    _evidence(
        "hook_runs",
        sa.Column("hook", sa.String(), nullable=False),
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("end", sa.String(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("output", sa.String(), nullable=False),
        sa.Column("log", sa.String(), nullable=False),
        indexed=("commit",),
    )
    _evidence(
        "probes",
        sa.Column("stand", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=False),
        sa.Column("health", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=True),
        sa.Column("sentence", sa.String(), nullable=False),
    )


def _evidence(table: str, *columns: sa.Column[Any], indexed: Sequence[str] = ()) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.Integer(), nullable=False),
        *columns,
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["work_items.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("item_id", *indexed):
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    """Drop them again."""
    for table in ("probes", "hook_runs", "coverage_runs", "coverage_baselines"):
        op.drop_table(table)
    with op.batch_alter_table("work_items") as items:
        items.drop_column("monitor_until")
        items.drop_column("deployed")
