"""The story of a run's attempts: why each began and how it ended, where it stood, what of it was done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from forgeline.cli.render import duration, local_time
from forgeline.ledger.states import Reason

if TYPE_CHECKING:
    from forgeline.ledger.records import AttemptRecord

COLUMNS = ("number", "cause", "chosen", "started", "took", "steps", "redone", "lost", "ended", "message")

WHY = "why"
"""Under which a choice says why."""


def rows(attempts: Sequence[AttemptRecord]) -> list[dict[str, Any]]:
    """The attempts as JSON has them, first to last.

    `steps_redone` are those that the next attempt did again; `lost` is what they and the time after them took, in
    GPU-seconds, or in worker-seconds where there was no GPU.
    """
    return [_row(one, following) for one, following in zip_longest(attempts, attempts[1:])]


def totals(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was done again over all attempts, and what that cost."""
    return {
        "steps_redone": sum(row["steps_redone"] or 0 for row in told),
        "lost_s": sum(row["lost_s"] or 0.0 for row in told),
        "lost_worker_s": sum(row["lost_worker_s"] or 0.0 for row in told),
        "lost_gpu_s": sum(row["lost_gpu_s"] or 0.0 for row in told),
    }


def for_screen(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same in few columns."""
    return [_short(row) for row in told]


def totals_in_words(told: Mapping[str, Any]) -> str | None:
    """What was lost in a sentence; None where nothing was."""
    lost = _lost(told)
    return f"{told['steps_redone']} steps done again, {lost} lost" if lost else None


def why_in_words(told: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the last attempt got what was chosen for it; None where nothing was, or nobody said."""
    chosen = told[-1]["chosen"] if told else None
    return None if chosen is None else chosen.get(WHY)


def _row(attempt: AttemptRecord, following: AttemptRecord | None) -> dict[str, Any]:
    redone = None
    if following is not None and following.first_step is not None and attempt.last_step is not None:
        redone = max(0, attempt.last_step - following.first_step)
    lost, workers, gpus = attempt.lost_s, attempt.workers, attempt.gpus
    return {
        "number": attempt.number,
        "cause": attempt.cause,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "message": attempt.message,
        "first_step": attempt.first_step,
        "last_step": attempt.last_step,
        "steps_redone": redone,
        "started": attempt.started,
        "ended": attempt.ended,
        "took_s": attempt.duration_s,
        "workers": workers,
        "gpus": gpus,
        "chosen": None if attempt.chosen is None else dict(attempt.chosen),
        "lost_s": lost,
        "lost_worker_s": None if lost is None or workers is None else lost * workers,
        "lost_gpu_s": None if lost is None or gpus is None else lost * gpus,
    }


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    outcome, reason = row["outcome"], row["reason"]
    first, last = row["first_step"], row["last_step"]
    return {
        "number": row["number"],
        "cause": row["cause"],
        "chosen": _chosen(row["chosen"]),
        "started": local_time(row["started"]),
        "took": duration(row["took_s"]),
        "steps": "" if first is None and last is None else f"{first or 0} to {'?' if last is None else last}",
        "redone": row["steps_redone"],
        "lost": _lost(row),
        "ended": _ended(outcome, reason),
        "message": row["message"],
    }


def _ended(outcome: str | None, reason: str | None) -> str:
    if outcome is None:
        return "goes on"
    if reason in (Reason.RESIZED, Reason.CHANGED):
        return str(reason)  # nothing went wrong
    return outcome if reason in (None, outcome) else f"{outcome}: {reason}"


def _chosen(chosen: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (chosen or {}).items() if name != WHY)


def _lost(row: Mapping[str, Any]) -> str:
    """GPU-seconds, or worker-seconds where there was no GPU."""
    if row["lost_gpu_s"]:
        return f"{row['lost_gpu_s']:.0f} GPU-s"
    return f"{row['lost_worker_s']:.0f} worker-s" if row["lost_worker_s"] else ""
