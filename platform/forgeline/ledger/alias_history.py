"""Who moved which alias of which registered model, when and why. Rows are only ever added, each chained to the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from forgeline.ledger.alias_chain import Chain, examine
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import AliasMove, ApprovalEvent
from forgeline.ledger.rows import alias_move_of, approval_of
from forgeline.ledger.sql_reading import SqlReader

if TYPE_CHECKING:
    from forgeline.ledger.alias_writing import AliasWriter
    from forgeline.ledger.opening import Database


def open_alias_history() -> AliasHistory:
    """The history of this installation's settings.

    Raises:
        LedgerError: the ledger cannot be opened.
        UsageError: FORGELINE_HOME cannot be written.
    """
    from forgeline.settings import settings

    environment = settings()
    environment.ensure_home()
    return AliasHistory(environment.resolved_ledger_url)


class AliasHistory:
    """The history of all aliases.

    Args:
        url: SQLAlchemy URL of the ledger.

    Raises:
        LedgerError: the database cannot be opened, or stops answering.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Which migrates it, if need be.
        Ledger(url).close()
        self._reader = SqlReader(url)

    @contextmanager
    def turn(self, model: str) -> Iterator[AliasWriter]:
        """Hold the right to move aliases of models of a name, which one process has at a time.

        Raises:
            LedgerError: another process keeps it too long.
        """
        from forgeline.ledger.alias_writing import AliasWriter

        with self._database.turn(f"forgeline aliases of {model}"):
            yield AliasWriter(self._database, model)

    def moves(self, model: str, alias: str | None = None, *, created: int | None = None) -> list[AliasMove]:
        """Moves of a model's aliases (or of one of them), first to last.

        Args:
            created: `model_created` of the model that has the name in one store; without it, of all that ever had it.
        """
        chosen = _of_model(created) + ("" if alias is None else " AND alias = :alias")
        sql = f"SELECT * FROM alias_moves WHERE {chosen} ORDER BY number"
        found = self._reader.rows(sql, {"model": model, "alias": alias, "created": created})
        return [alias_move_of(row) for row in found]

    def heads(self, model: str, *, created: int | None = None) -> dict[str, int]:
        """Where each of a model's aliases points, by the history; those that were taken away are left out."""
        newest = f"SELECT max(number) FROM alias_moves WHERE {_of_model(created)} GROUP BY alias"
        sql = f"SELECT alias, to_version FROM alias_moves WHERE model = :model AND number IN ({newest})"
        rows = self._reader.rows(sql, {"model": model, "created": created})
        return {row["alias"]: row["to_version"] for row in rows if row["to_version"] is not None}

    def intended(self, model: str | None = None, *, created: int | None = None) -> list[AliasMove]:
        """Moves (of a model, or of all) that are being made now, or that a process which died left unjudged."""
        chosen = "" if model is None else f"WHERE {_of_model(created)}"
        rows = self._reader.rows(
            f"SELECT * FROM alias_intents {chosen} ORDER BY model", {"model": model, "created": created}
        )
        return [alias_move_of(row) for row in rows]

    def approvals(self, model: str) -> list[ApprovalEvent]:
        """What was protected, proposed and approved of a model's aliases, first to last."""
        sql = "SELECT * FROM alias_approvals WHERE model = :model ORDER BY number"
        return [approval_of(row) for row in self._reader.rows(sql, {"model": model})]

    def chains(self, model: str | None = None, *, approvals: bool = False) -> list[Chain]:
        """The chain of a model (or of each), computed again; none for a model without rows.

        Args:
            model: of this one only.
            approvals: the chain of approvals, and not that of moves.
        """
        chosen = "" if model is None else "WHERE model = :model"
        table = "alias_approvals" if approvals else "alias_moves"
        sql = f"SELECT * FROM {table} {chosen} ORDER BY model, number, id"
        by_model: dict[str, list[dict[str, Any]]] = {}
        for row in self._reader.rows(sql, {"model": model}):
            by_model.setdefault(str(row["model"]), []).append(row)
        return [examine(name, rows, approvals=approvals) for name, rows in sorted(by_model.items())]

    @cached_property
    def _database(self) -> Database:
        from forgeline.ledger.opening import Database

        return Database(self._url)


def _of_model(created: int | None) -> str:
    """Rows of one model, and those of before it was written down which model a row is of."""
    return "model = :model" if created is None else "model = :model AND model_created IN (0, :created)"


def pointing_at(moves: list[AliasMove], moment: datetime) -> list[AliasMove]:
    """Of each alias that pointed at a version at a moment, the move by which it did, by name of the alias.

    Where clocks of hosts differ, the order of the rows counts.

    Args:
        moves: of one model, first to last.
        moment: with its time zone.
    """
    last = {move.alias: move for move in moves if move.moved <= moment}
    return sorted((move for move in last.values() if move.to_version is not None), key=lambda move: move.alias)
