"""Writing the history of a model's aliases, by whoever has the turn to move them.

The alias is in MLflow and its history here, and no transaction spans both. So a move is first intended, then made in
MLflow, then sealed: after a death in between, the intention says what may have been made, and MLflow whether it was.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import sqlalchemy as sa

from forgeline.errors import AliasMoved, LedgerError
from forgeline.ledger.alias_chain import GENESIS, approval_hash, hash_of
from forgeline.ledger.opening import Database
from forgeline.ledger.records import AliasMove, ApprovalEvent
from forgeline.ledger.rows import alias_move_of
from forgeline.ledger.tables import alias_approvals, alias_intents, alias_moves


class AliasWriter:
    """Writes the moves of one model's aliases, each method in one transaction.

    Args:
        database: with this version's tables.
        model: name of the registered model.

    Raises:
        LedgerError: every method raises it when the database does not answer or refuses.
    """

    def __init__(self, database: Database, model: str) -> None:
        self._database = database
        self._model = model

    def intend(self, move: AliasMove) -> None:
        """Write down what is about to be made, if the alias points where the move starts.

        Raises:
            AliasMoved: it points elsewhere; nothing was written.
        """
        with self._database.writing() as connection:
            self._compare(connection, move)
            connection.execute(sa.insert(alias_intents).values(_fields(move)))

    def check(self, move: AliasMove) -> None:
        """Raises AliasMoved where the alias does not point where a move starts."""
        with self._database.writing() as connection:
            self._compare(connection, move)

    def seal(self, move: AliasMove) -> AliasMove:
        """Put the move that was intended, and made, into the history; returns it with its number and hash.

        Raises:
            LedgerError: it is not what is intended: the turn was lost meanwhile, and another process has judged it.
        """
        with self._database.writing() as connection:
            row = connection.execute(
                sa.select(alias_intents).where(*self._of_move(move)).with_for_update()
            ).mappings().one_or_none()  # fmt: skip
            if row is None or alias_move_of(dict(row)) != move:
                raise LedgerError(
                    f"the turn to move aliases of {self._model!r} was lost while one moved; "
                    f"`forgeline models history {self._model}` says what came of it"
                )
            connection.execute(sa.delete(alias_intents).where(*self._of_move(move)))
            return self._append(connection, move)

    def forget(self, move: AliasMove) -> None:
        """Drop what was intended, and never made."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(alias_intents).where(*self._of_move(move)))

    def append(self, move: AliasMove) -> AliasMove:
        """Put a move that was made elsewhere into the history; returns it with its number and hash.

        Raises:
            AliasMoved: the alias points elsewhere than where the move starts.
        """
        with self._database.writing() as connection:
            self._compare(connection, move)
            return self._append(connection, move)

    def add_approval(self, event: ApprovalEvent) -> ApprovalEvent:
        """Put an event of approving into its history; returns it with its number and hash."""
        with self._database.writing() as connection:
            head = connection.execute(
                sa.select(alias_approvals.c.number, alias_approvals.c.hash)
                .where(alias_approvals.c.model == self._model)
                .order_by(alias_approvals.c.number.desc())
                .limit(1)
            ).one_or_none()
            number, previous = (1, GENESIS) if head is None else (head.number + 1, head.hash)
            written = replace(event, number=number, hash=approval_hash(event, number, previous))
            names = [column.name for column in alias_approvals.columns if column.name != "id"]
            fields = {name: getattr(written, name) for name in names}
            connection.execute(sa.insert(alias_approvals).values(fields))
            return written

    def _of_move(self, move: AliasMove) -> tuple[sa.ColumnElement[bool], ...]:
        return alias_intents.c.model == self._model, alias_intents.c.model_created == move.model_created

    def _compare(self, connection: sa.Connection, move: AliasMove) -> None:
        row = connection.execute(
            sa.select(alias_moves)
            .where(
                alias_moves.c.model == move.model,
                alias_moves.c.alias == move.alias,
                # Those of before it was written down which model a row is of count for every one of the name.
                alias_moves.c.model_created.in_((0, move.model_created)),
            )
            .order_by(alias_moves.c.number.desc())
            .limit(1)
        ).mappings().one_or_none()  # fmt: skip
        last = None if row is None else alias_move_of(dict(row))
        now = None if last is None else last.to_version
        if now != move.from_version:
            raise AliasMoved(_moved_underneath(move, last), version=now)

    def _append(self, connection: sa.Connection, move: AliasMove) -> AliasMove:
        # Two that read the same head cannot both write: a number is there once.
        head = connection.execute(
            sa.select(alias_moves.c.number, alias_moves.c.hash)
            .where(alias_moves.c.model == move.model)
            .order_by(alias_moves.c.number.desc())
            .limit(1)
        ).one_or_none()
        number, previous = (1, GENESIS) if head is None else (head.number + 1, head.hash)
        written = replace(move, number=number, hash=hash_of(move, number, previous))
        connection.execute(sa.insert(alias_moves).values({**_fields(move), "number": number, "hash": written.hash}))
        return written


def _fields(move: AliasMove) -> dict[str, object]:
    return {column.name: getattr(move, column.name) for column in alias_intents.columns}


def _moved_underneath(move: AliasMove, last: AliasMove | None) -> str:
    now = "no version has it"
    if last is not None:
        who_and_why = f"{last.moved.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC by {last.who}: {last.why}"
        version = "taken away" if last.to_version is None else f"version {last.to_version}"
        now = f"it is {version} since {who_and_why}"
    expected = "none" if move.from_version is None else move.from_version
    return f"{move.alias} of {move.model!r} moved underneath: {now} (expected: {expected})"
