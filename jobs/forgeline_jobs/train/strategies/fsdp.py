"""FSDP2 through Lightning: each block's weights are shared out over the workers, and fetched while it computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torch.optim import Optimizer

from forgeline_architectures.tasks.base import MODEL_PREFIX, TaskModule
from forgeline_architectures.tasks.lightning_import import Trainer
from forgeline_jobs.train.checkpoint_writer import CheckpointWriter
from forgeline_jobs.train.strategies import saving
from forgeline_jobs.train.strategies.buffers import make_alike
from forgeline_jobs.train.strategies.plan import Plan
from forgeline_jobs.train.strategies.shards import WEIGHT, Piece, Shards, whole_piece

STEPS = ("training_step", "validation_step")


class FSDPStrategy(saving.SavesShares, ModelParallelStrategy):
    """Shares out what a `TaskModule` is made of.

    Args:
        device: of this worker.
        workers: how many there are.
        tensor_parallel: workers that share each matrix, and read the same samples.
        plan: what the family knows of its models.
        half: whether weights are fetched in bfloat16.
        backend: of the process group.
        timeout: of a collective operation.
        writer: of this worker's checkpoints.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        workers: int,
        tensor_parallel: int,
        plan: Plan,
        half: bool,
        backend: str,
        timeout: timedelta,
        writer: CheckpointWriter,
    ) -> None:
        super().__init__(
            data_parallel_size=workers // tensor_parallel,
            tensor_parallel_size=tensor_parallel,
            process_group_backend=backend,
            timeout=timeout,
        )
        self._device = device
        self._plan = plan
        self._orders: dict[str, Tensor] = {}  # of rows, by parameters that are not in the order of the files
        self._half = half
        self._writer = writer

    @property
    def root_device(self) -> torch.device:
        return self._device

    def setup(self, trainer: Trainer) -> None:
        module = self.lightning_module
        assert isinstance(module, TaskModule) and self.accelerator is not None
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(module)
        self.model.to(self.root_device).to(memory_format=torch.contiguous_format)  # pieces are runs of numbers
        self._share_out(module)
        self.barrier()
        self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def _share_out(self, module: TaskModule) -> None:
        """Each block by itself, what is left with the module: a step is one forward pass of it, whatever it calls."""
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self._half else None,
            reduce_dtype=torch.float32 if self._half else None,
            cast_forward_inputs=False,  # a target is a number to be met, not to be rounded
        )
        sharing, mesh = self.device_mesh["tensor_parallel"], self.device_mesh["data_parallel"]
        if sharing.size() > 1:
            orders = self._plan.share_matrices(module.model, sharing)
            self._orders = {f"{MODEL_PREFIX}{name}": order for name, order in orders.items()}
        for block in self._plan.blocks(module.model):
            fully_shard(block, mesh=mesh, mp_policy=policy)
            for name in getattr(block, "called", ()):
                register_fsdp_forward_method(block, name)
        fully_shard(module, mesh=mesh, mp_policy=policy)
        for step in STEPS:
            register_fsdp_forward_method(module, step)

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        assert self.lightning_module is not None
        make_alike(self.lightning_module)
        return super().training_step(*arguments, **options)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        [optimizer] = self.optimizers
        groups = optimizer.param_groups
        saving.save(checkpoint, Path(filepath), self._held(optimizer), groups=groups, writer=self._writer)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        [optimizer] = self.optimizers
        content, stored = saving.load(Path(checkpoint_path), groups=optimizer.param_groups)
        module = self.lightning_module
        assert module is not None
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                self._read(stored, WEIGHT, name, parameter)
                if parameter.requires_grad:
                    for kind in stored.kinds(name):
                        state = _empty(parameter, stored.shapes[f"{kind}/{name}"])
                        optimizer.state[parameter][kind] = state
                        self._read(stored, kind, name, state)
            for piece in saving.buffers(module):
                stored.fill(piece)
        return content

    def _held(self, optimizer: Optimizer) -> Iterator[Piece]:
        """What this worker writes; of what several hold alike, the first of them tells."""
        module = self.lightning_module
        assert module is not None
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.reshard()  # a validation leaves what it fetched last
        first = distributed.get_rank() == 0
        for name, parameter in module.named_parameters():
            for kind, tensor in ((WEIGHT, parameter), *optimizer.state.get(parameter, {}).items()):
                if not isinstance(tensor, DTensor):
                    if first:
                        yield whole_piece(kind, name, tensor)
                elif tensor.device_mesh.ndim > 1:
                    yield _even_part(kind, name, self._in_order(name, tensor.full_tensor()))
                elif self.device_mesh["tensor_parallel"].get_local_rank() == 0:
                    yield _rows(kind, name, tensor)
        if first:
            yield from saving.buffers(module)

    def _in_order(self, name: str, tensor: Tensor) -> Tensor:
        """A whole tensor with its rows in the order of the files."""
        order = self._orders.get(name)
        return tensor if order is None else tensor[torch.argsort(order).to(tensor.device)]

    def _read(self, stored: Shards, kind: str, name: str, tensor: Tensor) -> None:
        """Fill a parameter, or a state of the optimizer, with this worker's share of what was stored."""
        if not isinstance(tensor, DTensor):
            stored.fill(whole_piece(kind, name, tensor))
        elif tensor.device_mesh.ndim == 1:
            stored.fill(_rows(kind, name, tensor))
        else:
            whole = stored.whole(f"{kind}/{name}")
            order = self._orders.get(name)
            ordered = whole if order is None else whole[order]
            tensor.to_local().copy_(_shared_twice(ordered, tensor))


def _shared_twice(whole: Tensor, like: DTensor) -> Tensor:
    """This worker's part: its matrix among the workers that share one, and of that its rows."""
    rows, columns = (like.device_mesh.get_local_rank(dim) for dim in ("data_parallel", "tensor_parallel"))
    readers, sharing = like.device_mesh.shape
    placement = like.placements[1]
    part = whole.chunk(sharing, dim=placement.dim)[columns] if isinstance(placement, Shard) else whole
    chunks = part.chunk(readers)  # fewer than there are workers where there are fewer rows
    return chunks[rows] if rows < len(chunks) else part[:0]


def _rows(kind: str, name: str, tensor: DTensor) -> Piece:
    """This worker's rows of a tensor."""
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return Piece(
        kind=kind,
        name=name,
        shape=tuple(tensor.shape),
        start=offset[0] * math.prod(tensor.shape[1:]),
        values=tensor.to_local().detach().view(-1),
    )


def _even_part(kind: str, name: str, whole: Tensor) -> Piece:
    """The part of a whole tensor that this worker writes."""
    flat, world = whole.detach().reshape(-1), distributed.get_world_size()
    length = -(-len(flat) // world)
    start = min(distributed.get_rank() * length, len(flat))
    return Piece(kind=kind, name=name, shape=tuple(whole.shape), start=start, values=flat[start : start + length])


def _empty(parameter: nn.Parameter, shape: tuple[int, ...]) -> Tensor:
    """A state of the optimizer, to be read into: shared out as the parameter is, or one number."""
    if shape == tuple(parameter.shape):
        return torch.zeros_like(parameter)
    return torch.zeros(shape, device=parameter.device)
