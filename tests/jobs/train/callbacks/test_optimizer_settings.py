"""What a run that goes on steps with: its spec's settings, and where nothing was changed the very same ones."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch

from forgeline.spec.loading import load
from forgeline.tracking.spool import SpoolReader
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.fitting import Fitting
from forgeline_jobs.train.worker import Job

WINE: dict[str, Any] = {
    "kind": "train",
    "name": "wine",
    "architecture": {"name": "mlp", "hidden": [8]},
    "data": {"name": "wine", "batch_size": 16},
    "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "cosine"},
    "trainer": {"steps": 12, "validate_every": "4step"},
    "checkpoint": {"keep_last": 9, "every": "4step"},
}


def fit(home: Path, changed: dict[str, Any], *, attempt: int, at: int | None = None) -> Job:
    text = load(WINE, set=changed).text
    job = Job(spec=text, run_id="wine", home=str(home), attempt=attempt, checkpoint=None)
    if at is not None:
        folders = {checkpoint.step_of(each.name): each for each in checkpoint.folders(job.paths.checkpoints)}
        folder = folders.pop(at)
        for step, later in folders.items():
            if step > at:
                rmtree(later)
        job = Job(spec=text, run_id="wine", home=str(home), attempt=attempt, checkpoint=str(folder))
    job.paths.attempt(attempt).mkdir(parents=True)
    Fitting(job).run()
    return job


def rates(job: Job) -> dict[int, float]:
    lines = SpoolReader(job.paths.spool(attempt=job.attempt, rank=0)).read_new()
    key = "train/learning_rate"
    return {line["step"]: line["values"][key] for line in lines if key in line.get("values", {})}


def groups(job: Job) -> list[dict[str, Any]]:
    newest = checkpoint.folders(job.paths.checkpoints)[-1]
    state = torch.load(newest / checkpoint.STATE, map_location="cpu", weights_only=True)
    found: list[dict[str, Any]] = state["optimizer_states"][0]["param_groups"]
    return found


def test_a_rate_that_was_changed_holds_from_the_next_step_on(tmp_path: Path) -> None:
    whole = fit(tmp_path, {}, attempt=1)
    changed = fit(tmp_path, {"optimizer.lr": 0.02, "optimizer.weight_decay": 0.3}, attempt=2, at=8)
    before, after = rates(whole), rates(changed)
    assert sorted(after) == [9, 10, 11, 12]
    for step, rate in after.items():
        assert rate == pytest.approx(2 * before[step])
    assert {group["weight_decay"] for group in groups(changed)} <= {0.3, 0.0}


def test_where_nothing_was_changed_the_rates_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    whole = fit(tmp_path, {}, attempt=1)
    before, kept = rates(whole), groups(whole)
    again = fit(tmp_path, {}, attempt=2, at=4)
    assert rates(again) == {step: rate for step, rate in before.items() if step > 4}
    assert groups(again) == kept


def test_a_momentum_that_rmsprop_had_not_begins_at_zero(tmp_path: Path) -> None:
    plain = {"optimizer.name": "rmsprop", "optimizer.momentum": 0.0}
    fit(tmp_path, plain, attempt=1)
    changed = fit(tmp_path, {**plain, "optimizer.momentum": 0.9}, attempt=2, at=8)
    assert [group["momentum"] for group in groups(changed)] == [0.9] * len(groups(changed))
