"""Which numbers of each parameter a worker holds under DeepSpeed's ZeRO, in float32, with the optimizer's state.

DeepSpeed lays a worker's shares of many parameters end to end into flat tensors, which the optimizer takes for its
parameters. Stages 1 and 2 cut the whole flat group of parameters into one part for each worker; stage 3 cuts each
parameter. Read from DeepSpeed 0.19.8: `_hp_mapping` (`deepspeed.utils.tensor_fragment`), `grad_position` (stage 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from forgeline_jobs.train.strategies.shards import WEIGHT, Piece, Shards, whole_piece


@dataclass(frozen=True, kw_only=True)
class Share:
    """A worker's share of one parameter.

    Attributes:
        name: of the parameter in the module's state dict.
        shape: of the whole parameter.
        start: place of its first number in the parameter, flattened.
        length: its numbers.
        flat: the flat tensor that holds it, and what the optimizer keeps its state by.
        offset: its place in the flat tensor.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    length: int
    flat: Tensor
    offset: int

    def pieces(self, optimizer: Optimizer, *, every: bool) -> Iterator[Piece]:
        """Weights and state as pieces.

        Args:
            optimizer: of the flat tensors.
            every: also the numbers that are not the parameter's own, such as the count of steps, which otherwise the
                worker with the parameter's first number tells for all.
        """
        yield self._piece(WEIGHT, self.flat)
        for kind, state in optimizer.state.get(self.flat, {}).items():
            if isinstance(state, Tensor) and state.shape == self.flat.shape:
                yield self._piece(kind, state)
            elif isinstance(state, Tensor) and (every or self.start == 0):
                yield whole_piece(kind, self.name, state)

    def begin_state(self, optimizer: Optimizer, shards: Shards) -> None:
        """Make the state that a checkpoint holds of the parameter, to be read into."""
        held = optimizer.state[self.flat]
        for kind in shards.kinds(self.name):
            if kind not in held:
                shape = shards.shapes[f"{kind}/{self.name}"]
                held[kind] = (
                    torch.zeros_like(self.flat) if shape == self.shape else torch.zeros(shape, device=self.flat.device)
                )

    def _piece(self, kind: str, tensor: Tensor) -> Piece:
        values = tensor.detach().narrow(0, self.offset, self.length)
        return Piece(kind=kind, name=self.name, shape=self.shape, start=self.start, values=values)


def shares(zero: Any, module: nn.Module) -> Iterator[Share]:
    """This worker's shares of what is trained.

    Args:
        zero: DeepSpeed's wrapper of the optimizer.
        module: what is trained.
    """
    for name, parameter in module.named_parameters():
        share = _third(zero, name, parameter) if hasattr(parameter, "ds_tensor") else _first(zero, name, parameter)
        if share is not None:
            yield share


def frozen(module: nn.Module, *, first: bool) -> Iterator[Piece]:
    """What is not trained, of which there is no float32 copy: this worker's part of it.

    Args:
        module: what is trained.
        first: whether this worker tells what all hold alike.
    """
    parameter: Any
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            continue
        if hasattr(parameter, "ds_tensor"):
            start, length = _part(parameter, parameter.ds_tensor.numel())
            shape, values = tuple(parameter.ds_shape), parameter.ds_tensor.detach().narrow(0, 0, length)
            yield Piece(kind=WEIGHT, name=name, shape=shape, start=start, values=values)
        elif first:
            yield whole_piece(WEIGHT, name, parameter)


def grouped(zero: Any, module: nn.Module) -> Iterator[list[Share]]:
    """This worker's shares of what is trained, flat tensor by flat tensor.

    Args:
        zero: DeepSpeed's wrapper of the optimizer.
        module: what is trained.
    """
    by_flat: dict[int, list[Share]] = {}
    for share in shares(zero, module):
        by_flat.setdefault(id(share.flat), []).append(share)
    yield from by_flat.values()


@contextmanager
def in_memory(zero: Any, flat: Tensor) -> Iterator[bool]:
    """A flat tensor and its state, which may wait on a disk; whether they did, and will be there again afterwards."""
    group = _sub_group(zero, flat)
    waits = group is not None and zero._swappable_optimizer_subgroup(group)
    if waits:
        zero._optimizer_states_and_gradient_swap_in(group)
    yield waits
    if waits:
        zero._optimizer_states_and_gradient_swap_out(group)


def spread(zero: Any, flat: Tensor) -> None:
    """Under stage 3, take the weights that the model computes with from a flat tensor, as a step's end does."""
    group = _sub_group(zero, flat)
    if group is not None:
        zero._reassign_or_swap_out_partitioned_parameters(group)


def spread_all(zero: Any) -> None:
    """Bring every worker what the others have read."""
    if hasattr(zero, "update_lp_params"):  # stages 1 and 2
        zero.update_lp_params()
        zero._hp_optimizer_states_linked = False  # the state is another one
        return
    kept = zero.persistent_parameters  # those too small to be shared out in between
    if kept:
        kept[0].partition(kept)
        kept[0].all_gather(kept)


def _sub_group(zero: Any, flat: Tensor) -> int | None:
    """Number of a flat tensor of stage 3."""
    held = getattr(zero, "fp32_partitioned_groups_flat", ())
    return next((number for number, one in enumerate(held) if one is flat), None)


def _first(zero: Any, name: str, parameter: nn.Parameter) -> Share | None:
    """Under stages 1 and 2; None where another worker has it all."""
    mapping = getattr(parameter, "_hp_mapping", None)
    if mapping is None:
        return None
    return Share(
        name=name,
        shape=tuple(parameter.shape),
        start=mapping.lp_fragment_address.start,
        length=mapping.lp_fragment_address.numel,
        flat=zero.single_partition_of_fp32_groups[mapping.param_group_index],
        offset=mapping.hp_fragment_address.start,
    )


def _third(zero: Any, name: str, parameter: Any) -> Share | None:
    """Under stage 3; None where there is nothing of it here, or it is not trained."""
    if not parameter.requires_grad:
        return None
    group, offset, padded = zero.grad_position[zero.get_param_id(parameter)]
    start, length = _part(parameter, padded)
    if length == 0:
        return None
    flat = zero.fp32_partitioned_groups_flat[group]
    return Share(name=name, shape=tuple(parameter.ds_shape), start=start, length=length, flat=flat, offset=offset)


def _part(parameter: Any, padded: int) -> tuple[int, int]:
    """First number and numbers of this worker's part of a parameter; the last parts are padded."""
    start = distributed.get_rank() * padded
    return start, max(0, min(padded, parameter.ds_numel - start))
