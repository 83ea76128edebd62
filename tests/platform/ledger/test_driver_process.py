from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from forgeline.ledger import driver_process
from forgeline.ledger.ledger import Ledger
from forgeline.ledger.records import RunRecord

NewRun = Callable[..., RunRecord]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def test_a_killed_driver_never_leaves_a_run_running(
    ledger: Ledger, new_run: NewRun, sleeper: subprocess.Popen[bytes]
) -> None:
    new_run("run1", driver_host=socket.gethostname(), driver_pid=sleeper.pid)
    ledger.start_attempt("run1", "first")
    ledger.transition("run1", "starting")
    ledger.transition("run1", "running")
    assert ledger.reap_dead() == []
    assert ledger.get("run1").state == "running"
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait()
    (record,) = ledger.list_runs()
    assert (record.state, record.reason) == ("failed", "platform_error")
    assert record.message is not None and "died" in record.message
    assert ledger.attempts("run1")[0].outcome == "failed"
    assert ledger.reap_dead() == []


def test_a_run_that_was_resumed_meanwhile_is_not_taken_for_dead(ledger: Ledger, new_run: NewRun) -> None:
    stale = new_run("run1", driver_host=socket.gethostname(), driver_pid=2**22 + 1)
    ledger.transition("run1", "cancelled", "cancelled")
    ledger.resume("run1", driver_host=socket.gethostname(), driver_pid=os.getpid())
    ledger.close_dead(stale)
    assert ledger.get("run1").state == "queued"


def test_a_zombie_counts_as_dead(ledger: Ledger, new_run: NewRun, sleeper: subprocess.Popen[bytes]) -> None:
    new_run("run1", driver_host=socket.gethostname(), driver_pid=sleeper.pid)
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert ledger.get("run1").state == "failed"


def test_a_process_id_that_is_used_again_is_no_driver(new_run: NewRun, sleeper: subprocess.Popen[bytes]) -> None:
    started = driver_process.started_s(sleeper.pid)
    assert started is not None
    assert driver_process.is_alive(sleeper.pid, started)
    assert not driver_process.is_alive(sleeper.pid, started - 60)


def test_drivers_elsewhere_are_left_alone(ledger: Ledger, new_run: NewRun) -> None:
    new_run("run1", driver_host="another-host", driver_pid=2**22)
    new_run("run2")
    assert ledger.reap_dead() == []
    assert {run.state for run in ledger.list_runs()} == {"queued"}
