"""What a Lightning trainer is told in each of two processes that a test has started."""

from __future__ import annotations

from typing import Any

import torch


def meet(rank: int, folder: str) -> None:
    """Join the group of both processes, which meet in a folder."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)


def trained_by_two(rank: int) -> dict[str, Any]:
    """Arguments of a `Trainer` under DDP, a fresh strategy each time."""
    from lightning.pytorch.plugins.environments import LightningEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    class Environment(LightningEnvironment):
        """One of two processes that the test started."""

        creates_processes_externally = True

        def world_size(self) -> int:
            return 2

        def global_rank(self) -> int:
            return rank

        def local_rank(self) -> int:
            return rank

    strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True, gradient_as_bucket_view=True)
    return {"strategy": strategy, "devices": 2, "plugins": [Environment()]}
