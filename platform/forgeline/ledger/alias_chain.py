"""The chain of hashes over the alias moves of a model: what was written down cannot be changed unseen.

A row's hash is the sha256 over its content and the hash of the row before. A row that is altered, removed, inserted or
put elsewhere shows at the first row that does not fit. Two things the chain alone cannot show: rows that were cut off
its end, and a chain computed anew from some row on. The hash of its head, kept elsewhere, shows both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from forgeline.ledger.records import AliasMove, ApprovalEvent
from forgeline.ledger.rows import alias_move_of, approval_of

GENESIS = "0" * 64
"""What stands for the hash of the row before the first one."""

_APPROVAL = (
    "model", "event", "alias", "version", "since_version", "since_move", "proposal", "approvals", "who", "moved", "why",
    "expires",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What became of a model's chain when it was computed again.

    Attributes:
        rows: how many there are.
        hashes: of the rows up to the first one that does not fit, in order.
        fault: what is wrong with that row, its place counted from 1; None when all fit.
    """

    model: str
    rows: int
    hashes: tuple[str, ...]
    fault: str | None

    @property
    def head(self) -> str:
        """Hash of the last row that fits."""
        return self.hashes[-1] if self.hashes else GENESIS


def hash_of(move: AliasMove, number: int, previous: str) -> str:
    """The hash of a row, as 64 hexadecimal digits.

    Args:
        move: what the row tells.
        number: its place among the model's rows, counted from 1.
        previous: hash of the row before; `GENESIS` for the first.
    """
    content = {
        "model": move.model,
        "number": number,
        "alias": move.alias,
        "from_version": move.from_version,
        "to_version": move.to_version,
        "who": move.who,
        "moved": move.moved.astimezone(UTC).isoformat(timespec="microseconds"),
        "why": move.why,
        "rollback": move.rollback,
        "previous": previous,
    }
    if move.model_created:
        # Rows from before this was written down keep the hash that they have.
        content["model_created"] = move.model_created
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def approval_hash(event: ApprovalEvent, number: int, previous: str) -> str:
    """The hash of an event of approving, as 64 hexadecimal digits; the arguments are as of `hash_of`."""
    content = {name: getattr(event, name) for name in _APPROVAL if name not in ("moved", "expires")}
    for name in ("moved", "expires"):
        moment = getattr(event, name)
        content[name] = None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")
    content |= {"number": number, "previous": previous}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _move_hash(row: Mapping[str, Any], place: int, previous: str) -> str | None:
    # SQLite keeps any number in the place of a truth value.
    return hash_of(alias_move_of(row), place, previous) if row["rollback"] in (0, 1) else None


def _event_hash(row: Mapping[str, Any], place: int, previous: str) -> str | None:
    return approval_hash(approval_of(row), place, previous)


def examine(model: str, rows: Sequence[Mapping[str, Any]], *, approvals: bool = False) -> Chain:
    """Compute a model's chain again.

    Args:
        rows: all rows of the model as the database gives them, by number.
        approvals: whether they are of approvals, and not of moves.
    """
    hasher = _event_hash if approvals else _move_hash
    hashes: list[str] = []
    for place, row in enumerate(rows, start=1):
        fault = _fault(row, place, hashes[-1] if hashes else GENESIS, hasher)
        if fault is not None:
            return Chain(model=model, rows=len(rows), hashes=tuple(hashes), fault=f"row {place}: {fault}")
        hashes.append(row["hash"])
    return Chain(model=model, rows=len(rows), hashes=tuple(hashes), fault=None)


def _fault(
    row: Mapping[str, Any], place: int, previous: str, hasher: Callable[[Mapping[str, Any], int, str], str | None]
) -> str | None:
    if row["number"] != place:
        return f"it has the number {row['number']!r}; rows before it were removed, or it was put there"
    try:
        found = hasher(row, place, previous)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return "it holds what no move has; it was altered"
    if found != row["hash"]:
        return "its hash is not that of its content after the row before; one of the two was altered, or put there"
    return None
