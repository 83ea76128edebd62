"""Two networks against each other: a discriminator tells samples from data, a generator is moved so that it cannot.

- The discriminator moves in every batch, the generator in every n-th (`discriminator_steps`), so that each step of the
  discriminator sees new data (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1). A batch is one global step.
- The loss that is logged, checked and validated is the discriminator's: it is there in every batch, and a generator's
  own says little about its samples. Neither ranks checkpoints: specs say `checkpoint: {select: last}`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from forgeline_architectures.optimisation.optimisers import build_optimizer
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.optimisation.parameters import check_parts_learn
from forgeline_architectures.optimisation.schedules import build_scheduler, learning_rate_factor
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.base import Batch, Evaluated, clipped, count_of
from forgeline_architectures.tasks.generation import GenerationModule

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


class AdversarialModule(GenerationModule):
    """Base of the families' modules. A family gives `fake`, `discriminator_loss` and `generator_loss`.

    In a validation the model is in evaluation mode and no gradient exists: `discriminator_loss` must leave penalties on
    gradients out where `self.training` is false. Further numbers for the step log go into `self.parts`.

    Args:
        model: all its trained parameters are below its attributes `generator` and `discriminator`.
        discriminator_steps: batches that the discriminator learns from for one that the generator does.
        betas: of both optimisers (adam, adamw); those of the options when None.
        gradient_penalty: whether the discriminator's loss has its gradients in it.

    Raises:
        ValueError: a trained parameter is of neither network, or the options do not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        signature: Signature,
        options: TrainingOptions,
        *,
        discriminator_steps: int = 1,
        betas: tuple[float, float] | None = None,
        gradient_penalty: bool = False,
    ) -> None:
        if betas is not None:
            options = options.model_copy(update={"optimizer": options.optimizer.model_copy(update={"betas": betas})})
        super().__init__(model, signature, options)
        self.automatic_optimization = False
        self.discriminator_steps = discriminator_steps
        self.gradient_penalty = gradient_penalty
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not name.startswith((f"{GENERATOR}.", f"{DISCRIMINATOR}.")):
                raise ValueError(f"parameter {name!r} belongs neither to the generator nor to the discriminator")

    @abstractmethod
    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """Samples [rows, *outputs] under the batch's conditions.

        Args:
            generator: random numbers in a validation; None in training, which uses torch's own (seeded every batch).
        """

    @abstractmethod
    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        """Mean over the samples of what the discriminator minimises; no gradient reaches `fake`."""

    @abstractmethod
    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        """Mean over the samples of what the generator minimises, by way of the discriminator."""

    def discriminator_moved(self) -> None:
        """Called after every step of the discriminator: a family may hold its weights within bounds."""

    def loss(self, batch: Batch) -> Tensor:
        """The discriminator's loss on fresh samples."""
        with torch.no_grad():
            fake = self.fake(batch)
        return self.discriminator_loss(batch, fake)

    def evaluated(self, batch: Batch) -> Evaluated:
        """The discriminator's loss; on how good the samples are, `forgeline evaluate` has the word."""
        fake = self.fake(batch, self.validation_generator())
        loss = self.discriminator_loss(batch, fake)
        count = count_of(len(fake), fake)
        return {"loss_sum": loss * count, "count": count, "outputs": None, "target": None}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        generator, discriminator = cast("list[Any]", self.optimizers())
        to_generator, to_discriminator = cast("list[LambdaLR]", self.lr_schedulers())
        # Lightning counts every optimiser's steps together; only the discriminator's are one for each batch.
        generator._on_before_step = generator._on_after_step = _uncounted
        moves = (self.trainer.global_step + 1) % self.discriminator_steps == 0
        self.parts = {}
        loss = self.loss(batch)
        self.last_gradient_norm = self._step(discriminator, loss, self.discriminator)
        self.discriminator_moved()
        to_discriminator.step()
        self.parts["discriminator_loss"] = loss.detach()
        if moves:
            self.toggle_optimizer(generator)
            ours = self.generator_loss(batch, self.fake(batch))
            self.parts["generator_gradient_norm"] = self._step(generator, ours, self.generator)
            self.untoggle_optimizer(generator)
            to_generator.step()
            self.parts["generator_loss"] = ours.detach()
            if self.ema is not None:
                self.ema.update()
        return loss.detach()

    def _step(self, optimizer: Any, loss: Tensor, network: nn.Module) -> Tensor:
        """One step of one network; the norm of its gradient before clipping."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = clipped(network, self.options.gradient_clip)
        optimizer.step()
        return norm

    def configure_optimizers(self) -> Any:
        check_parts_learn(self.model, (GENERATOR, DISCRIMINATOR))
        generator, discriminator = (
            build_optimizer(self.model, self.options, within=f"{part}.") for part in (GENERATOR, DISCRIMINATOR)
        )
        config, total, every = self.options.optimizer, self.options.total_steps, self.discriminator_steps
        factor = learning_rate_factor(config, total)
        # The generator's k-th step is in batch (k + 1) * every - 1, and takes the rate of that batch.
        to_generator = LambdaLR(generator, lambda step: factor((step + 1) * every - 1))
        return [generator, discriminator], [to_generator, build_scheduler(discriminator, config, total)]

    def compile_model(self) -> None:
        """Compile both; the generator alone under a penalty, whose second derivative torch.compile does not give."""
        self.generator.compile()
        if not self.gradient_penalty:
            self.discriminator.compile()

    @property
    def generator(self) -> nn.Module:
        """The network that makes samples."""
        return cast(nn.Module, self.model.generator)

    @property
    def discriminator(self) -> nn.Module:
        """The network that tells them from data."""
        return cast(nn.Module, self.model.discriminator)


def _uncounted() -> None:
    """In the place of Lightning's count of steps."""
