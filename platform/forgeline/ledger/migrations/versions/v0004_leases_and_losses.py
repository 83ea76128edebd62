"""Leases of running drivers, and what failed attempts cost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("driver_machine", sa.String(96)))
        runs.add_column(sa.Column("lease_count", sa.Integer()))
        runs.add_column(sa.Column("lease_renewed", sa.Float()))
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("workers", sa.Integer()))
        attempts.add_column(sa.Column("gpus", sa.Float()))
        attempts.add_column(sa.Column("lost_s", sa.Float()))


def downgrade() -> None:
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_column("lost_s")
        attempts.drop_column("gpus")
        attempts.drop_column("workers")
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("lease_renewed")
        runs.drop_column("lease_count")
        runs.drop_column("driver_machine")
