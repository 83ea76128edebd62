"""One worker's fit, in this process: what is written, and that a stopped run ends as a whole one, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline.bundle import Bundle
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.step_log import NonFiniteLoss, StepLog, StopRequested
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job

WINE: Mapping[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [16], "dropout": 0.2},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"lr": 0.01, "schedule": "cosine", "warmup": "10%"},
    "trainer": {"epochs": 3},
}
LEAN = """
import sys
import forgeline_jobs.train.fitting
print(sorted({"matplotlib", "scipy.signal", "torchvision", "transformers"} & set(sys.modules)))
"""
BATCHES = 7  # of 16 samples in an epoch of wine's train split


def _fit(home: Path, run_id: str, *, attempt: int = 1, resume: bool = False, **change: Any) -> Job:
    text = load(WINE, set=change).text
    root = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=None).paths.checkpoints
    folder = checkpoint.newest(root, warn=pytest.fail) if resume else None
    job = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=str(folder) if folder else None)
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


def _points(job: Job) -> list[tuple[int, str, float]]:
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    return [
        (line["step"], name, value)
        for line in lines
        if line["kind"] == "metrics"
        for name, value in line["values"].items()
        if not name.startswith(("system/", "train/samples_per_s"))
    ]


def _last_state(job: Job) -> dict[str, Any]:
    folder = checkpoint.folders(job.paths.checkpoints)[-1]
    state: dict[str, Any] = torch.load(folder / checkpoint.STATE, weights_only=True)
    return state


@pytest.fixture(scope="module")
def whole(home: Path) -> Job:
    return _fit(home, "whole")


def test_every_step_and_epoch_is_written(whole: Job) -> None:
    points = _points(whole)
    for name in ("train/loss", "train/learning_rate", "train/gradient_norm"):
        assert [step for step, key, _ in points if key == name] == list(range(1, 3 * BATCHES + 1))
    assert [step for step, key, _ in points if key == "val/accuracy"] == [7, 14, 21]


def test_the_best_checkpoint_becomes_the_bundle(whole: Job) -> None:
    bundle = Bundle.load(whole.paths.bundle)
    losses = [value for _, name, value in _points(whole) if name == "val/loss"]
    assert bundle.metrics["val/loss"] == min(losses)
    assert bundle.reference is not None
    assert bundle.data is not None and len(bundle.data.fingerprint) == 64


def test_the_same_seed_gives_the_same_digits(home: Path, whole: Job) -> None:
    assert _points(_fit(home, "again")) == _points(whole)


@pytest.mark.parametrize(
    "stop_at", [3, BATCHES, BATCHES + 1, 2 * BATCHES - 1], ids=["mid-epoch", "epoch end", "epoch start", "last batch"]
)
@pytest.mark.parametrize("ema", [None, 0.9], ids=["plain", "averaged"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, ema: float | None
) -> None:
    name = f"stopped-{stop_at}-{'averaged' if ema else 'plain'}"
    flush = StepLog.flush

    def ask_to_stop(log: StepLog, trainer: Any) -> None:
        if trainer.global_step >= stop_at:
            log.stop_request.touch()
        flush(log, trainer)

    change = {"trainer.ema": ema}
    uninterrupted = _fit(home, f"uninterrupted-{name}", **change)
    with monkeypatch.context() as patch, pytest.raises(StopRequested):
        patch.setattr(StepLog, "flush", ask_to_stop)
        _fit(home, name, **change)
    first = Job(spec="", run_id=name, home=str(home), attempt=1, checkpoint=None)
    second = _fit(home, name, attempt=2, resume=True, **change)

    assert _points(first) + _points(second) == _points(uninterrupted)
    expected, got = _last_state(uninterrupted), _last_state(second)
    for part in ("state_dict", "ema") if ema else ("state_dict",):
        torch.testing.assert_close(got[part], expected[part], rtol=0, atol=0)
    torch.testing.assert_close(
        got["optimizer_states"][0]["state"], expected["optimizer_states"][0]["state"], rtol=0, atol=0
    )
    assert got["callbacks"] == expected["callbacks"]


def test_a_validation_every_few_steps_is_resumed_exactly(home: Path) -> None:
    change = {"trainer.validate_every": "5step", "checkpoint.keep_last": 10}
    job = _fit(home, "steps", **change)
    steps = [checkpoint.Manifest.read(folder).step for folder in checkpoint.folders(job.paths.checkpoints)]
    assert steps == [5, 10, 15, 20, 21]
    expected = _points(job)
    for folder in checkpoint.folders(job.paths.checkpoints)[2:]:
        checkpoint.shutil.rmtree(folder)
    resumed = _fit(home, "steps", attempt=2, resume=True, **change)
    assert _points(resumed) == [point for point in expected if point[0] > 10]


def test_accumulated_batches_make_fewer_steps(home: Path) -> None:
    points = _points(_fit(home, "accumulated", **{"trainer.accumulate": 2, "trainer.epochs": 1}))
    assert [step for step, name, _ in points if name == "train/loss"] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_names_step_and_samples(home: Path) -> None:
    with pytest.raises(NonFiniteLoss, match=r"at step \d+ \(epoch \d+, batch \d+: train samples \d+"):
        _fit(home, "infinite", **{"optimizer.lr": 1e30, "optimizer.name": "sgd", "optimizer.warmup": 0})


def test_data_that_changed_are_refused_at_resume(home: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("x,y,kind\n" + "\n".join(rows))
    change = {"data": {"name": "tabular", "path": str(table), "target": "kind", "batch_size": 8}}
    _fit(home, "table", **change)
    table.write_text("x,y,kind\n" + "\n".join([*rows[:-1], "9,9,a"]))
    with pytest.raises(Exception, match="the data changed since the checkpoint"):
        _fit(home, "table", attempt=2, resume=True, **change)


def test_a_worker_imports_nothing_that_only_unused_metrics_need() -> None:
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", LEAN], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
