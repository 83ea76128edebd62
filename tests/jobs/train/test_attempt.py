"""What an attempt's end is put down to, faults being real ones of real workers in one local Ray."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from forgeline.launching.local_ray import LocalRay
from forgeline.ledger.states import Reason
from forgeline.spec.envelope import Resources
from forgeline.spec.loading import load
from forgeline_jobs.train import checkpoint, heartbeat
from forgeline_jobs.train.attempt import run_attempt
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.watch import HANG
from forgeline_jobs.train.worker import Job

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("session")]

STEP = 12
GROUPS = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").exists() else Path("/sys/fs/cgroup")
SPEC = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "faulty", "hidden": [8]},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"steps": 60, "validate_every": "20step"},
    "checkpoint": {"every": "10step"},
    "resources": {"workers": 2},
}


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A control group for memory, which only some users may make."""
    folder = GROUPS / f"forgeline-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield folder
        return
    yield folder
    folder.rmdir()


@pytest.fixture(scope="module")
def session(faulty: None, group: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAULTY_GROUP", str(group))
        local = LocalRay(cpus=2)
        local.start(Resources(workers=2))
        yield
        local.stop()


def attempt(home: Path, fault: str, *, grace_s: float = 60.0, **changed: Any) -> tuple[Failure | None, Job]:
    job = Job(
        spec=load(SPEC, set={"architecture.fault": fault, **changed}).text,
        run_id=fault,
        home=str(home),
        attempt=1,
        checkpoint=None,
    )
    job.paths.attempt(1).mkdir(parents=True)
    got_on: list[int] = []
    spec: Any = load(job.spec).spec
    failure = run_attempt(job, spec, cluster=False, grace_s=grace_s, progressed=lambda: got_on.append(1))
    assert got_on
    return failure, job


def failed(home: Path, fault: str, **changed: Any) -> Failure:
    failure, _ = attempt(home, fault, **changed)
    assert failure is not None
    return failure


def test_a_stopped_rank_is_named_with_its_stack_and_all_workers_are_ended(tmp_path: Path) -> None:
    failure, job = attempt(tmp_path, "stop", hang_after="3s")
    assert failure is not None
    assert (failure.reason, failure.rank) == (Reason.HANG, 1), failure.message
    assert f"at step {STEP}" in failure.message
    assert "its process is stopped (SIGSTOP); Python is in stop (faulty.py" in failure.message
    [other, hanging] = json.loads((job.paths.attempt(1) / HANG).read_text())["ranks"]
    assert (other["hangs"], hanging["hangs"], hanging["phase"]) == (False, True, "forward")
    assert "training_step" in hanging["threads"] and other["stack"]
    pids = [beat.who.pid for beat in heartbeat.read_all(job.paths.attempt(1)).values()]
    assert len(pids) == 2 and not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.acceptance
@pytest.mark.parametrize("fault", ["sleep", "desert"])
def test_a_rank_that_gets_stuck_is_named_whether_it_is_stopped_or_not(tmp_path: Path, fault: str) -> None:
    failure = failed(tmp_path, fault, hang_after="3s")
    assert (failure.reason, failure.rank) == (Reason.HANG, 1), failure.message
    assert f"{fault} (faulty.py" in failure.message


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("raise", Reason.USER_ERROR, "ValueError on rank 1: bad labels"),
        ("exit", Reason.USER_ERROR, "SystemExit on rank 1: 3"),
        ("abort", Reason.USER_ERROR, "the process of rank 1 crashed: Aborted"),
        ("kill", Reason.NODE_LOST, "was killed; its node lives"),
        ("allocate", Reason.OUT_OF_MEMORY, "MemoryError on rank 1"),
        ("allocate_tensor", Reason.OUT_OF_MEMORY, "on rank 1"),
    ],
)
def test_faults_are_told_apart(tmp_path: Path, fault: str, reason: Reason, words: str) -> None:
    failure = failed(tmp_path, fault)
    assert (failure.reason, failure.rank) == (reason, 1), failure.message
    assert words in failure.message


@pytest.mark.acceptance
def test_a_worker_that_the_kernel_kills_for_memory_is_not_a_lost_node(tmp_path: Path, group: Path) -> None:
    if not (group / "cgroup.procs").exists():
        pytest.skip("this user may make no control group for memory")
    failure = failed(tmp_path, "overfill_group")
    assert (failure.reason, failure.rank) == (Reason.OUT_OF_MEMORY, 1), failure.message
    assert "was killed by the kernel for memory" in failure.message


@pytest.mark.acceptance
def test_sigterm_leaves_a_checkpoint_of_the_step_and_is_a_preemption(tmp_path: Path) -> None:
    # Ray's actor looks at its signals when its controller asks for it, every second or so.
    failure, job = attempt(tmp_path, "terminate", **{"architecture.step_s": 0.2, "checkpoint.every": None})
    assert failure is not None
    assert (failure.reason, failure.rank) == (Reason.PREEMPTED, 1), failure.message
    assert "a last checkpoint was written" in failure.message
    [folder] = checkpoint.folders(job.paths.checkpoints)
    assert checkpoint.Manifest.read(folder).step in range(STEP, 60) and checkpoint.verified(folder)


@pytest.mark.acceptance
def test_workers_that_do_not_leave_in_their_grace_are_ended(tmp_path: Path) -> None:
    failure = failed(tmp_path, "terminate", grace_s=2.0, **{"architecture.step_s": 20.0, "trainer.steps": 14})
    assert failure.reason is Reason.PREEMPTED
    assert "before a last checkpoint was written" in failure.message


@pytest.mark.acceptance
def test_an_attempt_without_a_fault_has_no_cause(tmp_path: Path) -> None:
    assert attempt(tmp_path, "none")[0] is None
