"""ZeRO through DeepSpeed and Lightning, on GPUs and, what Lightning refuses, on CPUs.

Unusual: checkpoints are not DeepSpeed's. Its files are pickles, and fit the number of workers that wrote them; here
each worker writes its pieces of the float32 weights and of the optimizer's state, as under FSDP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.precision.deepspeed import DeepSpeedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import Tensor, distributed

from forgeline_architectures.tasks.base import TaskModule
from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.strategies import saving
from forgeline_jobs.train.strategies.buffers import make_alike
from forgeline_jobs.train.strategies.config import DeepSpeedConfig
from forgeline_jobs.train.strategies.shards import Piece
from forgeline_jobs.train.strategies.zero_shares import frozen, grouped, in_memory, spread, spread_all

LOSS_SCALE = "loss_scaler"
BUCKET = 200_000_000  # numbers that are sent at once at most: Lightning's default
ALIGNED = 512
KEPT_WHOLE = 100_000


class ZeROPrecision(DeepSpeedPrecision):
    """DeepSpeed clips by itself, and tells the norm when it has stepped."""

    def backward(self, tensor: Tensor, model: Any, optimizer: Any, *arguments: Any, **options: Any) -> None:
        # Lightning has divided the loss by the batches that make a step, and DeepSpeed would do so again.
        model.trainer.model.backward(tensor, *arguments, scale_wrt_gas=False, **options)

    def _clip_gradients(self, *arguments: Any, **options: Any) -> None:
        pass

    def optimizer_step(  # type: ignore[override]  # as Lightning's own departs from its base
        self, optimizer: Any, model: Any, closure: Callable[[], Any], **options: Any
    ) -> Any:
        result = super().optimizer_step(optimizer, model, closure, **options)
        norm = model.trainer.model.get_global_grad_norm()
        if norm is not None:
            model.last_gradient_norm = torch.as_tensor(norm).detach()
        return result


class ZeROStrategy(saving.SavesShares, DeepSpeedStrategy):
    """Shares out a `TaskModule` as the stage says.

    Args:
        config: stage and offloading.
        device: of this worker.
        backend: of the process group.
        timeout: of a collective operation.
        writer: of this worker's checkpoints.
    """

    def __init__(
        self,
        config: DeepSpeedConfig,
        *,
        device: torch.device,
        backend: str,
        timeout: timedelta,
        writer: CheckpointWriter,
    ) -> None:
        if device.type == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
        super().__init__(config=_engine_config(config, gpu=device.type == "cuda"), process_group_backend=backend)
        self._timeout = timeout
        self._writer = writer
        # DeepSpeed reads the device's number.
        self._device = torch.device("cpu", 0) if device.type == "cpu" else device

    @property
    def root_device(self) -> torch.device:
        return self._device

    def setup_environment(self) -> None:
        assert self.accelerator is not None
        self.accelerator.setup_device(self.root_device)
        self.setup_distributed()

    def setup_distributed(self) -> None:
        from deepspeed import ops

        # On CPUs it would compile collectives of its own in C++, at the first start on each machine; gloo has them.
        ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    def model_sharded_context(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()  # the module is built before, and shared out by the engine

    def init_deepspeed(self) -> None:
        assert isinstance(self.model, TaskModule) and isinstance(self.config, dict)
        self.model.to(memory_format=torch.contiguous_format)  # pieces are runs of numbers
        stage = self.config["zero_optimization"]
        numbers = sum(parameter.numel() for parameter in self.model.parameters())
        # Buffers are made of this size, however small the model is; it is aligned for NCCL.
        stage["reduce_bucket_size"] = stage["allgather_bucket_size"] = min(BUCKET, -(-numbers // ALIGNED) * ALIGNED)
        # Weights below are kept whole on every worker: DeepSpeed's default, by which a small model would be all of it.
        stage["stage3_param_persistence_threshold"] = min(KEPT_WHOLE, numbers // 1000)
        self._initialize_deepspeed_train(self.model)

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        make_alike(self._module)
        return super().training_step(*arguments, **options)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        content = checkpoint | {LOSS_SCALE: dict(_numbers(self._zero.loss_scaler))}
        groups = self._zero.optimizer.param_groups
        saving.save(content, Path(filepath), self._held(), groups=groups, writer=self._writer)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        zero = self._zero
        content, stored = saving.load(Path(checkpoint_path), groups=zero.optimizer.param_groups)
        for name, number in content.pop(LOSS_SCALE, {}).items():
            setattr(zero.loss_scaler, name, number)
        with torch.no_grad():
            for group in grouped(zero, self._module):
                with in_memory(zero, group[0].flat):
                    for share in group:
                        share.begin_state(zero.optimizer, stored)
                        for piece in share.pieces(zero.optimizer, every=True):
                            stored.fill(piece)
                    spread(zero, group[0].flat)
            for piece in (*frozen(self._module, first=True), *saving.buffers(self._module)):
                stored.fill(piece)
            spread_all(zero)
        return content

    @property
    def _module(self) -> TaskModule:
        module = self.lightning_module
        assert isinstance(module, TaskModule)
        return module

    @property
    def _zero(self) -> Any:
        """DeepSpeed's wrapper of the optimizer."""
        return self.deepspeed_engine.optimizer

    def _held(self) -> Iterator[Piece]:
        """What this worker writes; of what all hold alike rank 0 tells."""
        zero, first = self._zero, distributed.get_rank() == 0
        for group in grouped(zero, self._module):
            with in_memory(zero, group[0].flat) as fetched:
                for share in group:
                    for piece in share.pieces(zero.optimizer, every=False):
                        yield replace(piece, values=piece.values.clone()) if fetched else piece
        yield from frozen(self._module, first=first)
        if first:
            yield from saving.buffers(self._module)


def _numbers(scaler: object) -> Iterator[tuple[str, Any]]:
    """The state of a loss scaler: where it stands, and when it last moved."""
    for name, value in vars(scaler).items():
        if isinstance(value, bool | int | float):
            yield name, value


def _engine_config(config: DeepSpeedConfig, *, gpu: bool) -> dict[str, Any]:
    """DeepSpeed's own configuration; batch size, clipping and precision are added by Lightning."""
    offload = config.offload
    stage: dict[str, Any] = {
        "stage": config.zero_stage,
        "contiguous_gradients": True,
        "overlap_comm": gpu,
        "reduce_scatter": True,
    }
    for key, place in (("offload_optimizer", offload.optimizer), ("offload_param", offload.parameters)):
        if place is not None:
            stage[key] = {"device": place, "pin_memory": gpu} | ({"nvme_path": offload.path} if place == "nvme" else {})
    return {
        "zero_optimization": stage,
        # The optimizer is torch's own, the same as under any other strategy, also where its state is off the GPU.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "train_micro_batch_size_per_gpu": 1,  # only its own log reads it
    }
