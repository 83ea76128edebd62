"""What needs a GPU: 16-bit floats with a scaled loss, and state that waits on a disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import forgeline as fl
from forgeline.spec.loading import load
from forgeline_jobs.train import checkpoint
from forgeline_jobs.train.strategies.shards import Shards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.ray,
    pytest.mark.usefixtures("home"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

GPT: Mapping[str, Any] = {
    "kind": "train",
    "name": "gpt",
    "architecture": {"name": "gpt", "layers": 2, "heads": 2, "width": 32, "context": 32},
    "data": {"name": "tinyshakespeare", "batch_size": 8, "context": 32},
    "optimizer": {"lr": 3e-3},
    "trainer": {"steps": 50, "gradient_clip": 1.0, "validate_every": "25step"},
    "resources": {"workers": 1, "gpus_per_worker": 1},
}


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_zero_learns_in_half_precision(stage: int, precision: str) -> None:
    strategy = {"name": "deepspeed", "zero_stage": stage}
    run = fl.run(load(GPT, set={"strategy": strategy, "trainer.precision": precision}))
    assert run.state == "succeeded", (run.message, run.logs())
    assert run.metrics["val/loss"] < 3.6


@pytest.mark.parametrize("offload", [{"optimizer": "cpu"}, {"optimizer": "cpu", "parameters": "cpu"}])
def test_state_off_the_gpu_gives_the_same_losses(offload: dict[str, str]) -> None:
    plain = fl.run(load(GPT, set={"strategy": {"name": "deepspeed", "zero_stage": 3}}))
    run = fl.run(load(GPT, set={"strategy": {"name": "deepspeed", "zero_stage": 3, "offload": offload}}))
    assert run.state == "succeeded", (run.message, run.logs())
    assert run.metrics["val/loss"] == pytest.approx(plain.metrics["val/loss"], abs=1e-4)


def test_state_on_a_disk_is_trained_and_stored(tmp_path: Path) -> None:
    offload = {"optimizer": "nvme", "path": str(tmp_path)}
    plain = fl.run(load(GPT, set={"strategy": {"name": "deepspeed", "zero_stage": 3}}))
    run = fl.run(load(GPT, set={"strategy": {"name": "deepspeed", "zero_stage": 3, "offload": offload}}))
    assert run.state == "succeeded", (run.message, run.logs())
    assert run.metrics["val/loss"] == pytest.approx(plain.metrics["val/loss"], abs=1e-4)
    one, other = (Shards(found.paths.checkpoints / checkpoint.folder_name(50)) for found in (run, plain))
    for key in other.shapes:
        torch.testing.assert_close(one.whole(key), other.whole(key), rtol=0, atol=1e-4)
