"""Processes that are killed, stopped, told to leave, or fail by themselves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.jobs.train.faults.scene import INTERVAL, MIDDLE, Outcome, Scene, command, signal_rank, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.acceptance]

Make = Callable[..., Scene]
Tell = Callable[[Outcome], None]


def assert_nothing_lost(outcome: Outcome) -> None:
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.redone <= INTERVAL


def test_a_worker_is_killed(scene: Make, tell: Tell) -> None:
    found = scene(retry__node_lost=1)
    found.start()
    signal_rank(found.when_at(MIDDLE), 1, signal.SIGKILL)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "node_lost"))
    assert 0 < outcome.redone
    assert_nothing_lost(outcome)


def test_the_driver_is_killed(scene: Make, tell: Tell) -> None:
    found = scene()
    found.start()
    found.when_at(MIDDLE)
    os.kill(found.run.record.driver_pid, signal.SIGKILL)
    waited_s = wait_until(lambda: command("runs", "wait", found.run.id, "--timeout", "1").returncode == 100, "its end")
    assert waited_s < 60
    assert found.run.reason == "platform_error"
    found.start(resume=True)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "resume"))
    assert_nothing_lost(outcome)


def test_a_rank_stands_still(scene: Make, tell: Tell) -> None:
    found = scene(retry__hang=1, hang_after="5s")
    found.start()
    signal_rank(found.when_at(MIDDLE), 1, signal.SIGSTOP)
    waited_s = wait_until(lambda: (found.run.paths.attempt(1) / "hang.json").exists(), "the hang to be named")
    assert waited_s < 60
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "hang"))
    assert "rank 1" in (found.run.attempts[0].message or "")
    assert_nothing_lost(outcome)


def test_a_worker_is_told_to_leave(scene: Make, tell: Tell) -> None:
    found = scene(retry__preempted=1)
    found.start()
    signal_rank(found.when_at(MIDDLE), 1, signal.SIGTERM)
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first", "preempted"))
    assert outcome.redone == 0, "no last checkpoint was written"
    assert_nothing_lost(outcome)


@pytest.mark.parametrize(
    ("fault", "reason", "message"),
    [
        ("raise", "user_error", "ValueError on rank 1: bad labels"),
        ("allocate", "out_of_memory", "MemoryError on rank 1"),
    ],
    ids=["an-exception-on-one-rank", "memory-runs-out-on-one-rank"],
)
def test_a_rank_fails(scene: Make, tell: Tell, fault: str, reason: str, message: str) -> None:
    changes: dict[str, Any] = {"retry__user_error": 1} if reason == "user_error" else {"retry__out_of_memory": 1}
    found = scene(architecture__fault=fault, checkpoint__every="5step", **changes)
    found.start()
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.reason, outcome.exit_code) == ("failed", reason, 100)
    assert outcome.attempts == ("first", reason), "it fails again, and the budget is spent"
    assert message in outcome.message
    assert_nothing_lost(outcome)


def test_two_take_up_the_same_run(scene: Make, tell: Tell) -> None:
    found = scene()
    found.start()
    found.when_at(MIDDLE)
    refused = command("run", str(found.spec), "--resume", found.run.id)
    assert refused.returncode == 2
    assert "running" in refused.stderr
    outcome = found.outcome()
    tell(outcome)
    assert (outcome.state, outcome.exit_code, outcome.attempts) == ("succeeded", 0, ("first",))
    assert_nothing_lost(outcome)
