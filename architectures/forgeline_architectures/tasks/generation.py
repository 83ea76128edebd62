"""Generation: a model that makes samples like those it was shown, of a kind that a condition asks for.

How a generator learns is its family's own (a bound on the likelihood, an adversary, denoising): a family subclasses
`GenerationModule` in its `module.py` and gives `loss` and `evaluated`. That is all it needs to be trained, validated,
checkpointed, resumed and bundled; `Bundle.sample` needs the model's `sample`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, TaskModule
from forgeline_architectures.tasks.regression import refuse_class_options

VALIDATION_SEED = 20_151


@runtime_checkable
class Generator(Protocol):
    """A model that makes samples."""

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        """Samples [count, *outputs] in the range of the data, which for pictures is -1 to 1.

        Args:
            count: how many.
            condition: `count` rows for each condition of the signature, and of its source, on the model's device.
            generator: all randomness, on the model's device: the same state gives the same samples.
            options: of the family, such as `steps` or `truncation`.

        Raises:
            ValueError: an option is unknown or out of range; the message has those that there are.
        """


@runtime_checkable
class Varying(Protocol):
    """A generator that changes pictures into what a condition asks for."""

    def vary(
        self, image: Tensor, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        """Pictures [count, *outputs] out of pictures `image` of that shape; all else as in `Generator.sample`.

        Raises:
            ValueError: an option is unknown or out of range.
        """


@runtime_checkable
class Illustrated(Protocol):
    """A generator with pictures of its own, such as a walk through its latent space."""

    def illustrations(self, *, generator: torch.Generator) -> Mapping[str, Tensor]:
        """File stem -> pictures [rows, columns, channels, height, width] in the range of the data."""


class GenerationModule(TaskModule):
    """Base of the families' modules; label smoothing and class weights are refused."""

    def __init__(self, model: nn.Module, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options)
        refuse_class_options(signature, options)
        self._validated = 0

    def learnt(self, batch: Batch) -> Tensor:
        """The samples of a batch [rows, *outputs]."""
        return batch[self.signature.learnt]

    def condition(self, batch: Batch) -> dict[str, Tensor]:
        """What the samples of a batch are made by; nothing for a model that is told nothing."""
        return {name: batch[name] for name in self.signature.asked}

    def validation_step(self, batch: Batch, batch_idx: int) -> Evaluated:
        self._validated = batch_idx
        return self.evaluated(batch)

    def validation_generator(self) -> torch.Generator:
        """Random numbers for `evaluated`: the same in every validation, others for every batch of it."""
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(VALIDATION_SEED + self._validated)


def check_options(options: Mapping[str, Any], allowed: Mapping[str, str]) -> None:
    """Refuse options that a model's `sample` does not have.

    Args:
        options: as given.
        allowed: name -> what it takes, in words.

    Raises:
        ValueError: one is unknown.
    """
    for name in options:
        if name not in allowed:
            known = ", ".join(f"{option} ({takes})" for option, takes in allowed.items()) or "none"
            raise ValueError(f"unknown option {name!r}; allowed: {known}")
