"""Every family that is not refused takes the same steps under each strategy as under DDP."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from forgeline_architectures.tasks.lightning_import import Callback, Trainer
from forgeline_jobs.train.rendezvous import open_process_group
from forgeline_jobs.train.strategies.config import DeepSpeedConfig
from forgeline_jobs.train.strategies.environment import WorkerEnvironment
from forgeline_jobs.train.strategies.plan import FamilyPlan
from tests.architectures.cases import CASES, FAMILIES, batch_of, signature_of
from tests.jobs.train.strategies.workers import together

TIMEOUT = timedelta(minutes=5)
STEPS = 3
NAMES = ("ddp", "fsdp", "zero-1", "zero-2", "zero-3")


class Losses(Callback):
    """Keeps the loss of each step, and draws the same numbers in it whatever the strategy."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(batch_idx)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.found.append(float(outputs["loss"]))


def strategy_of(name: str, family: Any) -> dict[str, Any]:
    """Arguments of a `Trainer`."""
    from forgeline_jobs.train.strategies.ddp import DDPStrategy
    from forgeline_jobs.train.strategies.fsdp import FSDPStrategy
    from forgeline_jobs.train.strategies.zero import ZeROPrecision, ZeROStrategy

    common: dict[str, Any] = {"device": torch.device("cpu"), "timeout": TIMEOUT}
    if name == "ddp":
        return {"strategy": DDPStrategy(process_group_backend="gloo", **common), "plugins": [WorkerEnvironment()]}
    if name == "fsdp":
        sizes: dict[str, Any] = {"workers": 2, "tensor_parallel": 1, "half": False, "plan": FamilyPlan(family)}
        return {"strategy": FSDPStrategy(backend="gloo", **sizes, **common), "plugins": [WorkerEnvironment()]}
    config = DeepSpeedConfig.model_validate({"name": "deepspeed", "zero_stage": int(name[-1])})
    plugins = [WorkerEnvironment(), ZeROPrecision("32-true")]
    return {"strategy": ZeROStrategy(config, backend="gloo", **common), "plugins": plugins}


def losses(case: tuple[str, dict[str, Any], str, dict[str, Any], list[int]], name: str) -> list[float]:
    """Of a few steps on one batch, with a validation after them."""
    family, config, task, inputs, outputs = case
    torch.manual_seed(0)
    signature = signature_of(task, inputs, outputs)
    batch: Any = batch_of(signature)
    module = FAMILIES[family].build_module(config, signature, {"total_steps": STEPS})
    kept = Losses()
    trainer = Trainer(
        **strategy_of(name, FAMILIES[family]),
        accelerator="cpu",
        devices=1,
        max_steps=STEPS,
        callbacks=[kept],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, DataLoader([batch] * STEPS, batch_size=None), DataLoader([batch], batch_size=None))
    return kept.found


def work(folder: str) -> None:
    open_process_group("gloo", TIMEOUT)
    found = {}
    for number, case in enumerate(CASES):
        family = FAMILIES[case[0]]
        if not (family.own_steps or family.not_sharded):
            found[f"{case[1]['name']}-{case[2]}-{number}"] = {name: losses(case, name) for name in NAMES}
    if os.environ["RANK"] == "0":
        (Path(folder) / "losses.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.acceptance
def test_the_same_steps_under_every_strategy(tmp_path: Path) -> None:
    together(work, str(tmp_path), workers=2)
    found = json.loads((tmp_path / "losses.json").read_text(encoding="utf-8"))
    assert len(found) > 30
    for case, by_name in found.items():
        for name in NAMES:
            assert len(by_name[name]) == STEPS
            assert by_name[name] == pytest.approx(by_name["ddp"], abs=1e-4), (case, name)
