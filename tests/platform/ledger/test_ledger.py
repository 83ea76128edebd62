from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from forgeline.errors import LedgerError, NotFound, UsageError
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from forgeline.ledger.states import ACTIVE, IllegalTransition, Reason, State

NewRun = Callable[..., RunRecord]


def test_a_new_run_is_queued_and_comes_back_as_written(ledger: Ledger, new_run: NewRun) -> None:
    written = new_run("3f2a9c", priority=3, labels={"team": "vision"}, cluster="http://head:8265")
    assert ledger.get("3f2a9c") == written
    assert (written.state, written.priority, written.labels) == (State.QUEUED, 3, {"team": "vision"})
    assert written.created.tzinfo is not None
    assert ledger.took_s("3f2a9c") is None


def test_a_second_run_of_the_same_id_is_refused(new_run: NewRun) -> None:
    new_run("3f2a9c")
    with pytest.raises(LedgerError, match="refused"):
        new_run("3f2a9c")


def test_runs_are_found_by_id_name_and_start_of_an_id(ledger: Ledger, new_run: NewRun) -> None:
    new_run("aaaa1111", name="digits")
    new_run("aaaa2222", name="digits")
    new_run("bbbb1111", name="aaaa1111")
    assert ledger.get("aaaa1111").name == "digits", "an id comes before a name"
    assert ledger.get("digits").id == "aaaa2222", "the newest run of a name"
    assert ledger.get("bbbb").id == "bbbb1111"
    with pytest.raises(UsageError, match="ambiguous: aaaa2222, aaaa1111"):
        ledger.get("aaaa")
    with pytest.raises(NotFound, match="did you mean `digits`"):
        ledger.get("digit")
    with pytest.raises(NotFound):
        ledger.get("bbb")
    with pytest.raises(NotFound):
        ledger.get("____")


def test_a_ledger_without_runs_says_so(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="none is known"):
        ledger.get("digits")
    assert ledger.list_runs() == []


def test_listing_filters_and_comes_newest_first(ledger: Ledger, new_run: NewRun) -> None:
    for number in range(4):
        new_run(f"run{number}", name=f"n{number % 2}", kind="train" if number else "evaluate")
    ledger.transition("run2", "starting")
    assert [run.id for run in ledger.list_runs()] == ["run3", "run2", "run1", "run0"]
    assert [run.id for run in ledger.list_runs(limit=2)] == ["run3", "run2"]
    assert [run.id for run in ledger.list_runs(name="n0")] == ["run2", "run0"]
    assert [run.id for run in ledger.list_runs(kind="evaluate")] == ["run0"]
    assert [run.id for run in ledger.list_runs(state="starting")] == ["run2"]
    assert len(ledger.list_runs(state=ACTIVE)) == 4
    with pytest.raises(ValueError, match="sleeping"):
        ledger.list_runs(state="sleeping")


def test_an_end_closes_the_open_attempt_and_keeps_why(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    ledger.transition("run1", State.STARTING)
    assert ledger.start_attempt("run1", "first") == 1
    ledger.transition("run1", State.RUNNING)
    ledger.transition("run1", State.FAILED, Reason.USER_ERROR, "ValueError on rank 0")
    record, (attempt,) = ledger.get("run1"), ledger.attempts("run1")
    assert (record.state, record.reason, record.message) == ("failed", "user_error", "ValueError on rank 0")
    assert record.ended is not None and ledger.took_s("run1") is not None
    assert (attempt.outcome, attempt.reason, attempt.ended) == ("failed", "user_error", record.ended)


def test_an_attempt_that_was_closed_keeps_how_it_ended(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    ledger.start_attempt("run1", "first", first_step=0)
    ledger.end_attempt("run1", 1, "failed", reason="node_lost", message="a node went")
    ledger.end_attempt("run1", 1, "cancelled", reason="cancelled", last_step=70)
    assert ledger.start_attempt("run1", "node_lost", first_step=64) == 2
    first, second = ledger.attempts("run1")
    assert (first.outcome, first.reason, first.message, first.last_step) == ("failed", "node_lost", "a node went", 70)
    assert (second.cause, second.first_step, second.ended) == ("node_lost", 64, None)
    with pytest.raises(NotFound, match="no attempt 7; it has 2"):
        ledger.end_attempt("run1", 7, "failed")


def test_a_finished_run_takes_no_further_attempt(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    ledger.transition("run1", "cancelled", "cancelled")
    with pytest.raises(LedgerError, match="is cancelled"):
        ledger.start_attempt("run1", "first")
    with pytest.raises(NotFound):
        ledger.start_attempt("other", "first")


def test_resuming_goes_on_with_the_same_run(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    ledger.start_attempt("run1", "first")
    ledger.request_cancel("run1")
    ledger.transition("run1", "cancelled", "cancelled", "on request")
    ledger.resume("run1", driver_host="elsewhere", driver_pid=7)
    record = ledger.get("run1")
    assert (record.state, record.reason, record.message, record.ended) == ("queued", None, None, None)
    assert (record.driver_host, record.driver_pid) == ("elsewhere", 7)
    assert not ledger.cancel_requested("run1")
    assert record.submitted > record.created
    assert ledger.start_attempt("run1", "resume") == 2


def test_a_run_resumed_with_another_spec_keeps_the_new_one(ledger: Ledger, new_run: NewRun) -> None:
    before = new_run("run1", priority=3, labels={"team": "vision"})
    ledger.transition("run1", "cancelled", "cancelled")
    ledger.resume("run1")
    record = ledger.get("run1")
    assert (record.spec, record.priority, record.labels) == (before.spec, 3, {"team": "vision"})
    ledger.transition("run1", "cancelled", "cancelled")
    ledger.resume("run1", spec="kind: train\nsteps: 9\n", priority=0, labels={})
    record = ledger.get("run1")
    assert (record.spec, record.priority, record.labels) == ("kind: train\nsteps: 9\n", 0, {})


@pytest.mark.parametrize("path", [["starting"], ["starting", "running", "succeeded"]])
def test_only_what_ended_badly_can_be_resumed(ledger: Ledger, new_run: NewRun, path: list[str]) -> None:
    new_run("run1")
    for state in path:
        ledger.transition("run1", state)
    with pytest.raises(UsageError, match=f"is {path[-1]} and cannot be resumed"):
        ledger.resume("run1")
    with pytest.raises(NotFound):
        ledger.resume("other")


def test_a_wish_to_stop_is_kept_while_the_run_goes_on(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    assert not ledger.cancel_requested("run1")
    assert ledger.request_cancel("run1")
    assert ledger.request_cancel("run1")
    assert ledger.cancel_requested("run1")
    ledger.transition("run1", "cancelled")
    assert not ledger.request_cancel("run1")
    for ask in (ledger.request_cancel, ledger.cancel_requested):
        with pytest.raises(NotFound):
            ask("other")


def test_metrics_and_result_survive_what_json_cannot_hold(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    ledger.update_metrics("run1", {"val/loss": 0.5, "val/accuracy": 0.9})
    ledger.update_metrics("run1", {"val/loss": math.nan})
    ledger.set_result("run1", {"metrics": {"x": math.inf}, "files": ("a", "b")})
    record = ledger.get("run1")
    assert record.metrics["val/accuracy"] == 0.9
    assert math.isnan(record.metrics["val/loss"])
    assert record.result == {"metrics": {"x": None}, "files": ["a", "b"]}
    ledger.update_metrics("run1", {"val/loss": 0.1}, replace=True)
    assert ledger.get("run1").metrics == {"val/loss": 0.1}
    with pytest.raises(NotFound):
        ledger.update_metrics("other", {})
    with pytest.raises(NotFound):
        ledger.set_result("other", {})


def test_what_belongs_to_the_end_is_written_with_it(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    for state in ("starting", "running"):
        ledger.transition("run1", state)
    ledger.update_metrics("run1", {"val/loss": 0.5, "val/accuracy": 0.9})
    result = {"when": datetime(2024, 5, 1, tzinfo=UTC), "weights": np.arange(2.0), "metrics": {"val/loss": 0.1}}
    ledger.transition("run1", "succeeded", metrics={"val/loss": 0.1}, result=result)
    record = ledger.get("run1")
    assert (record.state, record.metrics) == ("succeeded", {"val/loss": 0.1})
    assert record.result == {"when": "2024-05-01 00:00:00+00:00", "weights": "[0. 1.]", "metrics": {"val/loss": 0.1}}
    with pytest.raises(IllegalTransition, match="succeeded is final"):
        ledger.transition("run1", "failed")


def test_a_resumed_run_is_where_it_was_sent_last(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1", cluster="http://head:8265", submission_id="forgeline-1")
    ledger.transition("run1", "starting", gpus=["3"])
    assert ledger.get("run1").gpus == ["3"]
    ledger.transition("run1", "cancelled", "cancelled")
    ledger.resume("run1", name="digits-2")
    record = ledger.get("run1")
    assert (record.name, record.cluster, record.submission_id, record.gpus) == ("digits-2", None, None, None)


def test_of_many_that_end_a_run_one_wins(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    won: list[str] = []
    refused: list[str] = []

    def end(state: str) -> None:
        try:
            ledger.transition("run1", state)
            won.append(state)
        except LedgerError:
            refused.append(state)

    threads = [threading.Thread(target=end, args=(state,)) for state in ("failed", "cancelled", "timed_out") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(refused) == 11
    assert ledger.get("run1").state == won[0]


def test_threads_that_open_attempts_get_different_numbers(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1")
    numbers: list[int] = []
    threads = [threading.Thread(target=lambda: numbers.append(ledger.start_attempt("run1", "hang"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 13))


def test_an_unknown_reason_is_refused(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1", driver_host=socket.gethostname(), driver_pid=os.getpid())
    with pytest.raises(ValueError, match="bad_mood"):
        ledger.transition("run1", "failed", "bad_mood")
    assert ledger.get("run1").state == "queued"
