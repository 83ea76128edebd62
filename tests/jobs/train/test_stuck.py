"""Looking into a real process from outside: working, stopped, where py-spy may not, and gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forgeline.ledger import driver_process
from forgeline_jobs.train import stuck

CODE = """
import sys, threading, time
from pathlib import Path
from forgeline_jobs.train.stuck import be_askable

def train_worker():
    ready.set()
    while True:
        time.sleep(0.01)

ready = threading.Event()
be_askable(Path(sys.argv[1]), 1)
threading.Thread(target=train_worker, name="TrainingThread(x)", daemon=True).start()
ready.wait()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("allowed", [True, False])
def test_the_stack_of_the_training_thread_is_read(
    worker: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool, allowed: bool
) -> None:
    if not allowed:
        # As where the kernel restricts ptrace: py-spy ends with an error.
        monkeypatch.setattr(stuck.shutil, "which", lambda name, path=None: "false")
    if stopped:
        worker.send_signal(signal.SIGSTOP)
        wait_for_state(worker.pid, "T")
    sight = stuck.look(worker.pid, driver_process.started_s(worker.pid), stuck.stack_file(tmp_path, 1))
    assert "train_worker" in sight.stack[0] and sight.trouble == ""
    assert ("SIGSTOP" in sight.in_words) == stopped
    assert "train_worker" in sight.in_words


def test_a_process_that_is_gone_is_said_to_be(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    started = driver_process.started_s(worker.pid)
    worker.send_signal(signal.SIGSTOP)
    stuck.end(worker.pid, started)
    assert worker.wait(10) == -signal.SIGKILL
    assert stuck.look(worker.pid, started, tmp_path / "stacks").in_words == "its process is gone"
    stuck.end(worker.pid, started)


def test_a_later_process_of_the_same_id_is_left_alone(worker: subprocess.Popen[str]) -> None:
    started = driver_process.started_s(worker.pid)
    assert started is not None
    stuck.end(worker.pid, started - 3600)
    assert worker.poll() is None
    assert stuck.state_of(worker.pid, started - 3600) == "gone"


def wait_for_state(pid: int, letter: str) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != letter:
        pass
