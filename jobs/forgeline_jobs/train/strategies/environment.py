"""What a strategy asks of the place it runs in: this worker's ranks, and its device."""

from __future__ import annotations

import os

import torch
from lightning.fabric.plugins import ClusterEnvironment


class WorkerEnvironment(ClusterEnvironment):
    """The variables that the rendezvous has set, as torch.distributed reads them.

    Whoever started the workers has ranked them: what Lightning would set is left as it is.
    """

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        return int(os.environ["MASTER_PORT"])

    @staticmethod
    def detect() -> bool:
        return "WORLD_SIZE" in os.environ

    def world_size(self) -> int:
        return int(os.environ["WORLD_SIZE"])

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return int(os.environ["RANK"])

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return int(os.environ["LOCAL_RANK"])

    def node_rank(self) -> int:
        return int(os.environ.get("NODE_RANK", "0"))


def own_device(*, gpu: bool) -> torch.device:
    """The device that this worker trains on."""
    if not gpu:
        return torch.device("cpu")
    import ray.train.torch

    return ray.train.torch.get_device()
