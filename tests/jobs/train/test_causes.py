"""The cause of an attempt's end, from the evidence that its workers left and from Ray's own exceptions, pickled."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, PreemptionError, WorkerGroupError
from ray.train.v2.api.preemption import PreemptionInfo

from forgeline.ledger.states import Reason
from forgeline_jobs.train import causes, notices
from forgeline_jobs.train.causes import Failure, Scene
from forgeline_jobs.train.evidence import FAILURE, record_failure
from forgeline_jobs.train.heartbeat import Heart, Identity
from forgeline_jobs.train.nodes import NodeGone
from forgeline_jobs.train.watch import HANG, Death

GLOO = "[third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:2717: Connection reset by peer."
NO_MEMORY = "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
DIED = WorkerGroupError("rank 1", {1: WorkerHealthCheckFailedError("unhealthy", failure=ActorDiedError())})


def found(folder: Path, error: Exception | None, **scene: object) -> Failure | None:
    """What is found of an error that came from another process, on nodes that all live unless a test says otherwise."""
    given = {"ask_oom_kills": lambda beat: beat.who.oom_kills, "is_node_alive": lambda node: True, **scene}
    return causes.find(pickle.loads(pickle.dumps(error)), Scene(folder=folder, **given))  # type: ignore[arg-type]


def cause(folder: Path, error: Exception | None, **scene: object) -> Failure:
    failure = found(folder, error, **scene)
    assert failure is not None
    return failure


@pytest.fixture
def beating(tmp_path: Path) -> Callable[..., None]:
    """Two workers that have begun, on nodes of their own."""

    def begin(oom_kills: int | None = 3) -> None:
        for rank in (0, 1):
            who = replace(Identity.own(rank, node=f"node{rank}"), oom_kills=oom_kills, host=f"host{rank}")
            Heart(tmp_path / f"heartbeat-{rank}", who)

    return begin


@pytest.mark.parametrize(
    ("kind", "message", "reason"),
    [
        ("ValueError", "bad labels", Reason.USER_ERROR),
        ("RuntimeError", "shapes do not match", Reason.USER_ERROR),
        ("RuntimeError", "Connection closed by peer, says my own server", Reason.USER_ERROR),
        ("SystemExit", "1", Reason.USER_ERROR),
        ("OutOfMemoryError", "CUDA out of memory", Reason.OUT_OF_MEMORY),
        ("MemoryError", "", Reason.OUT_OF_MEMORY),
        ("RuntimeError", NO_MEMORY, Reason.OUT_OF_MEMORY),
        ("OSError", "[Errno 12] Cannot allocate memory", Reason.OUT_OF_MEMORY),
        ("NonFiniteLoss", "the loss became nan at step 3", Reason.NON_FINITE_LOSS),
        ("CheckpointFailed", "[Errno 28] No space left on device", Reason.PLATFORM_ERROR),
        ("RuntimeError", GLOO, Reason.NODE_LOST),
        ("DistBackendError", "NCCL error", Reason.NODE_LOST),
    ],
)
def test_a_workers_own_evidence_decides(tmp_path: Path, kind: str, message: str, reason: Reason) -> None:
    (tmp_path / FAILURE).write_text(json.dumps({"rank": 1, "type": kind, "message": message}))
    assert cause(tmp_path, RuntimeError("worker group failed")).reason is reason


@pytest.mark.parametrize(
    ("kind", "message", "of_device"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("RuntimeError", "CUDA error: out of memory", True),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("MemoryError", "", False),
        ("RuntimeError", NO_MEMORY, False),
        ("ValueError", "bad labels", False),
    ],
)
def test_memory_of_a_device_is_told_from_that_of_its_host(
    tmp_path: Path, kind: str, message: str, of_device: bool
) -> None:
    (tmp_path / FAILURE).write_text(json.dumps({"rank": 1, "type": kind, "message": message}))
    failure = cause(tmp_path, RuntimeError("worker group failed"))
    assert failure.of_device is of_device
    assert (failure.reason is Reason.OUT_OF_MEMORY) == (kind != "ValueError")


@pytest.mark.parametrize("first", [0, 1])
def test_the_rank_that_raised_is_named_whichever_wrote_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int
) -> None:
    ranks = [(1, ValueError("bad labels")), (0, RuntimeError(GLOO))]
    for rank, error in ranks if first == 1 else reversed(ranks):
        record_failure(tmp_path, rank, error)
    failure = cause(tmp_path, RuntimeError("worker group failed"))
    assert (failure.reason, failure.rank) == (Reason.USER_ERROR, 1)
    assert failure.message == "ValueError on rank 1: bad labels"


def test_an_exception_is_no_preemption_even_where_one_was_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notices.leave(tmp_path, 0, "it got SIGTERM")
    record_failure(tmp_path, 1, ValueError("bad labels"))
    info = PreemptionInfo(preempted_node_to_ranks={"node0": [0]}, deadline_ms=None)
    assert cause(tmp_path, PreemptionError(info)).reason is Reason.USER_ERROR


def test_a_notice_explains_how_workers_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(tmp_path, None) is None
    notices.leave(tmp_path, 1, "it got SIGTERM")
    notices.leave(tmp_path, 0, "it got SIGTERM as well")
    saved = cause(tmp_path, None)
    assert (saved.reason, saved.rank) == (Reason.PREEMPTED, 1)
    assert "it got SIGTERM; a last checkpoint was written" in saved.message
    record_failure(tmp_path, 1, SystemExit(1))
    killed = cause(tmp_path, DIED)
    assert (killed.reason, "before a last checkpoint" in killed.message) == (Reason.PREEMPTED, True)


def test_what_ray_ends_with_sigterm_after_another_rank_died_was_not_preempted(
    tmp_path: Path, beating: Callable[..., None]
) -> None:
    beating()
    notices.leave(tmp_path, 0, "it got SIGTERM")
    assert cause(tmp_path, DIED).reason is Reason.NODE_LOST
    unhealthy = ControllerError(WorkerHealthCheckFailedError("unhealthy", failure=ActorDiedError()))
    deaths = {rank: Death(rank=rank, oom_kills=3) for rank in (1, 0)}
    assert cause(tmp_path, unhealthy, deaths=deaths).reason is Reason.NODE_LOST
    notices.leave(tmp_path, 1, "it got SIGTERM")
    assert cause(tmp_path, DIED).reason is Reason.PREEMPTED


def test_what_ray_calls_preempted_is(tmp_path: Path) -> None:
    info = PreemptionInfo(preempted_node_to_ranks={"node0": [0]}, deadline_ms=None)
    assert cause(tmp_path, PreemptionError(info)).reason is Reason.PREEMPTED


def test_a_hang_stands_before_what_its_end_looks_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranks = [{"rank": 0, "hangs": False}, {"rank": 1, "hangs": True}]
    (tmp_path / HANG).write_text(json.dumps({"message": "rank 1 made no progress", "ranks": ranks}))
    record_failure(tmp_path, 0, RuntimeError(GLOO))
    failure = cause(tmp_path, DIED)
    assert (failure.reason, failure.rank, failure.message) == (Reason.HANG, 1, "rank 1 made no progress")


def test_a_worker_killed_for_memory_is_not_a_lost_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_failure(tmp_path, 0, RuntimeError(GLOO))
    lost = RuntimeError("rank 1 died")
    lost.__cause__ = OutOfMemoryError("the node ran low on memory")
    error = WorkerGroupError("two workers failed", {0: RuntimeError(GLOO), 1: lost})
    failure = causes.find(error, Scene(folder=tmp_path))
    assert failure is not None and failure.reason is Reason.OUT_OF_MEMORY and not failure.of_device


@pytest.mark.parametrize(("after", "reason"), [(4, Reason.OUT_OF_MEMORY), (3, Reason.NODE_LOST)])
@pytest.mark.parametrize("seen", [True, False])
def test_a_death_while_the_kernel_killed_for_memory_is_one_of_memory(
    tmp_path: Path, beating: Callable[..., None], after: int, reason: Reason, seen: bool
) -> None:
    beating(oom_kills=3)
    deaths = {1: Death(rank=1, oom_kills=after)} if seen else {}
    failure = cause(tmp_path, DIED, deaths=deaths, ask_oom_kills=lambda beat: after)
    assert (failure.reason, failure.rank) == (reason, 1)


def test_a_killed_process_and_a_lost_node_are_told_apart(tmp_path: Path, beating: Callable[..., None]) -> None:
    def ask(beat: object) -> int:
        raise NodeGone("no answer")

    beating()
    killed = cause(tmp_path, DIED)
    assert (killed.reason, "was killed; its node lives" in killed.message) == (Reason.NODE_LOST, True)
    lost = cause(tmp_path, DIED, ask_oom_kills=ask, is_node_alive=lambda node: node == "node0")
    assert (lost.reason, lost.message) == (Reason.NODE_LOST, "node host1 is gone, and rank 1 with it")


def test_a_crash_is_the_fault_of_the_code(tmp_path: Path, beating: Callable[..., None]) -> None:
    beating()
    (tmp_path / "rank1.log").write_text("epoch 1\nFatal Python error: Segmentation fault\n\nThread 0x1 (most recent\n")
    failure = cause(tmp_path, DIED)
    assert (failure.reason, failure.rank) == (Reason.USER_ERROR, 1)
    assert "Segmentation fault" in failure.message


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
    assert cause(tmp_path, error).reason is reason


def test_without_evidence_the_platform_is_to_blame(tmp_path: Path) -> None:
    assert cause(tmp_path, RuntimeError("controller broke\nmore")).reason is Reason.PLATFORM_ERROR
