"""Moves of aliases are numbered and chained by hashes, and written down before they are made.

Rows that are there already are chained in the order in which they were written.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CHAINED = ("model", "alias", "from_version", "to_version", "who", "moved", "why", "rollback")
_MOVES = sa.table(
    "alias_moves",
    sa.column("id", sa.Integer()),
    sa.column("model", sa.String()),
    sa.column("alias", sa.String()),
    sa.column("from_version", sa.Integer()),
    sa.column("to_version", sa.Integer()),
    sa.column("who", sa.String()),
    sa.column("moved", sa.DateTime(timezone=True)),
    sa.column("why", sa.Text()),
    sa.column("rollback", sa.Boolean()),
    sa.column("number", sa.Integer()),
    sa.column("hash", sa.String()),
)


def upgrade() -> None:
    op.drop_index("ix_alias_moves_model", "alias_moves")
    with op.batch_alter_table("alias_moves") as moves:
        moves.add_column(sa.Column("number", sa.Integer()))
        moves.add_column(sa.Column("hash", sa.String(64)))
    _chain()
    with op.batch_alter_table("alias_moves") as moves:
        moves.alter_column("number", existing_type=sa.Integer(), nullable=False)
        moves.alter_column("hash", existing_type=sa.String(64), nullable=False)
    op.create_index("ix_alias_moves_number", "alias_moves", ["model", "number"], unique=True)
    op.create_table(
        "alias_intents",
        sa.Column("model", sa.String(255), primary_key=True),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("from_version", sa.Integer()),
        sa.Column("to_version", sa.Integer()),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("moved", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("rollback", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_table("alias_intents")
    op.drop_index("ix_alias_moves_number", "alias_moves")
    with op.batch_alter_table("alias_moves") as moves:
        moves.drop_column("hash")
        moves.drop_column("number")
    op.create_index("ix_alias_moves_model", "alias_moves", ["model", "id"])


def _chain() -> None:
    connection = op.get_bind()
    last: dict[str, tuple[int, str]] = {}
    for row in connection.execute(sa.select(_MOVES).order_by(_MOVES.c.id)).mappings().all():
        number, previous = last.get(row["model"], (0, "0" * 64))
        number += 1
        digest = _hash({name: row[name] for name in _CHAINED} | {"number": number, "previous": previous})
        connection.execute(sa.update(_MOVES).where(_MOVES.c.id == row["id"]).values(number=number, hash=digest))
        last[row["model"]] = (number, digest)


def _hash(content: dict[str, Any]) -> str:
    moved: datetime = content["moved"]
    moved = moved.replace(tzinfo=UTC) if moved.tzinfo is None else moved.astimezone(UTC)
    content = content | {"moved": moved.isoformat(timespec="microseconds"), "rollback": bool(content["rollback"])}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
