"""The contrastive loss: by its formula, and the same for two workers as for one."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch.utils.data import DataLoader

from forgeline_architectures.clip import ARCHITECTURE
from forgeline_architectures.tasks.lightning_import import Trainer

CONFIG: dict[str, Any] = {
    "name": "clip",
    "vision_layers": 1, "vision_heads": 2, "vision_width": 8, "patch": 4,
    "text_layers": 1, "text_heads": 2, "text_width": 8,
    "projection": 6,
}  # fmt: skip
SIGNATURE = {
    "task": "retrieval",
    "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}, "caption": {"shape": [4], "dtype": "int64"}},
    "outputs": [9],
}
ROWS, WORKERS = 8, 2


def module_of(**options: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_module(CONFIG, SIGNATURE, {"total_steps": 1, **options})


def batch_of() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    caption = torch.randint(3, 9, (ROWS, 4), generator=generator)
    caption[:, 3] = 2
    return {
        "image": torch.randn(ROWS, 1, 8, 8, generator=generator),
        "caption": caption,
        "target": torch.arange(ROWS) % 5,
    }


def test_loss_is_the_mean_over_rows_and_columns() -> None:
    module, batch = module_of(), batch_of()
    logits = module.model(batch)
    rows = -logits.log_softmax(1).diagonal().mean()
    columns = -logits.log_softmax(0).diagonal().mean()
    torch.testing.assert_close(module.training_step(batch, 0), (rows + columns) / 2)


def test_validation_hands_over_embeddings_whose_products_are_the_logits() -> None:
    module, batch = module_of().eval(), batch_of()
    with torch.no_grad():
        result = module.validation_step(batch, 0)
        images, texts = result["outputs"].unbind(1)
        torch.testing.assert_close(images @ texts.T, module.model(batch), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(result["loss_sum"] / result["count"], module.training_step(batch, 0))
    assert torch.equal(result["target"], batch["target"])


@pytest.mark.parametrize("start", [9.0, math.log(100)], ids=["beyond the limit", "at the limit"])
def test_a_temperature_at_its_limit_is_learnt_on(tmp_path: Path, start: float) -> None:
    everything_else = ["vision_model.*", "text_model.*", "visual_projection.*", "text_projection.*"]
    options = {"total_steps": 4, "freeze": everything_else}
    module = module_of(**options, optimizer={"name": "sgd", "lr": 1e-2, "momentum": 0.0, "weight_decay": 0.0})
    with torch.no_grad():
        module.model.logit_scale.fill_(start)
    assert module.model.scale.item() == pytest.approx(100, rel=1e-5)
    trainer = Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about the number of workers
        trainer.fit(module, DataLoader([batch_of()] * 4, batch_size=None))
    assert module.model.logit_scale.item() < math.log(100) - 1e-3


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    module = module_of()
    wrapped = torch.nn.parallel.DistributedDataParallel(_Step(module))
    share = {name: part[rank::WORKERS] for name, part in batch_of().items()}
    loss = wrapped(share)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in module.model.named_parameters()}
    torch.save({"loss": loss.detach(), "gradients": gradients}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


class _Step(torch.nn.Module):
    """What DDP calls; its backward pass waits for every parameter."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = self.module.training_step(batch, 0)
        return loss


def test_two_workers_take_the_step_of_one(tmp_path: Path) -> None:
    multiprocessing.start_processes(_work, (str(tmp_path),), nprocs=WORKERS, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]
    module = module_of()
    loss = module.training_step(batch_of(), 0)
    loss.backward()
    torch.testing.assert_close((found[0]["loss"] + found[1]["loss"]) / 2, loss.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in module.model.named_parameters():
        for worker in found:
            torch.testing.assert_close(worker["gradients"][name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
