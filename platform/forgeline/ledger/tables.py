"""The ledger's tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)


class Moment(TypeDecorator[datetime]):
    """A time in UTC. SQLite stores no zone, so it is put back when reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("message", Text),
    Column("priority", Integer, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("cluster", Text),
    Column("submission_id", String(64)),
    # The run that it is a part of, such as the sweep of a trial, which holds its place in the queue.
    Column("parent", String(64)),
    # none_as_null: without a value it is an SQL NULL, as in a row from before the column was there.
    Column("gpus", JSON(none_as_null=True)),
    Column("driver_host", String(255)),
    Column("driver_pid", Integer),
    # Seconds between the host's boot and the start of the driver: a process id alone is used again.
    Column("driver_started_s", Float),
    # The boot and the process namespace that the process id belongs to.
    Column("driver_machine", String(96)),
    # The driver's lease: how often it was renewed, and when last, in seconds since 1970 by the database's own clock.
    Column("lease_count", Integer),
    Column("lease_renewed", Float),
    Column("created", Moment, nullable=False),
    # When it last entered the queue; a resumed run waits behind those that were there before.
    Column("submitted", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("cancel_requested", Moment),
    Column("attempts", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Index("ix_runs_created", "created"),
    Index("ix_runs_name", "name", "created"),
    Index("ix_runs_state", "state"),
    Index("ix_runs_parent", "parent"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", String(64), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cause", String(32), nullable=False),
    Column("started", Moment, nullable=False),
    Column("ended", Moment),
    Column("outcome", String(16)),
    Column("reason", String(32)),
    Column("message", Text),
    Column("first_step", Integer),
    Column("last_step", Integer),
    Column("workers", Integer),
    Column("gpus", Float),
    Column("lost_s", Float),
    # none_as_null: without a value it is an SQL NULL, as in a row from before the column was there.
    Column("chosen", JSON(none_as_null=True)),
)

journal = Table(
    "journal",
    metadata,
    Column("run_id", String(64), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("written", Moment, nullable=False),
    Column("entry", JSON, nullable=False),
)


def _model_created(*, primary_key: bool = False) -> Column[Any]:
    """When the registered model was made, in milliseconds since 1970; 0 in rows from before the column was there."""
    return Column(
        "model_created", BigInteger, primary_key=primary_key, autoincrement=False, nullable=False, server_default="0"
    )


def _told_of_a_move() -> list[Column[Any]]:
    return [
        Column("alias", String(255), nullable=False),
        Column("from_version", Integer),
        Column("to_version", Integer),
        Column("who", String(255), nullable=False),
        Column("moved", Moment, nullable=False),
        Column("why", Text, nullable=False),
        Column("rollback", Boolean, nullable=False, server_default=false()),
    ]


alias_moves = Table(
    "alias_moves",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(255), nullable=False),
    *_told_of_a_move(),
    _model_created(),
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_alias_moves_number", "model", "number", unique=True),
)

# A move that was begun and is not in the history yet: at most one of a model, whose aliases move one at a time.
alias_intents = Table(
    "alias_intents",
    metadata,
    Column("model", String(255), primary_key=True),
    _model_created(primary_key=True),
    *_told_of_a_move(),
)

# Who proposed and approved moves of aliases that take more than one person: only ever added, chained by model.
alias_approvals = Table(
    "alias_approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(255), nullable=False),
    Column("number", Integer, nullable=False),
    Column("event", String(16), nullable=False),
    Column("alias", String(255), nullable=False),
    Column("version", Integer),
    Column("since_version", Integer),
    Column("since_move", Integer),
    Column("proposal", Integer),
    Column("approvals", Integer),
    Column("who", String(255), nullable=False),
    Column("moved", Moment, nullable=False),
    Column("why", Text, nullable=False),
    Column("expires", Moment),
    Column("hash", String(64), nullable=False),
    Index("ix_alias_approvals_number", "model", "number", unique=True),
)
