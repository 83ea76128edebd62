"""Runs that are parts of another one, and what a run writes down to go on from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("parent", sa.String(64)))
        runs.create_index("ix_runs_parent", ["parent"])
    op.create_table(
        "journal",
        sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("written", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("journal")
    with op.batch_alter_table("runs") as runs:
        runs.drop_index("ix_runs_parent")
        runs.drop_column("parent")
