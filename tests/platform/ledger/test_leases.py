"""Leases of drivers elsewhere: over a minute after their death, and never before, whatever clocks and databases do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forgeline.ledger import driver_process, leases
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord
from tests.databases import execute

NewRun = Callable[..., RunRecord]


@pytest.fixture
def elsewhere(ledger: Ledger, new_run: NewRun) -> RunRecord:
    """A run whose driver is of another machine, and renewed its lease an hour ago by the database's clock."""
    new_run("run1", driver_host="another-host", driver_pid=2**22)
    ledger.transition("run1", "starting")
    ledger.start_attempt("run1", "first")
    aged(ledger, 3600)
    return ledger._fetch("run1")


def aged(ledger: Ledger, seconds: float) -> None:
    execute(ledger._url, "UPDATE runs SET lease_renewed = lease_renewed - :seconds", seconds=seconds)


@pytest.fixture
def pauses(ledger: Ledger) -> list[float]:
    """How long was waited; nothing is."""
    waited: list[float] = []
    ledger._lease_look._pause = waited.append
    return waited


def test_a_lease_that_nobody_renews_is_over_when_somebody_looks(
    ledger: Ledger, elsewhere: RunRecord, pauses: list[float]
) -> None:
    record = ledger.get("run1")
    assert (record.state, record.reason) == ("failed", "platform_error")
    assert ledger.attempts("run1")[0].outcome == "failed"
    assert leases.LOOKS_DEAD_AFTER_S + sum(pauses) <= 60


@pytest.mark.parametrize("ahead", [False, True])
def test_a_clock_that_jumped_ends_no_living_run(
    ledger: Ledger, elsewhere: RunRecord, pauses: list[float], ahead: bool
) -> None:
    if ahead:
        aged(ledger, -7200)
    ledger._lease_look._pause = lambda seconds: [pauses.append(seconds), ledger.writer.renew_lease(elsewhere)][:0]  # type: ignore[func-returns-value,assignment]
    assert ledger.get("run1").state == "starting"
    assert len(pauses) == 1
    aged(ledger, 3600)
    # It was seen to live: looking again costs no time at once.
    assert [run.state for run in ledger.list_runs()] == ["starting"]
    assert len(pauses) == 1


def test_a_driver_that_renews_just_before_the_end_keeps_its_run(ledger: Ledger, elsewhere: RunRecord) -> None:
    assert ledger.writer.renew_lease(elsewhere)
    ledger.close_dead(elsewhere)
    assert ledger.get("run1").state == "starting"


def test_the_time_in_which_the_database_took_no_writes_does_not_count(
    ledger: Ledger, elsewhere: RunRecord, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(type(ledger.writer), "prove_writable", lambda writer: done.append("write"))
    ledger._lease_look._pause = lambda seconds: done.append("wait")
    ledger.reap_dead(elsewhere=True)
    assert done == ["write", "wait"]


def test_the_queue_does_not_wait_for_leases(ledger: Ledger, elsewhere: RunRecord, pauses: list[float]) -> None:
    assert [run.state for run in ledger.list_runs(elsewhere=False)] == ["starting"]
    assert pauses == []


def test_a_lease_belongs_to_one_driver(ledger: Ledger, elsewhere: RunRecord) -> None:
    ledger.transition("run1", "cancelled", "cancelled")
    assert not ledger.writer.renew_lease(elsewhere)
    ledger.resume("run1", driver_host=driver_process.this_host(), driver_pid=os.getpid())
    assert not ledger.writer.renew_lease(elsewhere)
    assert ledger.writer.renew_lease(ledger.get("run1"))


def test_a_namesake_on_another_machine_is_not_asked_by_its_process_id(new_run: NewRun) -> None:
    here = new_run("run1", driver_host=driver_process.this_host(), driver_pid=os.getpid())
    assert leases.is_dead_here(here) is False
    assert leases.is_dead_here(replace(here, driver_pid=2**22 + 1)) is True
    container = replace(here, driver_machine="another boot/pid:[1]", driver_pid=2**22 + 1)
    assert leases.is_dead_here(container) is None
    assert leases.is_dead_here(replace(here, driver_machine=None, driver_pid=2**22 + 1)) is True


def test_reap_closes_the_dead_and_says_which(home: Path, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.create_run(
        id="0123456789abcdef", name="digits", kind="toy", spec="kind: toy\n",
        driver_host=driver_process.this_host(), driver_pid=2**22 + 1,
    )  # fmt: skip
    command = [sys.executable, "-m", "forgeline.cli.app", "reap", "--format", "json"]
    told = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(2)]
    assert [(row["name"], row["state"], row["reason"]) for row in told[0]] == [("digits", "failed", "platform_error")]
    assert told[1] == []
