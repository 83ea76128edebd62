"""Retrieval: a picture and its caption close together, all others of the batch apart, over all workers."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule, count_of
from forgeline_architectures.tasks.regression import refuse_class_options


class TwoTowers(Protocol):
    """A model that puts pictures and texts into one space."""

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied by."""

    def bound_scale(self) -> None:
        """Move a scale that a step took beyond its limit back to it."""

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit vectors [batch, width]."""

    def embed_texts(self, caption: Tensor) -> Tensor:
        """Unit vectors [batch, width]."""


class RetrievalModule(TaskModule):
    """Symmetric cross-entropy between pictures and captions: Radford et al. 2021 (arXiv:2103.00020), figure 3.

    A pair's negatives are all others of the global batch, as in the paper, those with an equal caption too. Validation
    hands over the embeddings, whose loss and ranks the metrics take over the whole split; `loss_sum` is a batch's own.
    """

    called = ("embed_images", "embed_texts")

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        refuse_class_options(signature, options)

    def loss(self, batch: Batch) -> Tensor:
        towers = cast(TwoTowers, self.model)
        images, texts = self._embedded(batch)
        all_images, all_texts = gathered(images), gathered(texts)
        rank = distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
        own = torch.arange(len(images), device=images.device) + rank * len(images)
        scale = towers.scale
        to_texts = F.cross_entropy((scale * images @ all_texts.T).float(), own)
        to_images = F.cross_entropy((scale * texts @ all_images.T).float(), own)
        return (to_texts + to_images) / 2

    def evaluated(self, batch: Batch) -> Evaluated:
        images, texts = self._embedded(batch)
        # Their products are the logits.
        root = cast(TwoTowers, self.model).scale.sqrt()
        logits = root * images.float() @ (root * texts.float()).T
        own = torch.arange(len(images), device=images.device)
        summed = [F.cross_entropy(side, own, reduction="sum") for side in (logits, logits.T)]
        return {
            "loss_sum": (summed[0] + summed[1]) / 2,
            "count": count_of(len(images), images),
            "outputs": root * torch.stack([images, texts], dim=1).float(),
            "target": batch["target"],
        }

    def moved(self) -> None:
        cast(TwoTowers, self.model).bound_scale()

    def _embedded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        towers = cast(TwoTowers, self.model)
        return towers.embed_images(batch["image"]), towers.embed_texts(batch["caption"])


class _Gather(torch.autograd.Function):
    """All workers' rows in the order of their ranks; the gradient of a row is the sum over all workers that used it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def gathered(rows: Tensor) -> Tensor:
    """The rows of all workers, with gradients; every worker has as many.

    Each worker's loss is a mean over its own rows. DDP takes the mean of the workers' gradients, which with the sum
    that is taken here is the gradient of the mean over all rows: the step does not depend on the number of workers.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    return cast(Tensor, _Gather.apply(rows))
