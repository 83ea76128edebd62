"""A kind under supervision: stopped by signals, the ledger and the deadline; killed when it does not listen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from forgeline.launching import supervision
from forgeline.launching.stopping import StopControl
from forgeline.launching.supervision import Progress, Supervisor


def supervisor(
    stop: StopControl,
    *,
    cancel_requested: Callable[[], bool] = lambda: False,
    on_stop: Callable[[], None] = lambda: None,
    kill: Callable[[], None] = lambda: None,
    deadline_s: float | None = None,
) -> Supervisor:
    return Supervisor(stop=stop, cancel_requested=cancel_requested, on_stop=on_stop, kill=kill, deadline_s=deadline_s)


def until_stopped(stop: StopControl) -> Callable[[], dict[str, Any]]:
    def work() -> dict[str, Any]:
        threading.Event().wait(0.01)
        while not stop.requested():
            threading.Event().wait(0.01)
        return {"stopped": True}

    return work


def test_the_result_and_the_error_come_back() -> None:
    ended = supervisor(StopControl(grace_s=1)).run(lambda: {"a": 1})
    assert (ended.result, ended.error, ended.killed) == ({"a": 1}, None, False)

    def fail() -> dict[str, Any]:
        raise ValueError("no")

    assert isinstance(supervisor(StopControl(grace_s=1)).run(fail).error, ValueError)


def test_a_cancel_request_in_the_ledger_stops_it_and_is_passed_on_once() -> None:
    stop, told = StopControl(grace_s=60), []
    ended = supervisor(stop, cancel_requested=lambda: True, on_stop=lambda: told.append(1)).run(until_stopped(stop))
    assert ended.result == {"stopped": True}
    assert stop.cause == "cancelled"
    assert told == [1]


def test_a_ledger_that_is_away_stops_nothing() -> None:
    def away() -> bool:
        raise OSError("away")

    assert supervisor(StopControl(grace_s=1), cancel_requested=away).run(lambda: {"a": 1}).error is None


def test_a_wish_that_cannot_be_passed_on_is_passed_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_LEDGER_POLL_S", 0.01)
    stop, told, passed_on = StopControl(grace_s=60), [OSError("full"), OSError("full")], threading.Event()

    def on_stop() -> None:
        if told:
            raise told.pop()
        passed_on.set()

    def work() -> dict[str, Any]:
        return {"saved": passed_on.wait(5)}

    ended = supervisor(stop, cancel_requested=lambda: True, on_stop=on_stop).run(work)
    assert (ended.result, ended.error, ended.killed) == ({"saved": True}, None, False)


def test_the_deadline_stops_it() -> None:
    stop = StopControl(grace_s=60)
    supervisor(stop, deadline_s=0.05).run(until_stopped(stop))
    assert stop.cause == "deadline"


def test_work_that_gets_nowhere_is_stopped_and_work_that_gets_on_is_not() -> None:
    stop, progress, steps = StopControl(grace_s=60), Progress(), iter(range(8))

    def work() -> dict[str, Any]:
        # Longer in all than it may idle, and never so long at a stretch.
        for _ in steps:
            progress()
            threading.Event().wait(0.15)
        assert not stop.requested()
        while not stop.requested():
            threading.Event().wait(0.01)
        return {"stopped": True}

    watched = Supervisor(
        stop=stop, cancel_requested=lambda: False, on_stop=lambda: None, kill=lambda: None, deadline_s=None,
        max_idle_s=1.0, progress=progress,
    )  # fmt: skip
    assert watched.run(work).result == {"stopped": True}
    assert (stop.cause, next(steps, None)) == ("idle", None)


def test_a_run_that_is_no_longer_its_own_is_ended_at_once() -> None:
    stop = StopControl(grace_s=3600)
    stop.request("superseded")
    assert stop.overdue()


def test_what_does_not_listen_is_killed_after_the_grace() -> None:
    stop, free = StopControl(grace_s=0.05), threading.Event()

    def deaf() -> dict[str, Any]:
        free.wait()
        raise RuntimeError("its workers died")

    ended = supervisor(stop, deadline_s=0.01, kill=free.set).run(deaf)
    assert ended.killed
    assert isinstance(ended.error, RuntimeError)


def test_a_second_signal_does_not_wait() -> None:
    stop = StopControl(grace_s=3600)
    stop.signalled()
    assert stop.requested()
    assert not stop.overdue()
    stop.signalled()
    assert stop.overdue()


def test_the_first_cause_stands() -> None:
    stop = StopControl(grace_s=1)
    stop.request("deadline")
    stop.request("cancelled")
    assert stop.cause == "deadline"
