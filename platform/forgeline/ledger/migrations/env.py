"""Alembic's entry: migrates the connection that the ledger opened, inside its transaction and under its lock."""

from __future__ import annotations

from alembic import context

from forgeline.ledger.tables import metadata

# SQLite cannot alter most of a table in place: batch mode copies it.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
