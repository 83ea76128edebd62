"""Peak memory of a real GPU against the plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from forgeline import plugins
from forgeline_architectures.optimisation.options import OptimizerConfig
from forgeline_architectures.tasks.lightning_import import SingleDeviceStrategy, Trainer
from forgeline_jobs.train.plan.activations import Arithmetic, count
from forgeline_jobs.train.plan.counting import size_of
from forgeline_jobs.train.plan.model_states import OptimizerState, Precision, Strategy, model_states

TOKENS, ROWS = 512, 8


def gpt(device: str) -> Any:
    """124M but for the vocabulary, whose logits would be most of it."""
    family: Any = plugins.find(plugins.ARCHITECTURES, "gpt", key="name")
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [TOKENS], "dtype": "int64"}},
        "outputs": [1000],
    }
    config = {"name": "gpt", "layers": 12, "heads": 12, "width": 768, "dropout": 0.1}
    with torch.device(device):
        return family.build_module(config, signature, {"optimizer": {}, "total_steps": 10})


def rows(samples: int) -> dict[str, torch.Tensor]:
    tokens = torch.randint(1000, (samples, TOKENS))
    return {"tokens": tokens, "target": tokens.roll(-1, 1)}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("precision", "arithmetic"), [("32-true", "full"), ("bf16-mixed", "cast"), ("bf16-true", "half")]
)
def test_the_peak_is_within_a_tenth_of_the_plan(precision: Precision, arithmetic: Arithmetic) -> None:
    """With two batches a step: gradients of the first are there while the second's activations are."""
    module = gpt("cuda")
    states = model_states(
        size_of(module),
        OptimizerState.of(OptimizerConfig()),
        precision=precision,
        strategy=Strategy(name="ddp"),
        workers=1,
    )
    kept = count(gpt("meta"), rows, arithmetic=arithmetic, half=torch.bfloat16, gpu=True, samples=(1, ROWS)).of(ROWS)
    before = torch.cuda.memory_allocated() - sum(p.nbytes for p in module.parameters())
    torch.cuda.reset_peak_memory_stats()
    Trainer(
        strategy=SingleDeviceStrategy(device="cuda:0"),
        accelerator="gpu",
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_steps=3,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, DataLoader([rows(ROWS) for _ in range(6)], batch_size=None))  # type: ignore[arg-type]
    peak = torch.cuda.max_memory_allocated() - before
    assert states.device + kept == pytest.approx(peak, rel=0.1)
