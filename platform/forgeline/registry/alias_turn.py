"""The turn to move the aliases of one model: MLflow and the history in the ledger change together.

MLflow says where an alias points, and whoever serves a model asks MLflow. So the history follows it: what a process
that died left half done is judged by where the alias points, and what was moved in MLflow alone is written down when
it is found.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from forgeline.ledger.alias_history import AliasHistory
from forgeline.ledger.records import OUTSIDE, AliasMove
from forgeline.registry.catalogue import ModelVersion
from forgeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from forgeline.ledger.alias_writing import AliasWriter


class AliasTurn:
    """The right to move a model's aliases, while it is held; the history says what MLflow says from here on.

    Args:
        name: the registered model.
        versions: its versions, read since the turn is held.
        tracker: the MLflow store that has the aliases.
        history: has the moves that were made.
        writer: adds to them.

    Raises:
        TrackingError: MLflow does not answer.
        LedgerError: the ledger does not.
    """

    def __init__(
        self,
        name: str,
        versions: Sequence[ModelVersion],
        *,
        tracker: Tracker,
        history: AliasHistory,
        writer: AliasWriter,
    ) -> None:
        self._name = name
        self.versions = versions
        self.aliases = aliases_of(versions)
        self._tracker = tracker
        self._history = history
        self._writer = writer
        self._judge_what_was_begun()
        self._write_down_what_was_moved_outside()

    def move(self, alias: str, version: int, *, since: int | None, why: str, rollback: bool = False) -> AliasMove:
        """Point an alias at another version; returns the move as it is in the history.

        Args:
            since: the version that it must point at until then; None when no version may have it.
            why: kept in the history.
            rollback: whether it goes back to where the alias was before.

        Raises:
            AliasMoved: it points elsewhere; nothing was moved.
        """
        move = self._new(alias, since, version, who=_who(), why=why, rollback=rollback)
        self._writer.intend(move)
        # When this fails, it may have been done all the same: whoever has the turn next asks MLflow.
        with self._tracker.guarded():
            self._tracker.client.set_registered_model_alias(self._name, alias, str(version))
        return self._writer.seal(move)

    def _judge_what_was_begun(self) -> None:
        for begun in self._history.intended(self._name):
            if self.aliases.get(begun.alias) == begun.to_version:
                self._writer.seal(begun)
            else:
                self._writer.forget()

    def _write_down_what_was_moved_outside(self) -> None:
        heads = self._history.heads(self._name)
        for alias in sorted(heads.keys() | self.aliases.keys()):
            known, now = heads.get(alias), self.aliases.get(alias)
            if known != now:
                why = f"{_who()} found it so in MLflow; it was moved there since the row before, or before the first"
                self._writer.append(self._new(alias, known, now, who=OUTSIDE, why=why))

    def _new(
        self, alias: str, since: int | None, version: int | None, *, who: str, why: str, rollback: bool = False
    ) -> AliasMove:
        return AliasMove(
            model=self._name,
            alias=alias,
            from_version=since,
            to_version=version,
            who=who,
            moved=datetime.now(UTC),
            why=why,
            rollback=rollback,
        )


def aliases_of(versions: Iterable[ModelVersion]) -> dict[str, int]:
    """The version that each alias of a model points at."""
    return {alias: version.version for version in versions for alias in version.aliases}


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
