"""Moves of aliases name the registered model that they are of: two MLflow stores may have one of the same name.

Rows that are there already name none, and count for every model of their name until that one has moves of its own.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alias_moves", _model_created())
    begun = _taken_away()
    _intents(sa.Column("model", sa.String(255), primary_key=True), _model_created(primary_key=True))
    _put_back([{**row, "model_created": 0} for row in begun])


def downgrade() -> None:
    begun = _taken_away()
    _intents(sa.Column("model", sa.String(255), primary_key=True))
    _put_back([{name: value for name, value in row.items() if name != "model_created"} for row in begun])
    with op.batch_alter_table("alias_moves") as moves:
        moves.drop_column("model_created")


def _model_created(*, primary_key: bool = False) -> sa.Column[Any]:
    return sa.Column(
        "model_created",
        sa.BigInteger(),
        primary_key=primary_key,
        autoincrement=False,
        nullable=False,
        server_default="0",
    )


def _taken_away() -> list[dict[str, object]]:
    """The moves that were begun; a primary key cannot be changed in place."""
    connection = op.get_bind()
    table = sa.Table("alias_intents", sa.MetaData(), autoload_with=connection)
    rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
    op.drop_table("alias_intents")
    return rows


def _intents(*key: sa.Column[Any]) -> None:
    op.create_table(
        "alias_intents",
        *key,
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("from_version", sa.Integer()),
        sa.Column("to_version", sa.Integer()),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("moved", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("rollback", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def _put_back(rows: list[dict[str, object]]) -> None:
    if rows:
        connection = op.get_bind()
        table = sa.Table("alias_intents", sa.MetaData(), autoload_with=connection)
        connection.execute(sa.insert(table), rows)
