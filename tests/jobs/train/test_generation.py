"""A generator through a whole fit, in this process: parts in the step log, pictures, a bundle, a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgeline.bundle import Bundle
from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.evaluate.kind import measure_task
from forgeline_jobs.evaluate.measurement import Task
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.callbacks.step_log import StepLog, StopRequested
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.kind import TrainKind
from forgeline_jobs.train.worker import Job

VAE: Mapping[str, Any] = {
    "kind": "train",
    "name": "vae",
    "architecture": {"name": "vae", "hidden": [16], "latent": 4, "beta": 2.0},
    "data": {"name": "digits", "task": "generation", "condition": "label", "batch_size": 128},
    "optimizer": {"lr": 0.01},
    "trainer": {"epochs": 2},
}
BATCHES = 9


def fit(home: Path, run_id: str, *, attempt: int = 1, resume: bool = False) -> Job:
    text = load(VAE).text
    root = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=None).paths.checkpoints
    folder = checkpoint.newest(root, warn=pytest.fail) if resume else None
    job = Job(spec=text, run_id=run_id, home=str(home), attempt=attempt, checkpoint=str(folder) if folder else None)
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


@pytest.fixture(scope="module")
def whole(home: Path) -> Job:
    return fit(home, "whole")


def last_state(job: Job) -> Any:
    return torch.load(checkpoint.folders(job.paths.checkpoints)[-1] / checkpoint.STATE, weights_only=True)


def test_the_check_takes_it() -> None:
    found = TrainKind().check(load(VAE).spec)  # type: ignore[arg-type]
    assert found["task"] == "generation"


def test_a_metric_of_evaluate_chooses_no_checkpoint() -> None:
    spec = load(VAE, set={"checkpoint.metric": "val/frechet_distance"}).spec
    with pytest.raises(SpecError, match=r"checkpoint\.metric: got 'val/frechet_distance', which `evaluate` alone"):
        TrainKind().check(spec)  # type: ignore[arg-type]


def test_every_step_has_the_parts_of_its_loss(whole: Job) -> None:
    lines = SpoolReader(whole.paths.spool(attempt=1, rank=0)).read_new()
    steps = [line["values"] for line in lines if line["kind"] == "metrics" and "train/loss" in line["values"]]
    assert len(steps) == 2 * BATCHES
    for values in steps:
        assert values["train/loss"] == pytest.approx(values["train/reconstruction"] + 2 * values["train/kl"], rel=1e-5)


def test_the_bundle_makes_what_it_is_asked_for(whole: Job) -> None:
    bundle = Bundle.load(whole.paths.bundle)
    assert set(bundle.metrics) == {"val/loss", "val/negative_elbo", "val/reconstruction", "val/kl"}
    made = bundle.sample(6, {"label": 3}, seed=1)
    assert made.shape == (6, 8, 8, 1) and made.dtype == np.uint8 and made.std() > 0
    assert {"samples.png", "latent-walk.png"} <= {path.name for path in whole.paths.artifacts.iterdir()}
    assert bundle.reference is not None and bundle.reference.samples == 1259


def test_evaluate_measures_the_bound(whole: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forgeline_jobs.evaluate.judge.STEPS", 20)  # what it says is not the matter here
    task = Task(
        bundle=str(whole.paths.bundle), data=None, split="val", batch_size=64, device="cpu", folder=str(tmp_path)
    )
    values = measure_task(asdict(task))["metrics"]
    assert values["val/negative_elbo"] == pytest.approx(values["val/reconstruction"] + values["val/kl"])
    stated = Bundle.load(whole.paths.bundle).metrics
    assert values["val/kl"] == pytest.approx(stated["val/kl"], rel=1e-4)
    assert values["val/negative_elbo"] == pytest.approx(stated["val/negative_elbo"], rel=0.02)  # another draw
    assert {"val/frechet_distance", "val/judge_accuracy", "val/judge_own_accuracy"} < set(values)
    assert "samples.png" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_to_the_same_weights(home: Path, whole: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = StepLog.flush

    def ask_to_stop(log: StepLog, trainer: Any) -> None:
        if trainer.global_step >= 4:
            log.stop_request.touch()
        flush(log, trainer)

    with monkeypatch.context() as patch, pytest.raises(StopRequested):
        patch.setattr(StepLog, "flush", ask_to_stop)
        fit(home, "stopped")
    expected, resumed = last_state(whole)["state_dict"], last_state(fit(home, "stopped", attempt=2, resume=True))
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed["state_dict"][name]), name
