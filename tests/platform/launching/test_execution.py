"""How an execution ends whatever goes wrong around it; Ray and MLflow are stood in for, the ledger is real."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgeline.errors import LedgerError, NotFound, RunCancelled, RunFailed, TrackingError
from forgeline.launching import execution, ledger_watch
from forgeline.launching.context import GivesWay
from forgeline.launching.events import Event, EventLog, EventReader
from forgeline.launching.execution import Execution
from forgeline.launching.request import Request
from forgeline.launching.stopping import StopControl
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from forgeline.paths import RunPaths
from forgeline.settings import settings
from forgeline.tracking.spool import Spool


class Ray:
    """Stands for the local Ray."""

    def __init__(self) -> None:
        self.started = False
        self.starts: list[list[str]] = []
        self.has_started = threading.Event()

    def start(self, resources: Any, gpus: Sequence[str]) -> None:
        self.starts.append(list(gpus))
        self.started = True
        self.has_started.set()

    def stop(self) -> None:
        self.started = False

    def kill(self) -> None:
        """Nothing of it would outlive a test."""


class Store:
    """Stands for MLflow."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before
        self.finished: list[str] = []

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        self._before()
        return "own"

    def finish(self, run_id: str, state: str, *, reason: str | None = None) -> None:
        self.finished.append(state)

    def last_steps(self, run_id: str) -> dict[str, int]:
        return {}

    def log_points(self, run_id: str, points: Any) -> None:
        """It takes them."""

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        raise NotFound("away")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    ray = Ray()
    monkeypatch.setattr(execution, "LocalRay", lambda cpus: ray)
    return ray


@pytest.fixture
def execute(home: Path, ray: Ray, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, RunRecord, list[Event]]]:
    """Executes a kind that does `work`; gives exit code, record and events."""

    def run(work: Callable[[Any], Any], *, store: Store | None = None, resources: str = "{}", more: str = "") -> Any:
        monkeypatch.setattr(execution, "get_kind", lambda name: SimpleNamespace(kind=lambda: kind))
        monkeypatch.setattr(execution, "Tracker", lambda *place: store or Store())
        kind = SimpleNamespace(execute=work)
        request = Request(spec=f"kind: toy\nname: count\nresources: {resources}\n{more}", token="t")
        events = EventLog(home / "launching" / "t" / "events.jsonl")
        code = Execution(request, settings(), events, StopControl(grace_s=30)).run()
        record = Ledger(settings().resolved_ledger_url).get("own")
        return code, record, EventReader(home / "runs" / "own" / "events.jsonl").read_new()

    return run


def test_the_end_is_written_once_the_ledger_is_back(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    transition, failures = Ledger.transition, ["locked", "locked"]

    def stumbling(ledger: Ledger, run_id: str, state: str, *args: Any, **also: Any) -> None:
        if state == "succeeded" and failures:
            raise LedgerError(failures.pop())
        transition(ledger, run_id, state, *args, **also)

    monkeypatch.setattr(Ledger, "transition", stumbling)
    when = datetime(2024, 5, 1, tzinfo=UTC)
    code, record, events = execute(lambda context: {"metrics": {"val/loss": 0.5}, "when": when})
    assert (code, record.state, record.metrics) == (0, "succeeded", {"val/loss": 0.5})
    assert record.result["when"] == str(when)
    assert events[-1]["state"] == "succeeded"


def test_a_result_that_cannot_be_kept_does_not_cost_the_final_state(execute: Any) -> None:
    code, record, events = execute(lambda context: {"metrics": 7})
    assert (code, record.state, record.metrics) == (0, "succeeded", {})
    [said] = [event["text"] for event in events if "result could not be written" in event.get("text", "")]
    assert "ledger" in said


def test_a_ray_that_does_not_go_down_does_not_cost_the_final_state(
    execute: Any, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(ray, "stop", refuse)
    code, record, _ = execute(lambda context: {})
    assert (code, record.state) == (0, "succeeded")


def test_a_reason_of_the_kinds_own_fails_the_run_and_no_more(execute: Any) -> None:
    def fail(context: Any) -> None:
        raise RunFailed("the moon was wrong", reason="moon")

    store = Store()
    code, record, _ = execute(fail, store=store)
    assert (code, record.state, record.reason) == (100, "failed", "platform_error")
    assert record.message == "the moon was wrong"
    assert store.finished == ["failed"]


def test_ray_starts_again_when_another_run_took_its_gpu(
    execute: Any, ray: Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")

    def be_quicker() -> None:
        assert ray.has_started.wait(10)
        ledger = Ledger(settings().resolved_ledger_url)
        spec = "kind: toy\nresources: {gpus_per_worker: 1}\n"
        ledger.create_run(id="other", name="other", kind="toy", spec=spec, driver_host=socket.gethostname())
        ledger.transition("other", "starting", gpus=["4"])

    code, record, _ = execute(lambda context: {}, store=Store(be_quicker), resources="{gpus_per_worker: 1}")
    assert (code, record.gpus) == (0, ["5"])
    assert ray.starts == [["4"], ["5"]]


def test_a_stop_between_two_attempts_reaches_the_new_one(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    start_attempt = Ledger.start_attempt

    def work(context: Any) -> dict[str, Any]:
        def stopped_meanwhile(ledger: Ledger, *args: Any, **options: Any) -> int:
            context.stop.request("cancelled")
            while not context.paths.stop_request(attempt=1).exists():
                threading.Event().wait(0.01)
            return start_attempt(ledger, *args, **options)

        monkeypatch.setattr(Ledger, "start_attempt", stopped_meanwhile)
        number = context.next_attempt("node_lost", reason="node_lost")
        seen.append(context.paths.stop_request(attempt=number).exists())
        return {}

    execute(work)
    assert seen == [True]


def until_asked(context: Any) -> dict[str, Any]:
    while not context.cancel_requested():
        threading.Event().wait(0.01)
    raise RunCancelled("stopped as asked")


def test_a_run_that_gets_nowhere_ends_as_idle(execute: Any) -> None:
    code, record, events = execute(until_asked, more="max_idle: 0.2s\n")
    assert (code, record.state, record.reason) == (104, "timed_out", "idle")
    assert "max_idle" in events[-1]["message"]


def test_the_grace_of_the_specification_counts(execute: Any) -> None:
    seen: list[float] = []

    def deaf(context: Any) -> dict[str, Any]:
        seen.append(context.grace_s)
        free.wait(60)
        return {}

    free = threading.Event()
    code, record, _ = execute(deaf, more="timeout: 0.1s\ngrace: 0.2s\n")
    free.set()
    assert seen == [0.2]
    assert (code, record.state, record.reason) == (104, "timed_out", "deadline")
    assert "was killed" in record.message


def test_a_driver_that_lost_its_run_leaves_it_to_the_other_one(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_watch, "RENEW_EVERY_S", 0.0)
    store = Store()

    def work(context: Any) -> dict[str, Any]:
        # Somebody took the run for dead, and somebody resumed it.
        while not (seen := context.ledger.get("own")).is_final:
            context.ledger.close_dead(seen)  # which does nothing where the lease was renewed since it was read
        context.ledger.resume("own", driver_host="another-host", driver_pid=1)
        return until_asked(context)

    code, record, events = execute(work, store=store)
    assert (record.state, record.driver_host) == ("queued", "another-host")
    assert (code, store.finished) == (100, [])
    assert "no longer owns the run" in events[-1]["message"]


def test_a_first_attempt_says_what_it_has(execute: Any) -> None:
    execute(lambda context: {}, resources="{workers: 2}")
    [attempt] = Ledger(settings().resolved_ledger_url).attempts("own")
    assert (attempt.first_step, attempt.workers, attempt.gpus, attempt.lost_s) == (0, 2, 0.0, None)


def test_a_store_that_is_away_to_the_end_costs_no_more_than_a_word(
    execute: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_DELIVERY_S", 0.2)

    class Away(Store):
        def last_steps(self, run_id: str) -> dict[str, int]:
            raise TrackingError("nobody is there")

        def finish(self, run_id: str, state: str, *, reason: str | None = None) -> None:
            raise TrackingError("nobody is there")

    def work(context: Any) -> dict[str, Any]:
        path = context.paths.spool(attempt=context.attempt, rank=0)
        with Spool(path) as spool:
            spool.metrics(1, {"train/loss": 0.5, "train/rate": 2.0})
        context.watch_spool(path)
        return {}

    code, record, events = execute(work, store=Away())
    assert (code, record.state) == (0, "succeeded")
    told = [event["text"] for event in events if event["event"] == "message" and event["level"] == "warning"]
    assert any(text.startswith("2 metric points did not reach") and "runs sync own" in text for text in told)
    assert any("was not told how the run ended" in text and "runs sync own" in text for text in told)


def test_a_store_that_comes_back_is_told_what_the_run_is(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_DESCRIBE_AGAIN_S", 0.02)

    class Recorder(execution.RunRecorder):
        calls = 0

        def describe(self, run_id: str) -> None:
            Recorder.calls += 1
            if Recorder.calls < 3:
                raise TrackingError("away")

    def work(context: Any) -> dict[str, Any]:
        while Recorder.calls < 3:
            threading.Event().wait(0.01)
        return {}

    monkeypatch.setattr(execution, "RunRecorder", Recorder)
    _, _, events = execute(work)
    assert Recorder.calls == 3
    assert [event for event in events if "could not be tracked" in event.get("text", "")] == []


def test_a_kind_that_gives_way_waits_for_its_turn_and_goes_on(execute: Any, ray: Ray) -> None:
    ledger = Ledger(settings().resolved_ledger_url)
    asked: list[tuple[int, bool, Any]] = []
    cpus = settings().available_cpus

    def work(context: Any) -> dict[str, Any]:
        asked.append((context.attempt, context.outranked(), context.resume_from))
        if len(asked) == 1:
            ledger.create_run(
                id="high", name="high", kind="toy", spec="kind: toy\n", priority=1,
                driver_host=socket.gethostname(), driver_pid=os.getpid(),
            )  # fmt: skip
            assert context.outranked()
            # Its turn comes, and later it ends.
            threading.Thread(target=go_first).start()
            raise GivesWay("a run of higher priority waits")
        return {"metrics": {"val/loss": 0.25}}

    def go_first() -> None:
        wait_for(lambda: ledger.get("own").state == "queued")
        ledger.transition("high", "starting")
        seen.append(ray.started)
        ledger.transition("high", "failed")

    seen: list[bool] = []
    code, record, events = execute(work, resources=f"{{workers: {int(cpus)}}}")
    assert (code, record.state, record.metrics) == (0, "succeeded", {"val/loss": 0.25})
    assert seen == [False], "Ray held its share while the other run had its turn"
    assert [number for number, _, _ in asked] == [1, 2]
    assert asked[0][2] is None
    assert asked[1][1:] == (False, RunPaths(settings().home_folder, "own").checkpoints)
    attempts = ledger.attempts("own")
    assert [(one.cause, one.outcome, one.reason) for one in attempts] == [
        ("first", "cancelled", "preempted"),
        ("preempted", "succeeded", None),
    ]
    states = [event["state"] for event in events if event["event"] == "state"]
    assert states == ["queued", "starting", "running", "queued", "starting", "running", "succeeded"]


def test_a_kind_that_gives_way_and_is_cancelled_meanwhile_ends(execute: Any) -> None:
    ledger = Ledger(settings().resolved_ledger_url)

    def work(context: Any) -> dict[str, Any]:
        assert context.attempt == 1
        ledger.request_cancel("own")
        raise GivesWay("a run of higher priority waits")

    code, record, _ = execute(work)
    assert (code, record.state) == (103, "cancelled")


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)
