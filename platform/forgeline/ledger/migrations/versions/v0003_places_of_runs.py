"""Where a run is: the GPUs that it holds on this host, the job that it is on a cluster."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("gpus", sa.JSON()))
        runs.add_column(sa.Column("submission_id", sa.String(64)))


def downgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("submission_id")
        runs.drop_column("gpus")
