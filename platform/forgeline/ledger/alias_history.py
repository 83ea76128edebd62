"""Who moved which alias of which registered model, when and why. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import AliasMove
from forgeline.ledger.rows import alias_move_of
from forgeline.ledger.sql_reading import SqlReader


class AliasHistory:
    """The history of all aliases.

    Args:
        url: SQLAlchemy URL of the ledger.

    Raises:
        LedgerError: the database cannot be opened, or stops answering.
    """

    def __init__(self, url: str) -> None:
        self._ledger = Ledger(url)
        self._reader = SqlReader(url)

    @contextmanager
    def turn(self, model: str) -> Iterator[Callable[[AliasMove], None]]:
        """Hold the right to move a model's aliases, which one process has at a time.

        Yields:
            What adds a move; it is kept when the turn ends without an error.
        """
        with self._ledger.writer.moving_aliases(model) as append:
            yield append

    def moves(self, model: str, alias: str | None = None) -> list[AliasMove]:
        """Moves of a model's aliases (or of one of them), oldest first."""
        chosen = "" if alias is None else "AND alias = :alias"
        sql = f"SELECT * FROM alias_moves WHERE model = :model {chosen} ORDER BY id"
        return [alias_move_of(row) for row in self._reader.rows(sql, {"model": model, "alias": alias})]
