"""Token classification: a class for each token of a text, as the names, marks or parts of speech in it.

Training and validation see the tokens that have a target, one after the other: a token is a sample.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from forgeline_architectures.tasks.base import Batch
from forgeline_architectures.tasks.classification import ClassificationModule
from forgeline_architectures.tasks.language_modelling import IGNORED, even_share


class Tagger(Protocol):
    """A model that classifies tokens."""

    def tag(self, batch: Batch) -> Tensor:
        """Probabilities [batch, time, classes] of each token; zeros where a text has none."""


class TokenClassificationModule(ClassificationModule):
    """Cross-entropy in nats per token; targets of -100 are ignored."""

    def answered(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits [tokens, classes] and target [tokens] of the tokens that are asked about."""
        asked = batch["target"] != IGNORED
        return self.model(batch)[asked], batch["target"][asked]

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the tokens of all workers, which may have unequal numbers of them, or none."""
        logits, target = self.answered(batch)
        total = F.cross_entropy(
            logits,
            target,
            weight=self.class_weights,
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )
        return total / even_share(torch.tensor(len(target), device=logits.device))
