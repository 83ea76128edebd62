"""DDP through Lightning, on the device that the worker was given."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import strategies


class DDPStrategy(strategies.DDPStrategy):
    """Lightning's, which would count devices to find this worker's own.

    Args:
        device: of this worker.
        options: of Lightning's strategy.
    """

    def __init__(self, *, device: torch.device, **options: Any) -> None:
        super().__init__(**options)
        self._device = device

    @property
    def root_device(self) -> torch.device:
        return self._device
