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
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from forgeline.errors import ApprovalNeeded, UsageError
from forgeline.ledger.alias_history import AliasHistory
from forgeline.ledger.records import OUTSIDE, AliasMove, ApprovalEvent
from forgeline.registry import approvals
from forgeline.registry.catalogue import ModelVersion
from forgeline.settings import settings
from forgeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from forgeline.ledger.alias_writing import AliasWriter


class AliasTurn:
    """The right to move a model's aliases, while it is held; the history says what MLflow says from here on.

    Args:
        name: the registered model.
        versions: its versions, read since the turn is held.
        created: when it was made in its store, as `AliasMove.model_created`.
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
        created: int,
        tracker: Tracker,
        history: AliasHistory,
        writer: AliasWriter,
    ) -> None:
        self._name = name
        self.versions = versions
        self._created = created
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

    def move_or_propose(self, alias: str, version: int, *, expect: int | Literal["none"] | None, why: str) -> AliasMove:
        """Point an alias at another version, or propose it where that takes more than one person.

        Args:
            expect: the version that it must point at until then, `"none"` when no version may have it; None: any.

        Raises:
            AliasMoved: it points elsewhere; nothing was moved.
            ApprovalNeeded: it is proposed, and nothing was moved.
        """
        since = None if expect == "none" else expect
        if expect is None:
            since = self.aliases.get(alias)
        if self.needed(alias) > 1:
            self.propose(alias, version, since=since, why=why)
        return self.move(alias, version, since=since, why=why)

    def needed(self, alias: str) -> int:
        """Persons that must agree before an alias moves."""
        return approvals.needed_for(self._history.approvals(self._name), alias)

    def protect(self, alias: str, count: int, *, why: str) -> ApprovalEvent:
        """Let moves of an alias take so many persons; fewer than now is a proposal itself.

        Raises:
            ApprovalNeeded: it is proposed, and another person must approve it.
        """
        if count < self.needed(alias):
            self.propose(alias, None, since=None, why=why, count=count)
        return self._writer.add_approval(self._event("protected", alias, approvals=count, why=why))

    def propose(
        self, alias: str, version: int | None, *, since: int | None, why: str, count: int | None = None
    ) -> NoReturn:
        """Write down that somebody wants an alias to move, or its protection to be lowered.

        Raises:
            ApprovalNeeded: always, when it is written.
            AliasMoved: the alias does not point where it was expected to.
        """
        now = datetime.now(UTC)
        if version is not None and since != self.aliases.get(alias):
            self._writer.check(self._new(alias, since, version, who=_who(), why=why))
        event = self._event(
            "proposed",
            alias,
            version=version,
            since_version=since,
            since_move=approvals.last_move(self.moves(), alias),
            approvals=count,
            why=why,
            expires=now + approvals.LASTS,
        )
        written = self._writer.add_approval(event)
        proposal = next(one for one in self._proposals() if one.event.number == written.number)
        wanted = "" if version is None else f" {version}"
        raise ApprovalNeeded(
            f"proposed: {proposal.what}; {proposal.told}. Another person completes it with `forgeline models approve "
            f"{self._name}{wanted}{'' if alias == 'champion' else f' --alias {alias}'}`"
        )

    def approve(self, alias: str, version: int | None, *, expect: int | None | Literal["any"]) -> AliasMove | None:
        """Agree to what somebody else proposed; with enough persons it is done.

        Args:
            version: that was proposed; None for a change of the protection.
            expect: the version that the alias must point at until then.

        Returns:
            The move; None where the protection was changed.

        Raises:
            ApprovalNeeded: further persons must agree.
            AliasMoved: the alias points elsewhere than was expected.
            NotFound: nothing of the kind was proposed.
            UsageError: the proposal is open no more, or the same person made it.
        """
        proposal = approvals.open_one(self._proposals(), self._name, alias, version)
        event, who = proposal.event, _who()
        enough = len(proposal.by) >= proposal.needed  # a process died before it could be done
        if approvals.person(who) in proposal.by and not enough:
            raise UsageError(
                f"{approvals.person(who)} agreed to this already; another person approves it "
                "(FORGELINE_USER, or the system's user, says who you are)"
            )
        if version is not None:
            since = event.since_version if expect == "any" else expect
            self._writer.check(self._new(alias, since, version, who=who, why=event.why))
        if not enough:
            self._writer.add_approval(
                self._event("approved", alias, version=version, proposal=event.number, why=event.why)
            )
            [proposal] = [one for one in self._proposals() if one.event.number == event.number]
        if len(proposal.by) < proposal.needed:
            raise ApprovalNeeded(f"agreed: {proposal.what}; {proposal.told}")
        if version is None:
            self._writer.add_approval(
                self._event("protected", alias, approvals=event.approvals, proposal=event.number, why=event.why)
            )
            return None
        told = f"proposed by {proposal.by[0]} (proposal {event.number}), approved by {', '.join(proposal.by[1:])}"
        return self.move(alias, version, since=event.since_version, why=f"{event.why}; {told}")

    def _proposals(self) -> list[approvals.Proposal]:
        events = self._history.approvals(self._name)
        return approvals.proposals(events, self.moves(), datetime.now(UTC))

    def moves(self, alias: str | None = None) -> list[AliasMove]:
        """Moves of the model's aliases, or of one of them, first to last."""
        return self._history.moves(self._name, alias, created=self._created)

    def _event(self, event: str, alias: str, *, why: str, **told: Any) -> ApprovalEvent:
        nothing = dict.fromkeys(("version", "since_version", "since_move", "proposal", "approvals", "expires"))
        fields: dict[str, Any] = nothing | told
        return ApprovalEvent(
            model=self._name, event=event, alias=alias, who=_who(), moved=datetime.now(UTC), why=why, **fields
        )

    def _judge_what_was_begun(self) -> None:
        for begun in self._history.intended(self._name, created=self._created):
            if self.aliases.get(begun.alias) == begun.to_version:
                self._writer.seal(begun)
            else:
                self._writer.forget(begun)

    def _write_down_what_was_moved_outside(self) -> None:
        heads = self._history.heads(self._name, created=self._created)
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
            model_created=self._created,
        )


def aliases_of(versions: Iterable[ModelVersion]) -> dict[str, int]:
    """The version that each alias of a model points at."""
    return {alias: version.version for version in versions for alias in version.aliases}


def _who() -> str:
    user = settings().user
    try:
        user = user or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
