"""The repeated blocks of a model: what is shared out among workers one by one, or computed twice to save memory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def repeated_blocks(model: nn.Module, paths: Iterable[str]) -> list[nn.Module]:
    """The blocks of a model, in their order.

    Args:
        model: of a family.
        paths: where the family's models keep them, as `Architecture.blocks` has it; a model may have some of them.
    """
    found: list[nn.Module] = []
    for path in paths:
        kept: Any = model
        for name in path.split("."):
            kept = getattr(kept, name, None)
        if isinstance(kept, nn.ModuleList | nn.Sequential):
            found.extend(kept)
    return found


def compute_twice(blocks: Iterable[nn.Module]) -> None:
    """Keep of each block's forward pass its inputs alone, and compute the rest anew in the backward pass.

    Chen et al. 2016 (arXiv:1604.06174), section 4. Names of parameters stay as they are.
    """
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
