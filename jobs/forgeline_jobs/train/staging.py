"""Copies of tensors in the host's memory, made in the time that a step waits for, and written to disk afterwards.

Memory of the copies is kept and used again: fresh memory costs more than the copy, since the kernel clears every page.
Copies from a GPU land in pinned memory, which it fills without the help of the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_Place = tuple[str | int, ...]


class Staging:
    """Copies of one checkpoint at a time: the next one overwrites them.

    Args:
        apart: copy tensors that share their memory, as tied weights do, each for itself; else they share it again.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self._apart = apart
        self._memory: dict[_Place, Tensor] = {}

    def copy(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The same nested dicts, lists and tuples with copies of their tensors; other values as they are."""
        earlier, self._memory = self._memory, {}
        self._earlier = earlier
        self._copied: dict[Any, Tensor] = {}
        copied: dict[str, Any] = self._copy(content, ())
        if any(tensor.is_pinned() for tensor in self._memory.values()):
            torch.cuda.synchronize()
        del self._earlier, self._copied
        return copied

    def _copy(self, value: Any, place: _Place) -> Any:
        if isinstance(value, Tensor):
            return self._copy_tensor(value.detach(), place)
        if isinstance(value, Mapping):
            return {key: self._copy(item, (*place, key)) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self._copy(item, (*place, index)) for index, item in enumerate(value))
        return value

    def _copy_tensor(self, tensor: Tensor, place: _Place) -> Tensor:
        same = (tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride())
        if not self._apart and tensor.numel() and same in self._copied:
            return self._copied[same]
        memory = self._earlier.get(place)
        if memory is None or (memory.shape, memory.dtype) != (tensor.shape, tensor.dtype):
            memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        memory.copy_(tensor, non_blocking=True)
        self._memory[place] = self._copied[same] = memory
        return memory
