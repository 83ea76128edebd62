"""From what ended an execution to state and reason."""

from __future__ import annotations

import pytest

from forgeline.errors import RunCancelled, RunFailed, RunTimedOut, SpecError, TrackingError
from forgeline.launching.outcome import outcome_of
from forgeline.launching.stopping import Cause, StopControl


def stopped(cause: Cause | None) -> StopControl:
    stop = StopControl(grace_s=60)
    if cause is not None:
        stop.request(cause)
    return stop


@pytest.mark.parametrize(
    ("error", "cause", "killed", "state", "reason"),
    [
        (None, None, False, "succeeded", None),
        # It was done before the wish to stop reached it.
        (None, "cancelled", False, "succeeded", None),
        (RunFailed("x", reason="hang"), None, False, "failed", "hang"),
        (RunFailed("x", reason="a word of the user's own"), None, False, "failed", "platform_error"),
        (SpecError("x", key="data"), None, False, "failed", "user_error"),
        (TrackingError("x"), None, False, "failed", "tracker_unreachable"),
        (ValueError("x"), None, False, "failed", "platform_error"),
        (RunCancelled("x"), "cancelled", False, "cancelled", "cancelled"),
        (RunCancelled("x"), "deadline", False, "timed_out", "deadline"),
        (RunTimedOut("x"), None, False, "timed_out", "deadline"),
        # Workers that are being stopped die in many ways.
        (RuntimeError("a worker died"), "cancelled", False, "cancelled", "cancelled"),
        (None, "cancelled", True, "cancelled", "cancelled"),
        (None, "deadline", True, "timed_out", "deadline"),
        (RunCancelled("x"), "idle", False, "timed_out", "idle"),
        (None, "idle", True, "timed_out", "idle"),
        (RuntimeError("a worker died"), "superseded", True, "failed", "platform_error"),
    ],
)
def test_outcome(
    error: BaseException | None, cause: Cause | None, killed: bool, state: str, reason: str | None
) -> None:
    outcome = outcome_of(error, stopped(cause), killed=killed)
    assert (outcome.state, outcome.reason) == (state, reason)
    assert bool(outcome.message) == (state != "succeeded")


def test_what_fails_on_the_way_to_a_stop_is_told() -> None:
    full = OSError("no space left for the checkpoint")
    assert "no space left for the checkpoint" in outcome_of(full, stopped("cancelled")).message
    assert "no space left" in outcome_of(full, stopped("deadline")).message
    assert outcome_of(RunCancelled("stopped as asked"), stopped("cancelled")).message == "cancelled on request"
