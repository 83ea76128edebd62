"""Validation metrics over all ranks, computed once on the gathered outputs: exact, not means of means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed

from forgeline import metrics
from forgeline.tracking.spool import Spool
from forgeline_architectures.tasks.base import Evaluated
from forgeline_architectures.tasks.lightning_import import Callback, LightningModule, Trainer
from forgeline_jobs.data.base import PreparedData

# Summed loss, count, outputs, targets and parts of one rank.
Packed = tuple[float, float, np.ndarray | None, np.ndarray | None, dict[str, float]]


class Outputs:
    """Outputs and targets of one pass over a split, in the units of the data.

    Attributes:
        loss_sum: summed loss (nats for classification and language models, squared standardised error otherwise).
        count: samples, or tokens for language models.
        parts: further sums over the samples, by the name of the metric that their mean is.
    """

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self.count = 0.0
        self.parts: dict[str, float] = {}
        self._outputs: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def add(self, step: Evaluated) -> None:
        """Add what `validation_step` returned."""
        self.loss_sum += float(step["loss_sum"])
        self.count += float(step["count"])
        self._add_parts(step.get("parts", {}))
        for tensor, kept in ((step["outputs"], self._outputs), (step["target"], self._targets)):
            if tensor is not None:
                kept.append(tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy())

    def _add_parts(self, parts: Mapping[str, Any]) -> None:
        for name, value in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + float(value)

    def merge(self, others: list[Packed]) -> None:
        """Replace this rank's outputs by those of all ranks, in rank order."""
        self.loss_sum = sum(other[0] for other in others)
        self.count = sum(other[1] for other in others)
        self._outputs = [other[2] for other in others if other[2] is not None]
        self._targets = [other[3] for other in others if other[3] is not None]
        self.parts = {}
        for other in others:
            self._add_parts(other[4])

    @property
    def packed(self) -> Packed:
        """What travels between ranks."""
        return self.loss_sum, self.count, self.outputs, self.targets, self.parts

    @property
    def outputs(self) -> np.ndarray | None:
        """Probabilities [n, classes] or standardised predictions [n, …]; None for language models."""
        return np.concatenate(self._outputs) if self._outputs else None

    @property
    def targets(self) -> np.ndarray | None:
        """Targets as the model saw them."""
        return np.concatenate(self._targets) if self._targets else None

    def measure(self, data: PreparedData) -> dict[str, float]:
        """The metrics of the data's task on their validation split, plus `loss` and its parts."""
        task, count = data.signature.task, max(self.count, 1.0)
        loss, parts = self.loss_sum / count, {name: value / count for name, value in self.parts.items()}
        if self.outputs is None or self.targets is None:
            return metrics.from_loss(task, loss, parts=parts, tokens_per_character=data.tokens_per_character.get("val"))
        return metrics.from_outputs(task, self.outputs, self.targets, data.preprocessing, loss=loss, parts=parts)


class Validation(Callback):
    """Collects a validation pass, measures it on every rank alike, and writes it to rank 0's spool.

    Args:
        spool: rank 0's; None on the others.
        data: what is validated on.
        epochs: of the whole run.
        batches: of a pass that count on this rank.

    Attributes:
        measured: newest metrics, with the prefix `val/`.
    """

    def __init__(self, spool: Spool | None, *, data: PreparedData, epochs: int, batches: int) -> None:
        self.spool = spool
        self.batches = batches
        self.data = data
        self.epochs = epochs
        self.measured: dict[str, float] = {}
        self.measured_at = -1
        self._pass = Outputs()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pass = Outputs()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if batch_idx < self.batches:
            self._pass.add(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, self._pass.packed)
            self._pass.merge(gathered)
        step = trainer.global_step
        values = self._pass.measure(self.data)
        self.measured = {f"val/{name}": value for name, value in values.items()}
        # A resume repeats the validation that its checkpoint already holds: it is measured again, not written again.
        if self.spool is not None and step != self.measured_at:
            self.spool.metrics(step, self.measured)
            epoch = trainer.current_epoch + 1
            self.spool.event("epoch", epoch=epoch, epochs=self.epochs, step=step, metrics=self.measured)
        self.measured_at = step

    def state_dict(self) -> dict[str, Any]:
        return {"measured": dict(self.measured), "measured_at": self.measured_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.measured, self.measured_at = dict(state_dict["measured"]), state_dict["measured_at"]
