"""Running statistics of norms, kept alike on all workers as DDP keeps them: by rank 0's, before each step."""

from __future__ import annotations

from torch import Tensor, distributed, nn


def stored_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that a state dict holds, by their names in it."""
    return {
        f"{prefix}.{name}" if prefix else name: buffer
        for prefix, part in module.named_modules()
        for name, buffer in part.named_buffers(recurse=False)
        if name not in part._non_persistent_buffers_set
    }


def make_alike(module: nn.Module) -> None:
    """Give every worker the buffers of rank 0."""
    for buffer in stored_buffers(module).values():
        distributed.broadcast(buffer, src=0)
