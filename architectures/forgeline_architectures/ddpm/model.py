"""A U-Net that predicts the noise in pictures, of one class or of all."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, Int
from torch import Tensor, nn

from forgeline_architectures.ddpm.config import DDPMConfig
from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.diffusion.pipeline_files import NETWORK, SCHEDULER, load_network, save_pipeline
from forgeline_architectures.diffusion.sampling import Walk, clipped, denoised, guided
from forgeline_architectures.diffusion.unet import NetworkSize, picture_unet
from forgeline_architectures.signature import Signature


class DDPM(nn.Module):
    """The network with its noise schedule. Classes have one more number, which stands for none."""

    def __init__(self, config: DDPMConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.shape = signature.outputs
        self.classes = signature.conditions.get("label")
        self.schedule = NoiseSchedule(config.schedule, timesteps=config.timesteps, prediction=config.prediction)
        self.network = picture_unet(
            NetworkSize(
                widths=config.widths,
                blocks=config.blocks,
                attention=config.attention,
                dropout=config.dropout,
                groups=config.groups,
            ),
            signature.outputs,
            embeddings=None if self.classes is None else self.classes + 1,
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels side side"]:
        """What the network says of noisy pictures: `image`, their `time` (the last when not given) and `label`."""
        noisy = batch["image"]
        last = torch.full((len(noisy),), self.schedule.timesteps - 1, device=noisy.device)
        return self.predict(noisy, batch.get("time", last), batch)

    def predict(
        self,
        noisy: Float[Tensor, "batch channels side side"],
        time: Int[Tensor, " batch"],
        condition: Mapping[str, Tensor],
    ) -> Float[Tensor, "batch channels side side"]:
        """The noise, or the velocity, in noisy pictures."""
        labels = None if self.classes is None else condition["label"]
        said: Tensor = self.network(noisy, time, class_labels=labels, return_dict=False)[0]
        return said

    def nothing(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As many rows that ask for no class."""
        return {name: torch.full_like(rows, self.classes or 0) for name, rows in condition.items()}

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels side side"]:
        """Pictures of the classes asked for.

        Raises:
            ValueError: an option is none of `steps`, `eta` and `guidance`, or out of range.
        """
        walk = Walk.of(options, self.config, conditioned=bool(condition))
        device = self.schedule.signal.device
        return denoised(
            guided(self.predict, condition, self.nothing(condition), walk.guidance),
            self.schedule,
            torch.randn((count, *self.shape), generator=generator, device=device),
            times=self.schedule.times(walk.steps),
            eta=walk.eta,
            generator=generator,
            limit=clipped,
        )


def build_model(config: DDPMConfig, signature: Signature) -> DDPM:
    """The model with fresh weights."""
    return DDPM(config, signature)


def build_pretrained(config: DDPMConfig, signature: Signature) -> DDPM:
    """The model with the U-Net of the config's pipeline.

    Raises:
        ValueError: it cannot be read, or does not fit.
    """
    assert config.pretrained is not None
    model = DDPM(config, signature)
    load_network(model.network, config.pretrained, NETWORK, schedule=model.schedule)
    return model


def save_ddpm(model: DDPM, folder: str | Path) -> None:
    """Write a folder that diffusers' `DDPMPipeline.from_pretrained` reads, or of classes its `UNet2DModel`.

    A sample of the pipeline is one of `eta` 1; diffusers' times are other ones where `steps` are fewer than all.
    """
    scheduler = DDPMScheduler.from_config(model.schedule.for_diffusers)
    save_pipeline(folder, {NETWORK: model.network, SCHEDULER: scheduler}, name="DDPMPipeline")
