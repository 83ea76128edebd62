"""Following a run on a cluster whose answers come and go; the Jobs API is stood in for, the ledger is real."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import forgeline as fl
from forgeline.launching import cluster
from forgeline.launching.cluster import ClusterLaunch
from forgeline.launching.events import MARKER
from forgeline.ledger.ledger import Ledger
from forgeline.settings import settings

ADDRESS = "http://head:8265"


class Jobs:
    """Stands for Ray's Jobs API: each reading of the log gives one more of `logs`, then breaks or ends."""

    def __init__(self) -> None:
        self.submission = ""
        self.logs: list[list[dict[str, Any]]] = []
        self.statuses: list[str] = []
        self.breaks = True
        self.asked = 0

    def submit_job(self, *, submission_id: str, **options: Any) -> str:
        self.submission = submission_id
        return submission_id

    def get_job_status(self, job: str) -> Any:
        self.asked += 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "away":
            raise OSError("no answer")
        return SimpleNamespace(is_terminal=lambda: status == "FAILED")

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for event in self.logs.pop(0) if len(self.logs) > 1 else self.logs[0]:
            yield f"{MARKER}{json.dumps(event)}\n"
        if self.breaks:
            raise OSError("broken")

    def get_job_logs(self, job: str) -> str:
        return "Traceback\nboom"


@pytest.fixture
def jobs(toy_environment: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs()
    monkeypatch.setattr(cluster, "_connect", lambda address: jobs)
    monkeypatch.setattr(cluster, "_RETRY_S", 0.001)
    return jobs


def launched() -> ClusterLaunch:
    return ClusterLaunch(ADDRESS, spec="kind: toy\n", settings=settings(), resume=None, threads=1)


def new_run(submission_id: str) -> Ledger:
    ledger = Ledger(settings().resolved_ledger_url)
    driver = {"driver_host": "a-node-of-the-cluster", "driver_pid": 7}
    ledger.create_run(
        id="r", name="count", kind="toy", spec="kind: toy\n", cluster=ADDRESS, submission_id=submission_id, **driver
    )
    ledger.transition("r", "starting")
    return ledger


def test_a_connection_that_breaks_often_is_taken_up_as_often(jobs: Jobs) -> None:
    told = [{"event": "run", "run_id": "r"}, *({"event": "step", "step": step} for step in range(20))]
    jobs.logs = [told[:number] for number in range(1, len(told) + 1)] + [[*told, {"event": "state", "state": "failed"}]]
    jobs.statuses = ["away"]
    assert [event["event"] for event in launched().events()] == ["run", *["step"] * 20, "state"]


def test_a_cluster_that_does_not_answer_says_nothing_about_the_run(jobs: Jobs) -> None:
    jobs.logs, jobs.statuses = [[{"event": "run", "run_id": "r"}], []], ["RUNNING", "away"]
    launch = launched()
    ledger = new_run(jobs.submission)
    *_, last = launch.events()
    assert (last["event"], last["exit_code"]) == ("error", 101)
    assert "may still go on" in last["message"] and "runs wait r" in last["message"]
    assert ledger.get("r").state == "starting"


def test_a_job_that_ended_without_a_word_fails_its_run(jobs: Jobs) -> None:
    jobs.logs, jobs.statuses, jobs.breaks = [[{"event": "run", "run_id": "r"}]], ["RUNNING", "FAILED"], False
    launch = launched()
    ledger = new_run(jobs.submission)
    *_, last = launch.events()
    assert (last["event"], last["state"], last["reason"]) == ("state", "failed", "platform_error")
    assert ledger.get("r").state == "failed"


def test_a_job_that_ended_before_there_was_a_run_says_why(jobs: Jobs) -> None:
    jobs.logs, jobs.statuses, jobs.breaks = [[]], ["FAILED"], False
    [last] = launched().events()
    assert (last["event"], last["exit_code"]) == ("error", 1)
    assert "it said: Traceback / boom" in last["message"]


def test_whoever_looks_at_a_run_learns_that_its_job_died(jobs: Jobs) -> None:
    ledger = new_run("forgeline-t")
    jobs.statuses = ["RUNNING", "away", "FAILED"]
    for _ in range(2):
        assert fl.get("r").state == "starting"
    assert [run.state for run in ledger.list_runs()] == ["starting"]
    assert jobs.asked == 2, "a listing asks no cluster"
    assert (fl.get("r").state, fl.get("r").reason) == ("failed", "platform_error")
    assert jobs.asked == 3


def test_waiting_ends_when_the_job_died(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgeline.api._ASK_CLUSTER_S", 0.01)
    new_run("forgeline-t")
    jobs.statuses = ["RUNNING", "FAILED"]
    assert fl.get("r").wait(timeout=10) == "failed"


def test_a_cluster_that_hangs_holds_nobody_up(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.05)
    monkeypatch.setattr(jobs, "get_job_status", lambda job: free.wait())
    new_run("forgeline-t")
    assert fl.get("r").state == "starting"
    free.set()
