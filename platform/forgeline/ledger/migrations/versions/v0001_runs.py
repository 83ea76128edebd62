"""Runs, their attempts, and the history of registry aliases.

Written out rather than taken from `tables`: a released revision stays as it was when `tables` goes on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("message", sa.Text()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("cluster", sa.Text()),
        sa.Column("driver_host", sa.String(255)),
        sa.Column("driver_pid", sa.Integer()),
        sa.Column("driver_started_s", sa.Float()),
        sa.Column("created", moment, nullable=False),
        sa.Column("submitted", moment, nullable=False),
        sa.Column("started", moment),
        sa.Column("ended", moment),
        sa.Column("cancel_requested", moment),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
    )
    op.create_index("ix_runs_created", "runs", ["created"])
    op.create_index("ix_runs_name", "runs", ["name", "created"])
    op.create_index("ix_runs_state", "runs", ["state"])
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("started", moment, nullable=False),
        sa.Column("ended", moment),
        sa.Column("outcome", sa.String(16)),
        sa.Column("reason", sa.String(32)),
        sa.Column("message", sa.Text()),
        sa.Column("first_step", sa.Integer()),
        sa.Column("last_step", sa.Integer()),
    )
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("from_version", sa.Integer()),
        sa.Column("to_version", sa.Integer()),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("moved", moment, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )
    op.create_index("ix_alias_moves_model", "alias_moves", ["model", "id"])


def downgrade() -> None:
    for table in ("alias_moves", "attempts", "runs"):
        op.drop_table(table)
