"""The losses of Zhu et al. 2017: least squares against the discriminators, there and back, and one's own domain.

A row of a batch is one direction: `source` is translated into the domain `label`, whose own picture is `image`.

Each worker keeps translations of its own to be shown again. Distributed training would overwrite buffers by those of
the first worker in every step: it is told to leave these alone, and a checkpoint has those of all workers.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from forgeline_architectures.cyclegan.config import BETAS, CycleGANConfig
from forgeline_architectures.cyclegan.model import DOMAINS, CycleGAN, build_model
from forgeline_architectures.cyclegan.replay import Replay
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.adversarial import AdversarialModule
from forgeline_architectures.tasks.base import Batch, TaskModule

REPLAYS = "replays"  # attribute of the module, and in a checkpoint what all workers have of it


class CycleGANModule(AdversarialModule):
    """Section 3, equations 1 to 3 with the squares of section 4, and the identity loss of section 5.2."""

    model: CycleGAN

    def __init__(self, model: CycleGAN, signature: Signature, options: TrainingOptions) -> None:
        super().__init__(model, signature, options, betas=BETAS)
        self.replays = nn.ModuleList(Replay(model.config.replay, signature.outputs) for _ in range(DOMAINS))
        own = [f"{REPLAYS}.{name}" for name, _ in self.replays.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, own)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if distributed.is_available() and distributed.is_initialized():
            checkpoint[REPLAYS] = {name: _of_all_workers(kept) for name, kept in self.replays.named_buffers()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put this worker's own translations in the place of the first one's, which Lightning loads after this.

        A worker that was not there when they were written takes the first one's.
        """
        super().on_load_checkpoint(checkpoint)
        for name, kept in checkpoint.get(REPLAYS, {}).items():
            if self.global_rank < len(kept):
                checkpoint["state_dict"][f"{REPLAYS}.{name}"] = kept[self.global_rank]

    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        return self.model.translated(batch["source"], batch["label"])

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        """Half the squared errors, as the paper slows the discriminator down (section 4)."""
        label = batch["label"]
        if self.training:
            fake = self._replayed(fake, label)
        on_real, on_fake = self.model.scores(self.learnt(batch), label), self.model.scores(fake, label)
        return ((on_real - 1).square().mean() + on_fake.square().mean()) / 2

    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        source, image, label, config = batch["source"], self.learnt(batch), batch["label"], self.model.config
        adversarial = (self.model.scores(fake, label) - 1).square().mean()
        cycle = F.l1_loss(self.model.translated(fake, 1 - label), source)
        self.parts |= {"adversarial": adversarial.detach(), "cycle": cycle.detach()}
        loss = adversarial + config.cycle * cycle
        if config.identity:
            identity = F.l1_loss(self.model.translated(image, label), image)
            self.parts["identity"] = identity.detach()
            loss = loss + config.cycle * config.identity * identity
        return loss

    def compile_model(self) -> None:
        """Compile each of the four networks."""
        for network in (*self.model.generator, *self.model.discriminator):
            network.compile()

    def _replayed(self, fake: Tensor, label: Tensor) -> Tensor:
        seen = fake.detach().clone()
        for domain, replay in enumerate(self.replays):
            rows = label == domain
            seen[rows] = cast(Replay, replay).exchanged(seen[rows])
        return seen


def _of_all_workers(kept: Tensor) -> Tensor:
    """A tensor of each worker, stacked in the order of their ranks; called on all of them."""
    found = [torch.empty_like(kept) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, kept)
    return torch.stack(found)


def build_module(config: CycleGANConfig, signature: Signature, options: TrainingOptions) -> TaskModule:
    """The module to train.

    Raises:
        ValueError: the options do not fit model or task.
    """
    return CycleGANModule(build_model(config, signature), signature, options)
