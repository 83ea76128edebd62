"""A worker's share of a batch in pieces: the same training whatever their size, also from a checkpoint on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from forgeline.errors import SpecError
from forgeline.ledger.states import Reason
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.step_log import StepLog, StopRequested
from forgeline_jobs.train.causes import Failure
from forgeline_jobs.train.course import smaller_micro_batch
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.worker import Job

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16]},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"lr": 0.01, "schedule": "cosine", "warmup": "10%"},
    "trainer": {"steps": 9, "accumulate": 2, "validate_every": "4step"},
}


def fit(home: Path, run_id: str, *, attempt: int = 1, **change: Any) -> Job:
    """Train in this process; a further attempt goes on from the newest checkpoint."""
    loaded = load(WINE, set=change)
    root = Job(spec=loaded.text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=None).paths.checkpoints
    folder = checkpoint.newest(root, warn=pytest.fail) if attempt > 1 else None
    told = str(folder) if folder else None
    job = Job(spec=loaded.text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=told)
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


def logged(job: Job) -> dict[tuple[int, str], float]:
    """(step, name) -> value."""
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    return {
        (line["step"], name): value
        for line in lines
        if line["kind"] == "metrics"
        for name, value in line["values"].items()
        if not name.startswith(("system/", "train/samples_per_s"))
    }


@pytest.fixture(scope="module")
def whole(home: Path) -> dict[tuple[int, str], float]:
    """What a run without pieces logs."""
    return logged(fit(home, "whole"))


@pytest.mark.parametrize("size", [16, 4, 1])
def test_pieces_of_a_batch_train_as_the_whole(home: Path, whole: dict[tuple[int, str], float], size: int) -> None:
    found = logged(fit(home, f"pieces-of-{size}", **{"trainer.micro_batch": size}))
    assert found == pytest.approx(whole, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("first", "second"), [(8, 2), (2, 16)])
@pytest.mark.parametrize("stop_at", [3, 4, 7])  # within an epoch of 3 steps, at a validation, and after two epochs
def test_a_checkpoint_goes_on_with_another_micro_batch(
    home: Path,
    whole: dict[tuple[int, str], float],
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    second: int,
    stop_at: int,
) -> None:
    flush = StepLog.flush

    def ask_to_stop(log: StepLog, trainer: Any) -> None:
        if trainer.global_step >= stop_at:
            log.stop_request.touch()
        flush(log, trainer)

    name = f"from-{first}-to-{second}-at-{stop_at}"
    with monkeypatch.context() as patch, pytest.raises(StopRequested):
        patch.setattr(StepLog, "flush", ask_to_stop)
        fit(home, name, **{"trainer.micro_batch": first})
    begun = Job(spec="", run_id=name, home=str(home), attempt=1, checkpoint=None)
    done = fit(home, name, attempt=2, **{"trainer.micro_batch": second})
    assert {**logged(begun), **logged(done)} == pytest.approx(whole, rel=1e-4, abs=1e-5)
    written = checkpoint.Manifest.read(checkpoint.folders(done.paths.checkpoints)[-1])
    assert (written.step, written.epoch, written.batch) == (9, 3, 0)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"trainer.micro_batch": 3}, ["trainer.micro_batch 3", "16 samples", "set trainer.micro_batch to 2 or 4"]),
        (
            {"trainer.micro_batch": 16, "resources.workers": 2},
            ["the 8 samples", "data.batch_size 16 by 2 workers", "set trainer.micro_batch to 8"],
        ),
        ({"trainer.micro_batch": "automatic"}, ["trainer.micro_batch", "automatic"]),
        ({"trainer.micro_batch": 0}, ["trainer.micro_batch", "got 0"]),
    ],
)
def test_a_size_that_does_not_divide_is_refused_with_those_near_it(change: Mapping[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        load(WINE, set=change)
    assert all(part in str(refused.value) for part in parts), str(refused.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (
            {"architecture": {"name": "mlp", "hidden": [8], "norm": "batch"}, "trainer.micro_batch": 1},
            ["got 1", "takes 2 or more together"],
        ),
        (
            {"architecture": {"name": "gan", "hidden": [8]}, "data.name": "gaussians25", "trainer.accumulate": 1}
            | {"trainer.micro_batch": "auto"},
            ["got auto", "steps two optimisers"],
        ),
    ],
    ids=["norms over samples", "own steps"],
)
def test_what_a_model_cannot_be_given_in_pieces_is_refused(change: Mapping[str, Any], parts: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        TrainKind().check(load(WINE, set=change).spec)
    assert refused.value.key == "trainer.micro_batch"
    assert all(part in str(refused.value) for part in parts), str(refused.value)


@pytest.mark.parametrize(
    ("gpus", "size", "failure", "smaller"),
    [
        (0, 8, {"reason": Reason.OUT_OF_MEMORY}, 4),
        (0, 1, {"reason": Reason.OUT_OF_MEMORY}, None),
        (1, 8, {"reason": Reason.OUT_OF_MEMORY, "of_device": True}, 4),
        (1, 8, {"reason": Reason.OUT_OF_MEMORY}, None),
        (0.5, 8, {"reason": Reason.OUT_OF_MEMORY}, None),
        (1, 8, {"reason": Reason.NODE_LOST}, None),
    ],
)
def test_pieces_become_smaller_where_it_is_their_memory_that_ran_out(
    gpus: float, size: int, failure: dict[str, Any], smaller: int | None
) -> None:
    """With GPUs, a host that runs out of its own memory has the same pieces again."""
    spec: Any = load(WINE, set={"trainer.micro_batch": size, "resources.gpus_per_worker": gpus}).spec
    assert smaller_micro_batch(spec, Failure(message="memory ran out", **failure)) == smaller
