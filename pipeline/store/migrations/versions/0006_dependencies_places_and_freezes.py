"""What keeps an item from going on although nothing is wrong with it: dependencies, places in its project, freezes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables and columns; items that are past analysis already have their places."""
    with op.batch_alter_table("work_items") as items:
        items.add_column(sa.Column("priority", sa.String(), nullable=False, server_default="none"))
        items.add_column(sa.Column("relations_as_of", TIME, nullable=True))
        items.add_column(sa.Column("held_at", TIME, nullable=True))
    with op.batch_alter_table("work_items") as items:
        items.alter_column("priority", server_default=None)
    with op.batch_alter_table("dependencies") as dependencies:
        dependencies.add_column(sa.Column("group", sa.String(), nullable=False, server_default=""))
        dependencies.create_index("ix_dependencies_blocked_by", ["blocked_by"])
    with op.batch_alter_table("dependencies") as dependencies:
        dependencies.alter_column("group", server_default=None)
    op.create_table(
        "places",
        sa.Column("item_id", sa.Integer(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["work_items.id"]),
        sa.PrimaryKeyConstraint("item_id"),
    )
    op.create_index("uq_places", "places", ["project", "slot"], unique=True)
    op.create_table(
        "freezes",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint("project"),
    )
    op.execute(
        "insert into places (item_id, project, slot, since) "
        "select id, project, row_number() over (partition by project order by id), entered_at from work_items "
        "where stage not in ('analysis', 'done', 'cancelled')"
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("freezes")
    op.drop_table("places")
    with op.batch_alter_table("dependencies") as dependencies:
        dependencies.drop_index("ix_dependencies_blocked_by")
        dependencies.drop_column("group")
    with op.batch_alter_table("work_items") as items:
        items.drop_column("held_at")
        items.drop_column("relations_as_of")
        items.drop_column("priority")
