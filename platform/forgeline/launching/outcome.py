"""How a run ended, from what its execution raised: the state, the reason and the sentence for a person."""

from __future__ import annotations

from dataclasses import dataclass

from forgeline.errors import ForgelineError, RunCancelled, RunFailed, RunTimedOut, SpecError, TrackingError
from forgeline.launching.stopping import StopControl
from forgeline.ledger.states import Reason

SUPERSEDED = "this driver no longer owns the run: it was taken for dead while the ledger could not be reached"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A final state.

    Attributes:
        state: succeeded, failed, cancelled or timed_out.
        reason: machine-readable; None for success.
        message: one sentence for a person.
    """

    state: str
    reason: str | None = None
    message: str = ""


def outcome_of(error: BaseException | None, stop: StopControl, *, killed: bool = False) -> Outcome:
    """The final state of a run.

    Args:
        error: what the kind raised; None when it returned.
        stop: whether and why the run was asked to stop.
        killed: the run did not stop within its grace period and was killed.
    """
    if error is None and not killed:
        return Outcome(state="succeeded")
    asked = stop.cause
    # What fails after a stop was asked for fails because of it: workers die in many ways when they are stopped.
    if asked is not None or isinstance(error, RunCancelled | RunTimedOut):
        how = "; it did not stop in time and was killed" if killed else _on_the_way(error)
        if asked == "superseded":
            return Outcome(state="failed", reason="platform_error", message=SUPERSEDED)
        if asked == "idle":
            return Outcome(state="timed_out", reason="idle", message=f"the run made no progress for max_idle{how}")
        if asked == "deadline" or isinstance(error, RunTimedOut):
            return Outcome(state="timed_out", reason="deadline", message=f"the run met its deadline (timeout){how}")
        if asked == "pruned":
            return Outcome(state="cancelled", reason="pruned", message=f"stopped early: others did better{how}")
        if asked == "paused":
            return Outcome(state="cancelled", reason="paused", message=f"paused where it was to{how}")
        return Outcome(state="cancelled", reason="cancelled", message=f"cancelled on request{how}")
    if isinstance(error, RunFailed):
        # A kind of somebody else's may have words of its own.
        reason = error.reason if error.reason in set(Reason) else "platform_error"
        return Outcome(state="failed", reason=reason, message=str(error))
    if isinstance(error, SpecError):
        return Outcome(state="failed", reason="user_error", message=str(error))
    if isinstance(error, TrackingError):
        return Outcome(state="failed", reason="tracker_unreachable", message=str(error))
    if isinstance(error, ForgelineError):
        return Outcome(state="failed", reason="platform_error", message=str(error))
    return Outcome(state="failed", reason="platform_error", message=_named(error))


def _on_the_way(error: BaseException | None) -> str:
    """What else went wrong while the run stopped, such as a last checkpoint that did not fit on the disk."""
    asked_for = error is None or isinstance(error, RunCancelled | RunTimedOut)
    return "" if asked_for else f"; while it stopped: {_named(error)}"


def _named(error: BaseException | None) -> str:
    return str(error) if isinstance(error, ForgelineError) else f"{type(error).__name__}: {error}"
