"""Aliases that more than one person must agree to move: who proposed and approved what, chained by hashes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alias_approvals",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("since_version", sa.Integer()),
        sa.Column("since_move", sa.Integer()),
        sa.Column("proposal", sa.Integer()),
        sa.Column("approvals", sa.Integer()),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("moved", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True)),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("ix_alias_approvals_number", "alias_approvals", ["model", "number"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_alias_approvals_number", "alias_approvals")
    op.drop_table("alias_approvals")
