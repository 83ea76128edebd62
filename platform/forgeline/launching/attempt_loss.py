"""What a failed attempt cost: the time from the step that the next one goes on from to its own end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forgeline.tracking.spool import SpoolReader

if TYPE_CHECKING:
    from forgeline.ledger.records import AttemptRecord

_TRAINING = "train/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What is done again.

    Attributes:
        last_step: the last step that the attempt is known to have taken; None where it took none.
        seconds: of the attempt that count for nothing.
    """

    last_step: int | None
    seconds: float


def measure(attempt: AttemptRecord, spool: Path, next_step: int) -> Loss:
    """The loss of an attempt.

    All of its time is lost when the next one begins where it began; else what follows the step that its last usable
    checkpoint has. Times of the spool and of the ledger are those of one or two hosts; a clock that was set in between
    makes the loss wrong, never negative and never more than the attempt.

    Args:
        attempt: one that has ended.
        spool: what its rank 0 measured.
        next_step: optimizer step that the next attempt begins at; 0 for the beginning.
    """
    last_step, reached = None, attempt.started
    for line in SpoolReader(spool).read_new():
        if line.get("kind") != "metrics" or not any(key.startswith(_TRAINING) for key in line["values"]):
            continue
        step = int(line["step"])
        last_step = step if last_step is None else max(last_step, step)
        if step <= next_step:
            reached = datetime.fromtimestamp(line["time"] / 1000, UTC)
    ended = attempt.ended or reached
    seconds = min(max(0.0, (ended - reached).total_seconds()), max(0.0, (ended - attempt.started).total_seconds()))
    return Loss(last_step=last_step, seconds=seconds)
