"""Language modelling: cross-entropy of the next token, in chunks where the logits would not fit.

Logits of a whole batch are its largest tensor by far: 50,257 numbers a token at GPT-2's vocabulary. Above a limit the
head and the loss are computed a chunk of tokens at a time and again in the backward pass, so that one chunk's logits
exist at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule
from forgeline_architectures.tasks.regression import refuse_class_options

IGNORED = -100  # target of tokens that are not learnt: padding, and a prompt's own tokens
# Logits computed at once, in numbers: 256 MiB as float32. Below it, chunking only costs a second pass over the head.
LOGITS_AT_ONCE = 2**26


@runtime_checkable
class ChunkedHead(Protocol):
    """A language model whose head can be applied to some of the tokens."""

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states [batch, time, width]."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of any hidden states [..., width] -> [..., vocabulary]."""


class LanguageModellingModule(TaskModule):
    """Cross-entropy in nats per token; targets of -100 are ignored."""

    called = ("hidden",)

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        refuse_class_options(signature, options)

    def loss(self, batch: Batch) -> Tensor:
        total, count = self._summed(batch)
        return total / even_share(count)

    def evaluated(self, batch: Batch) -> Evaluated:
        total, count = self._summed(batch)
        return {"loss_sum": total, "count": count, "outputs": None, "target": None}

    def _summed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch["target"]
        vocabulary = self.signature.outputs[0]
        count = (target != IGNORED).sum()
        if target.numel() * vocabulary > LOGITS_AT_ONCE and isinstance(self.model, ChunkedHead):
            hidden = self.model.hidden(batch)
            chunk = max(LOGITS_AT_ONCE // vocabulary, 1)
            return chunked_cross_entropy(self.model.logits, hidden, target, chunk=chunk), count
        return summed_cross_entropy(self.model(batch), target), count


def chunked_cross_entropy(head: Callable[[Tensor], Tensor], hidden: Tensor, target: Tensor, *, chunk: int) -> Tensor:
    """Summed cross-entropy, `chunk` tokens at a time.

    Args:
        head: hidden states [n, width] -> logits [n, vocabulary].
        hidden: [batch, time, width].
        target: [batch, time].
        chunk: tokens whose logits exist at once.
    """

    def part_loss(states: Tensor, wanted: Tensor) -> Tensor:
        return summed_cross_entropy(head(states), wanted)

    total = hidden.new_zeros((), dtype=torch.float32)
    for states, wanted in zip(
        torch.split(hidden.flatten(0, 1), chunk), torch.split(target.flatten(), chunk), strict=True
    ):
        total = total + checkpoint(part_loss, states, wanted, use_reentrant=False)
    return total


def even_share(count: Tensor) -> Tensor:
    """Learnt tokens of all workers (at least one), divided by the workers.

    Divided by it, the workers' losses have the mean over all tokens as their mean, however many each has: the loss
    does not depend on the number of workers.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return count.clamp(min=1)
    everyone = count.clone()
    distributed.all_reduce(everyone)
    return everyone.clamp(min=1) / distributed.get_world_size()


def summed_cross_entropy(logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy in nats over all learnt tokens together.

    Args:
        logits: [..., vocabulary].
        target: [...], -100 where nothing is learnt.
        label_smoothing: share of the target that is spread over the vocabulary.
    """
    return F.cross_entropy(
        logits.flatten(0, -2).float(),
        target.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
