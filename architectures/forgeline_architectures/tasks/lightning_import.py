"""The one place that imports Lightning's module class."""

from __future__ import annotations

from lightning.pytorch import LightningModule

__all__ = ["LightningModule"]
