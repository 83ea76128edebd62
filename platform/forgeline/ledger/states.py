"""The states of a run, the moves between them that are legal, and the reasons for an end.

A final state stays: no transition leaves it. Resuming a run is no transition but an operation of its own
(`Ledger.resume`), asked for by a person, and it is refused for a run that succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from forgeline.errors import LedgerError


class State(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Reason(StrEnum):
    """Why a run or an attempt ended as it did."""

    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    HANG = "hang"
    OUT_OF_MEMORY = "out_of_memory"
    USER_ERROR = "user_error"
    PLATFORM_ERROR = "platform_error"
    TRACKER_UNREACHABLE = "tracker_unreachable"
    NON_FINITE_LOSS = "non_finite_loss"
    DEADLINE = "deadline"
    IDLE = "idle"
    CANCELLED = "cancelled"
    # Of a trial: its sweep did not expect it to become one of the best.
    PRUNED = "pruned"
    # Of a trial: its sweep looks at the whole population before it goes on.
    PAUSED = "paused"
    # Of an attempt alone: the next one has more workers.
    RESIZED = "resized"
    # Of an attempt alone: the next one has other settings, as the specification says.
    CHANGED = "changed"


class IllegalTransition(LedgerError):
    """A run stands where the state that was asked for cannot follow."""


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT})
ACTIVE = frozenset(State) - FINAL
RESUMABLE = FINAL - {State.SUCCEEDED}

_BAD_ENDS = FINAL - {State.SUCCEEDED}

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.STARTING, State.STOPPING, *_BAD_ENDS}),
    # Back to the queue: its place was lost before it began.
    State.STARTING: frozenset({State.QUEUED, State.RUNNING, State.STOPPING, *_BAD_ENDS}),
    # Back to starting or queued: a further attempt, on new workers.
    State.RUNNING: frozenset({State.QUEUED, State.STARTING, State.STOPPING, *FINAL}),
    # A run that was asked to stop may still finish what it was doing.
    State.STOPPING: FINAL,
    **dict.fromkeys(FINAL, frozenset()),
}


def sources(target: State) -> frozenset[State]:
    """States from which `target` may be entered."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)
