"""The cause of an attempt's end, from the evidence that its workers left."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from forgeline.ledger.states import Reason
from forgeline_jobs.train.attempt import _cause
from forgeline_jobs.train.worker import FAILURE, _record_failure

GLOO = "[third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:2717: Connection reset by peer."


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        ("ValueError", "bad labels", Reason.USER_ERROR),
        ("RuntimeError", "shapes do not match", Reason.USER_ERROR),
        ("OutOfMemoryError", "CUDA out of memory", Reason.OUT_OF_MEMORY),
        ("MemoryError", "", Reason.OUT_OF_MEMORY),
        ("NonFiniteLoss", "the loss became nan at step 3", Reason.NON_FINITE_LOSS),
        ("RuntimeError", GLOO, Reason.NODE_LOST),
        ("DistBackendError", "NCCL error", Reason.NODE_LOST),
    ],
)
def test_a_workers_own_evidence_decides(tmp_path: Path, kind: str, message: str, reason: Reason) -> None:
    (tmp_path / FAILURE).write_text(json.dumps({"rank": 1, "type": kind, "message": message}))
    assert _cause(RuntimeError("worker group failed"), tmp_path).reason is reason


def test_the_first_rank_to_fail_keeps_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _record_failure(tmp_path, 1, ValueError("bad labels"))
    _record_failure(tmp_path, 0, RuntimeError(GLOO))
    failure = _cause(RuntimeError("worker group failed"), tmp_path)
    assert (failure.reason, "rank 1" in failure.message) == (Reason.USER_ERROR, True)


def test_a_full_disk_does_not_hide_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("bad labels")
    except ValueError as error:
        _record_failure(tmp_path / "gone", 0, error)
    assert "bad labels" in capsys.readouterr().err


def test_a_worker_killed_for_memory_is_not_a_lost_node(tmp_path: Path) -> None:
    _record_failure(tmp_path, 0, RuntimeError(GLOO))
    lost = RuntimeError("rank 1 died")
    lost.__cause__ = OutOfMemoryError("the node ran low on memory")
    error = WorkerGroupError("two workers failed", {0: RuntimeError(GLOO), 1: lost})
    assert _cause(error, tmp_path).reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize("controlled", [False, True])
@pytest.mark.parametrize(
    ("died", "reason"),
    [
        (ActorDiedError(), Reason.NODE_LOST),
        (OutOfMemoryError("low"), Reason.OUT_OF_MEMORY),
    ],
)
def test_a_death_that_the_controller_saw_before_any_rank_wrote_evidence_is_known(
    tmp_path: Path, died: Exception, reason: Reason, controlled: bool
) -> None:
    unhealthy = WorkerHealthCheckFailedError("a worker health check failed", failure=died)
    error = ControllerError(unhealthy) if controlled else WorkerGroupError("rank 1", {1: unhealthy})
    assert _cause(pickle.loads(pickle.dumps(error)), tmp_path).reason is reason


def test_without_evidence_the_platform_is_to_blame(tmp_path: Path) -> None:
    assert _cause(RuntimeError("controller broke\nmore"), tmp_path).reason is Reason.PLATFORM_ERROR
