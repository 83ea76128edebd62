"""A decoder whose heads and feed-forward units are shared out among workers (Shoeybi et al. 2019, arXiv:1909.08053).

Each worker computes some of the heads of every block, and some of the units between its two feed-forward matrices; a
sum over the workers gives the block's output (section 3, figure 3). Embeddings and norms are on every worker.

Unusual: one matrix makes queries, keys and values, and one the two halves of a gated unit. Their rows are put into
another order, in which each worker's are together: whoever stores them has to know it.
"""

# ruff: noqa: F722  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from forgeline_architectures.decoder.attention import Attention
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.decoder.model import Block, DecoderModel

PLAN: Mapping[str, type[ColwiseParallel | RowwiseParallel]] = {
    "attention.qkv": ColwiseParallel,
    "attention.out": RowwiseParallel,
    "feed_forward.up": ColwiseParallel,
    "feed_forward.down": RowwiseParallel,
}


def share_heads(model: DecoderModel, mesh: DeviceMesh) -> Mapping[str, Tensor]:
    """Keep this worker's part of each block; the model is changed in place.

    Args:
        model: whole, before its first step.
        mesh: the workers that share it, in one dimension.

    Returns:
        Name of a parameter -> order [rows] in which its rows stand now, for those that were reordered.
    """
    orders: dict[str, Tensor] = {}
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        for part, order in _orders(model.design, mesh.size()).items():
            for name, parameter in block.get_submodule(part).named_parameters():
                with torch.no_grad():
                    parameter.copy_(parameter[order.to(parameter.device)])
                orders[f"blocks.{layer}.{part}.{name}"] = order
        parallelize_module(block, mesh, {part: style() for part, style in PLAN.items()})
        _keep_heads(block.attention, mesh.size())
    return orders


def _orders(design: DecoderDesign, workers: int) -> dict[str, Int[Tensor, " rows"]]:
    """For each reordered matrix of a block: the rows of the first worker, then those of the second, and so on."""
    width = design.head_width
    queries, keys, values = torch.arange((design.heads + 2 * design.key_value_heads) * width).split(
        [design.heads * width, design.key_value_heads * width, design.key_value_heads * width]
    )
    found = {"attention.qkv": _by_worker((queries, keys, values), workers)}
    if design.activation != "gelu":
        found["feed_forward.up"] = _by_worker(torch.arange(2 * design.inner).chunk(2), workers)
    return found


def _by_worker(rows: tuple[Tensor, ...], workers: int) -> Int[Tensor, " all_rows"]:
    """Each worker's share of every kind of rows, together."""
    shares = [kind.chunk(workers) for kind in rows]
    return torch.cat([share[worker] for worker in range(workers) for share in shares])


def _keep_heads(attention: Attention, workers: int) -> None:
    attention.heads //= workers
    attention.key_value_heads //= workers
