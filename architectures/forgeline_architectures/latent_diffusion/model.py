"""An autoencoder, a text encoder, and a U-Net that denoises the latent pictures of the one by the words of the other.

- The text encoder is CLIP's text tower, which Stable Diffusion takes; here it learns together with the U-Net.
- Latent pictures are divided by their deviation before noise is added (section 4.3.2 of the paper's supplement; the
  0.18215 of Stable Diffusion is 1 over it). It is measured while the autoencoder learns.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from jaxtyping import Float, Int
from torch import Tensor, nn

from forgeline_architectures.beam_search import END, PADDING
from forgeline_architectures.clip.towers import TextTower
from forgeline_architectures.diffusion.noise_schedule import NoiseSchedule
from forgeline_architectures.diffusion.pipeline_files import (
    AUTOENCODER,
    NETWORK,
    SCHEDULER,
    load_network,
    save_pipeline,
)
from forgeline_architectures.diffusion.sampling import Walk, denoised, guided, standard_noise
from forgeline_architectures.diffusion.unet import NetworkSize, captioned_unet
from forgeline_architectures.latent_diffusion.config import LatentDiffusionConfig
from forgeline_architectures.signature import Signature

DEVIATION_KEPT = 0.9  # share of the measured deviation kept per step
STABLE_DIFFUSION_SCALE = 0.18215  # of latents, where the config of an autoencoder does not say its own


class Autoencoded(NamedTuple):
    """What the autoencoder makes of pictures.

    Attributes:
        error: [batch] absolute or squared error, summed over the numbers of a picture.
        kl: [batch] divergence of the latent numbers from standard noise, in nats.
        latent: [batch, channels, side, side] drawn latent pictures.
    """

    error: Tensor
    kl: Tensor
    latent: Tensor


class LatentDiffusion(nn.Module):
    """Autoencoder, text encoder and U-Net. Batches have `image` from -1 to 1 and `caption`."""

    deviation: Tensor

    def __init__(self, config: LatentDiffusionConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.shape = config.latent_shape(signature)
        self.schedule = NoiseSchedule(config.schedule, timesteps=config.timesteps, prediction=config.prediction)
        self.autoencoder = _autoencoder(config, signature.outputs)
        self.text = TextTower(
            signature.conditions["caption"],
            signature.inputs["caption"].shape[0],
            width=config.text_width,
            layers=config.text_layers,
            heads=config.text_heads,
            activation="quick_gelu",
        )
        self.network = captioned_unet(
            NetworkSize(
                widths=config.widths,
                blocks=config.blocks,
                attention=config.attention,
                dropout=config.dropout,
                groups=config.groups,
            ),
            self.shape,
            text_width=config.text_width,
            heads=config.heads,
        )
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height width"]:
        """Pictures whose latents are taken as noisy ones, of a `time` (the last when not given), cleaned in one go."""
        noisy = self.latents(batch["image"])
        last = torch.full((len(noisy),), self.schedule.timesteps - 1, device=noisy.device)
        time = batch.get("time", last)
        said = self.predict(noisy, time, {"text": self.text.states(batch["caption"])})
        return self.decode(self.schedule.clean(said, noisy, time))

    def autoencode(
        self, image: Float[Tensor, "batch channels height width"], generator: torch.Generator | None = None
    ) -> Autoencoded:
        """Pictures through the autoencoder, with one draw of their latents; torch's own random numbers by default."""
        posterior = cast(Any, self.autoencoder).encode(image).latent_dist
        latent = posterior.mean + posterior.std * standard_noise(posterior.mean, generator)
        again: Tensor = cast(Any, self.autoencoder).decode(latent).sample
        gap = (again - image).float()
        error = gap.square() if self.config.pixel_error == "squared" else gap.abs()
        return Autoencoded(error.flatten(1).sum(1), posterior.kl(), latent)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take a batch's latent pictures into the deviation that all are divided by."""
        self.deviation.lerp_(latent.std().to(self.deviation.dtype), 1 - DEVIATION_KEPT)

    def latents(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch latent side side"]:
        """Latent pictures of deviation 1, without the draw that the autoencoder learns with."""
        mean: Tensor = cast(Any, self.autoencoder).encode(image).latent_dist.mean
        return mean / self.deviation

    def decode(self, latent: Float[Tensor, "batch latent side side"]) -> Float[Tensor, "batch channels height width"]:
        """Pictures of latents of deviation 1."""
        made: Tensor = cast(Any, self.autoencoder).decode(latent * self.deviation).sample
        return made

    def predict(
        self,
        noisy: Float[Tensor, "batch latent side side"],
        time: Int[Tensor, " batch"],
        condition: Mapping[str, Tensor],
    ) -> Float[Tensor, "batch latent side side"]:
        """The noise, or the velocity, in noisy latents; `text` is what was read of the captions."""
        said: Tensor = self.network(noisy, time, encoder_hidden_states=condition["text"], return_dict=False)[0]
        return said

    def nothing(self, condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As many empty captions."""
        empty = torch.full_like(condition["caption"], PADDING)
        empty[:, 0] = END
        return {"caption": empty}

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Pictures of captions.

        Raises:
            ValueError: an option is none of `steps`, `eta` and `guidance`, or out of range.
        """
        walk = Walk.of(options, self.config)
        noise = torch.randn((count, *self.shape), generator=generator, device=self.deviation.device)
        return self._walked(noise, self.schedule.times(walk.steps), walk, condition, generator)

    def vary(
        self,
        image: Float[Tensor, "count channels height width"],
        condition: Mapping[str, Tensor],
        *,
        generator: torch.Generator,
        options: Mapping[str, Any],
    ) -> Float[Tensor, "count channels height width"]:
        """Pictures changed into what captions ask for: noise is added, and taken away again (img2img).

        Meng et al. 2022, SDEdit (arXiv:2108.01073), algorithm 1, in the latent space.

        Raises:
            ValueError: an option is none of `strength`, `steps`, `eta` and `guidance`, or out of range.
        """
        strength, walk = Walk.partial(options, self.config)
        times = self.schedule.times(walk.steps)
        times = times[-max(1, round(strength * len(times))) :]
        latent = self.latents(image)
        time = torch.full((len(latent),), times[0], device=latent.device)
        noisy = self.schedule.noisy(latent, standard_noise(latent, generator), time)
        return self._walked(noisy, times, walk, condition, generator)

    def _walked(
        self,
        noisy: Float[Tensor, "count latent side side"],
        times: Sequence[int],
        walk: Walk,
        condition: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Float[Tensor, "count channels height width"]:
        """Pictures out of noisy latents at the first of the times."""
        read, unread = (
            {"text": self.text.states(rows["caption"])} for rows in (condition, self.nothing(condition))
        )  # [count, tokens, text_width] each
        latent = denoised(
            guided(self.predict, read, unread, walk.guidance),
            self.schedule,
            noisy,
            times=times,
            eta=walk.eta,
            generator=generator,
            limit=lambda clean: clean,  # latents have no range of their own
        )
        return self.decode(latent).clamp(-1, 1)


def _autoencoder(config: LatentDiffusionConfig, shape: Sequence[int]) -> nn.Module:
    """The KL-regularised autoencoder of the paper's section 3.1, which halves the side for every width but the last."""
    levels = len(config.autoencoder_widths)
    network: nn.Module = AutoencoderKL(
        in_channels=shape[0],
        out_channels=shape[0],
        sample_size=shape[-1],
        block_out_channels=config.autoencoder_widths,
        layers_per_block=config.autoencoder_blocks,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=config.latent_channels,
        norm_num_groups=config.groups,
    )
    return network


def build_model(config: LatentDiffusionConfig, signature: Signature) -> LatentDiffusion:
    """The model with fresh weights."""
    return LatentDiffusion(config, signature)


def build_pretrained(config: LatentDiffusionConfig, signature: Signature) -> LatentDiffusion:
    """The model with U-Net and autoencoder of the config's pipeline; its text encoder is fresh.

    Raises:
        ValueError: they cannot be read, or do not fit.
    """
    assert config.pretrained is not None
    model = LatentDiffusion(config, signature)
    load_network(model.network, config.pretrained, NETWORK, schedule=model.schedule)
    told = load_network(model.autoencoder, config.pretrained, AUTOENCODER)
    model.deviation.fill_(1 / told.get("scaling_factor", STABLE_DIFFUSION_SCALE))
    return model


def save_latent_diffusion(model: LatentDiffusion, folder: str | Path) -> None:
    """Write the folders `unet`, `vae` and `scheduler` of a pipeline, which diffusers reads each by its class.

    The text encoder is not among them: its words are the data's own.
    """
    autoencoder = cast(Any, model.autoencoder)
    autoencoder.register_to_config(scaling_factor=1 / model.deviation.item())
    scheduler = DDIMScheduler.from_config(model.schedule.for_diffusers | {"clip_sample": False})
    save_pipeline(folder, {NETWORK: model.network, AUTOENCODER: autoencoder, SCHEDULER: scheduler})
