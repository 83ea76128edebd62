"""Moves of an alias that more than one person must agree to: what is proposed, who approves it, what came of it.

All is read off two histories that are only ever added to: that of approvals, and that of moves. A proposal is open
while the alias has not moved since (by the number of its last move, so that a move there and back counts), no later
one was made, and it has not expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from forgeline.errors import NotFound, UsageError
from forgeline.ledger.records import AliasMove, ApprovalEvent

LASTS = timedelta(days=7)
"""How long a proposal can be approved."""

MOST_APPROVALS = 9

Status = Literal["open", "completed", "superseded", "expired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A move, or a change of a protection, that was proposed.

    Attributes:
        event: as it was written.
        by: persons who agree, whoever proposed it first.
        needed: persons that it takes.
        status: what came of it.
        told: the same in words.
    """

    event: ApprovalEvent
    by: tuple[str, ...]
    needed: int
    status: Status
    told: str

    @property
    def what(self) -> str:
        """What was proposed."""
        event = self.event
        if event.version is None:
            return f"{event.alias} of {event.model} takes {event.approvals} persons"
        return f"{event.alias} of {event.model} to version {event.version}"


def person(who: str) -> str:
    """The person of a `user@host`: the same one at every host."""
    return who.rpartition("@")[0] or who


def needed_for(events: Sequence[ApprovalEvent], alias: str) -> int:
    """Persons that it takes to move an alias: 1 where it is not protected."""
    set_to = [event.approvals for event in events if event.event == "protected" and event.alias == alias]
    return set_to[-1] or 1 if set_to else 1


def last_move(moves: Sequence[AliasMove], alias: str) -> int:
    """Number of an alias's last move; 0 before the first."""
    return max((move.number or 0 for move in moves if move.alias == alias), default=0)


def proposals(events: Sequence[ApprovalEvent], moves: Sequence[AliasMove], now: datetime) -> list[Proposal]:
    """What was proposed of a model's aliases, first to last.

    Args:
        events: the history of approvals, first to last.
        moves: the history of moves, first to last.
        now: with its time zone.
    """
    return [_judged(event, events, moves, now) for event in events if event.event == "proposed"]


def _judged(
    event: ApprovalEvent, events: Sequence[ApprovalEvent], moves: Sequence[AliasMove], now: datetime
) -> Proposal:
    agreeing = [one.who for one in events if one.event == "approved" and one.proposal == event.number]
    by = tuple(dict.fromkeys(person(who) for who in (event.who, *agreeing)))
    before = [one for one in events if (one.number or 0) < (event.number or 0)]
    needed = needed_for(before, event.alias)
    status, told = _outcome(event, events, moves, now, enough=len(by) >= needed)
    if status == "open":
        told = f"{len(by)} of {needed} persons agree; it expires {event.expires:%Y-%m-%d %H:%M} UTC"
    return Proposal(event=event, by=by, needed=needed, status=status, told=told)


def _outcome(
    event: ApprovalEvent,
    events: Sequence[ApprovalEvent],
    moves: Sequence[AliasMove],
    now: datetime,
    *,
    enough: bool,
) -> tuple[Status, str]:
    later = [one for one in events if (one.number or 0) > (event.number or 0) and one.alias == event.alias]
    if event.version is None:
        changed = next((one for one in later if one.event == "protected"), None)
        if changed is not None:
            done = enough and changed.approvals == event.approvals
            return ("completed", "the protection was changed") if done else ("superseded", "it was protected otherwise")
    else:
        moved = next(
            (move for move in moves if move.alias == event.alias and (move.number or 0) > (event.since_move or 0)), None
        )
        if moved is not None:
            if enough and moved.to_version == event.version:
                return "completed", f"moved {moved.moved:%Y-%m-%d %H:%M} UTC"
            return "superseded", f"the alias moved to version {moved.to_version or 'none'} meanwhile"
    newer = next((one for one in later if one.event == "proposed" and _same_kind(one, event)), None)
    if newer is not None:
        return "superseded", f"a later proposal of {person(newer.who)} took its place"
    if event.expires is not None and now > event.expires:
        return "expired", f"it expired {event.expires:%Y-%m-%d %H:%M} UTC"
    return "open", ""


def _same_kind(one: ApprovalEvent, other: ApprovalEvent) -> bool:
    return (one.version is None) == (other.version is None)


def open_one(found: Sequence[Proposal], name: str, alias: str, version: int | None) -> Proposal:
    """The open proposal to move an alias to a version, or (without one) to change its protection.

    Raises:
        NotFound: nothing of the kind was proposed.
        UsageError: it was, and is open no more.
    """
    meant = [one for one in found if one.event.alias == alias and one.event.version == version]
    what = "a change of the protection" if version is None else f"version {version}"
    if not meant:
        raise NotFound(
            f"nobody proposed {what} for {alias} of {name!r}; `forgeline models proposals {name}` lists them"
        )
    if meant[-1].status != "open":
        raise UsageError(
            f"the proposal of {what} for {alias} of {name!r} is {meant[-1].status}: {meant[-1].told}; propose it again"
        )
    return meant[-1]
