"""Masked language modelling: cross-entropy of the tokens that were hidden in a text (Devlin et al. 2019).

The data hide them, so that a validation pass has the same gaps every time. Only hidden tokens go through the head, a
seventh of all, where the logits of a whole batch would be its largest tensor by far.
"""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor

from forgeline_architectures.tasks.base import Batch
from forgeline_architectures.tasks.language_modelling import (
    IGNORED,
    ChunkedHead,
    LanguageModellingModule,
    summed_cross_entropy,
)


class Filler(Protocol):
    """A model that fills gaps."""

    def fill(self, batch: Batch) -> Tensor:
        """Tokens [batch, time] with the likeliest one in each gap."""


class MaskedLanguageModellingModule(LanguageModellingModule):
    """Cross-entropy in nats per hidden token; targets of -100 are ignored."""

    def _summed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch["target"]
        hidden = target != IGNORED
        model = cast(ChunkedHead, self.model)
        logits = model.logits(model.hidden(batch)[hidden])
        return summed_cross_entropy(logits, target[hidden]), hidden.sum()
