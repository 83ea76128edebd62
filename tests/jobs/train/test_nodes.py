"""Workers on two raylets of one machine: one of which is killed, or announced to be taken away."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forgeline.launching.local_ray import ENVIRONMENT
from forgeline.ledger.states import Reason
from forgeline.spec.loading import load
from forgeline_jobs.train import checkpoint, heartbeat
from forgeline_jobs.train.attempt import run_attempt
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.worker import Job

pytestmark = [pytest.mark.ray, pytest.mark.acceptance, pytest.mark.cluster]

SPEC = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "faulty", "hidden": [8], "step_s": 0.1},
    "data": {"name": "wine", "batch_size": 16},
    "trainer": {"steps": 600, "validate_every": "600step"},
    "resources": {"workers": 2},
}


TOKEN = secrets.token_hex(32)  # Ray reads it once in a process


@pytest.fixture
def node(faulty: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The second of two nodes, each with room for one worker."""
    import ray
    from ray.cluster_utils import Cluster

    for key, value in {**ENVIRONMENT, "RAY_AUTH_TOKEN": TOKEN}.items():
        monkeypatch.setenv(key, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    second.cluster = cluster
    yield second
    ray.shutdown()
    cluster.shutdown()


def attempt(home: Path, act: Callable[[], None]) -> tuple[Failure | None, Job]:
    """Run until both workers train, then act."""
    job = Job(spec=load(SPEC).text, run_id="two-nodes", home=str(home), attempt=1, checkpoint=None)
    folder = job.paths.attempt(1)
    folder.mkdir(parents=True)

    def when_both_train() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            beats = heartbeat.read_all(folder)
            if len(beats) == 2 and min(beat.step for beat in beats.values()) >= 20:
                assert len({beat.who.node for beat in beats.values()}) == 2
                act()
                return
            time.sleep(0.1)

    acting = threading.Thread(target=when_both_train)
    acting.start()
    spec: Any = load(job.spec).spec
    failure = run_attempt(job, spec, cluster=True, grace_s=60, progressed=lambda: None)
    acting.join()
    return failure, job


def test_a_node_that_is_gone_is_told_from_a_process_that_was_killed(node: Any, tmp_path: Path) -> None:
    failure, _ = attempt(tmp_path, lambda: node.cluster.remove_node(node, allow_graceful=False))
    assert failure is not None
    assert failure.reason is Reason.NODE_LOST
    assert "is gone, and rank" in failure.message


def test_a_node_that_is_drained_leaves_a_checkpoint(node: Any, tmp_path: Path) -> None:
    def drain() -> None:
        import ray._private.worker
        from ray.core.generated import autoscaler_pb2

        client = ray._private.worker.global_worker.gcs_client
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = client.drain_node(node.node_id, reason, "spot", int((time.time() + 120) * 1000))
        assert accepted, why

    failure, job = attempt(tmp_path, drain)
    assert failure is not None
    assert failure.reason is Reason.PREEMPTED, failure.message
    assert "is being drained; a last checkpoint was written" in failure.message
    assert len(checkpoint.folders(job.paths.checkpoints)) == 1
