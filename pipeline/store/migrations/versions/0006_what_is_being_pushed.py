"""The commit that a run is about to push, by which it is known should the run die."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the column."""
    op.add_column("work_items", sa.Column("pushing", sa.String(), nullable=True))


def downgrade() -> None:
    """Drop it again."""
    with op.batch_alter_table("work_items") as items:
        items.drop_column("pushing")
