"""A U-Net for small pictures by caption, and one that enlarges them, told how noisy the small picture is.

- Noise conditioning augmentation (Ho et al. 2022, arXiv:2106.15282, section 4): noise is added to the small picture
  that the second network sees, so that it can do with what the first one makes, which is not quite like data.
- The text, pooled, is added to the embedding of the time, and the networks look at its words by cross-attention besides
  (section 2.4 of the paper).
- Both networks read the same text encoder (CLIP's text tower), which learns with them; the paper's is a frozen T5.
- The paper's second network is a U-Net with its blocks shifted to the low resolutions; here it is one like the first.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import END, PADDING
from forgeline_architectures.clip.towers import TextTower
from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.diffusion.sampling import Rows, Walk, denoised, guided, standard_noise, thresholded
from forgeline_architectures.diffusion.unet import NetworkSize, captioned_unet
from forgeline_architectures.imagen.config import ImagenConfig
from forgeline_architectures.signature import Signature


class Imagen(nn.Module):
    """Text encoder and two U-Nets. Batches have `image` from -1 to 1 and `caption`."""

    def __init__(self, config: ImagenConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        channels, side, _ = self.shape = signature.outputs
        self.small_shape = (channels, side // config.factor, side // config.factor)
        self.schedule = NoiseSchedule(config.schedule, timesteps=config.timesteps, prediction=config.prediction)
        self.text = TextTower(
            signature.conditions["caption"],
            signature.inputs["caption"].shape[0],
            width=config.text_width,
            layers=config.text_layers,
            heads=config.text_heads,
            activation="quick_gelu",
        )
        common: dict[str, Any] = {"dropout": config.dropout, "groups": config.groups}
        reads: dict[str, Any] = {
            "text_width": config.text_width,
            "heads": config.heads,
            "pooling_heads": config.text_heads,
        }
        size = NetworkSize(widths=config.widths, blocks=config.blocks, attention=config.attention, **common)
        self.base = captioned_unet(size, self.small_shape, **reads)
        size = NetworkSize(
            widths=config.upsampler_widths,
            blocks=config.upsampler_blocks,
            attention=config.upsampler_attention,
            **common,
        )
        self.upsampler = captioned_unet(size, self.shape, known=channels, **reads)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height width"]:
        """Noisy pictures of a `time` (the last when not given), made smaller, cleaned in one go, and enlarged so."""
        noisy = batch["image"]
        last = torch.full((len(noisy),), self.schedule.timesteps - 1, device=noisy.device)
        time = batch.get("time", last)
        text = {"text": self.text.states(batch["caption"])}
        small = self.smaller(noisy)
        clean = self.schedule.clean(self.predict(small, time, text), small, time)
        condition = {**text, "small": self.larger(clean), "level": torch.zeros_like(time)}
        return self.schedule.clean(self.enlarge(noisy, time, condition), noisy, time)

    def predict(
        self, noisy: Float[Tensor, "batch channels side side"], time: Int[Tensor, " batch"], condition: Rows
    ) -> Float[Tensor, "batch channels side side"]:
        """The noise, or the velocity, in small pictures; `text` is what was read of the captions."""
        said: Tensor = self.base(noisy, time, encoder_hidden_states=condition["text"], return_dict=False)[0]
        return said

    def enlarge(
        self, noisy: Float[Tensor, "batch channels side side"], time: Int[Tensor, " batch"], condition: Rows
    ) -> Float[Tensor, "batch channels side side"]:
        """The same in large ones; beside `text`, `small` is the small picture at their size, of the time `level`."""
        said: Tensor = self.upsampler(
            torch.cat([noisy, condition["small"]], dim=1),
            time,
            encoder_hidden_states=condition["text"],
            class_labels=condition["level"],
            return_dict=False,
        )[0]
        return said

    def smaller(self, image: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch channels small small"]:
        """Pictures of the first network's size, by means over squares."""
        return F.avg_pool2d(image, self.config.factor)

    def larger(self, small: Float[Tensor, "batch channels small small"]) -> Float[Tensor, "batch channels side side"]:
        """Small pictures at the second network's size, bilinearly."""
        return F.interpolate(small, size=self.shape[1:], mode="bilinear", antialias=False)

    def augmented(
        self,
        small: Float[Tensor, "batch channels small small"],
        level: Int[Tensor, " batch"],
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """What the second network is told of small pictures, which noise is added to."""
        noisy = self.schedule.noisy(small, standard_noise(small, generator), level)
        return {"small": self.larger(noisy), "level": level}

    def nothing(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As many empty captions."""
        empty = torch.full_like(condition["caption"], PADDING)
        empty[:, 0] = END
        return {"caption": empty}

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Pictures of captions; the options are those of the small pictures.

        Raises:
            ValueError: an option is none of `steps`, `eta` and `guidance`, or out of range.
        """
        walk, config, schedule = Walk.of(options, self.config), self.config, self.schedule
        read, unread = (
            {"text": self.text.states(rows["caption"])} for rows in (condition, self.nothing(condition))
        )  # [count, tokens, text_width] each
        device = schedule.signal.device
        limit = thresholded(config.threshold)
        small = denoised(
            guided(self.predict, read, unread, walk.guidance),
            schedule,
            torch.randn((count, *self.small_shape), generator=generator, device=device),
            times=schedule.times(walk.steps),
            eta=walk.eta,
            generator=generator,
            limit=limit,
        )
        level = torch.full((count,), round(config.augmentation * (schedule.timesteps - 1)), device=device)
        told = self.augmented(small, level, generator)
        return denoised(
            guided(self.enlarge, {**read, **told}, {**unread, **told}, config.upsampler_guidance),
            schedule,
            torch.randn((count, *self.shape), generator=generator, device=device),
            times=schedule.times(config.upsampler_steps or schedule.timesteps),
            eta=walk.eta,
            generator=generator,
            limit=limit,
        )


def build_model(config: ImagenConfig, signature: Signature) -> Imagen:
    """The model with fresh weights."""
    return Imagen(config, signature)
