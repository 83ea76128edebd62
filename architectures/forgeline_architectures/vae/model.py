"""A variational autoencoder of pictures.

- The likelihood is Bernoulli, pixel by pixel, with a grey value between 0 and 1 in the place of the outcome: the
  cross-entropy -[x log p + (1 - x) log(1 - p)], summed over the pixels. For pictures of black and white alone it is a
  likelihood; for grey ones it is the expected one of the pictures that are drawn by taking each grey value as the
  probability of white.
- A condition, one-hot, stands beside the picture in the encoder and beside the latent numbers in the decoder (Sohn, Lee
  & Yan 2015, with the prior the same for all conditions).
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks.generation import check_options
from forgeline_architectures.vae.config import VAEConfig

WALKED, STEPS, FARTHEST = 10, 9, 2.5  # latent numbers, columns, and deviations from 0, of the latent walk


class Bound(NamedTuple):
    """The parts of the negative evidence lower bound of each picture, [batch], in nats."""

    reconstruction: Tensor
    kl: Tensor


class VAE(nn.Module):
    """Dense encoder and decoder. `forward` takes `image` from -1 to 1, and `label` where it is a condition."""

    def __init__(self, config: VAEConfig, signature: Signature) -> None:
        super().__init__()
        self.shape = signature.outputs
        self.latent = config.latent
        self.labels = signature.conditions.get("label", 0)
        pixels = math.prod(self.shape)
        self.encoder = nn.Sequential(
            *_layers((pixels + self.labels, *config.hidden), config.dropout),
            nn.Linear((pixels + self.labels, *config.hidden)[-1], 2 * config.latent),
        )
        inwards = (config.latent + self.labels, *reversed(config.hidden))
        self.decoder = nn.Sequential(*_layers(inwards, 0.0), nn.Linear(inwards[-1], pixels))

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height width"]:
        """Each picture, encoded to the mean of its latent numbers and decoded, from -1 to 1."""
        mean, _ = self.encode(batch)
        return self.pictures(self.decode(mean, batch))

    def bound(self, batch: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Bound:
        """The bound with one draw of the latent numbers (Kingma & Welling 2014, equation 10).

        Args:
            batch: pictures, with their conditions.
            generator: random numbers; torch's own when None.
        """
        mean, log_variance = self.encode(batch)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        logits = self.decode(mean + noise * (log_variance / 2).exp(), batch)
        wanted = (batch["image"].flatten(1) + 1) / 2
        cross_entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none").sum(1)
        # Kingma & Welling 2014, appendix B.
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).float().sum(1) / 2
        return Bound(cross_entropy, kl)

    def encode(
        self, batch: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and log variance of the latent numbers of pictures."""
        # Between 0 and 1, where most pixels are 0: from -1 to 1 they would all speak at once.
        told = self._with_condition((batch["image"].flatten(1) + 1) / 2, batch)
        mean, log_variance = self.encoder(told).chunk(2, dim=1)
        return mean, log_variance

    def decode(
        self, latent: Float[Tensor, "batch latent"], condition: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch pixels"]:
        """Logits of white for every pixel."""
        logits: Tensor = self.decoder(self._with_condition(latent, condition))
        return logits

    def pictures(self, logits: Float[Tensor, "batch pixels"]) -> Float[Tensor, "batch channels height width"]:
        """Probabilities of white as pixels from -1 to 1."""
        made: Tensor = (2 * logits.sigmoid() - 1).unflatten(1, self.shape)
        return made

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Float[Tensor, "count channels height width"]:
        """Decoded draws from the prior.

        Args:
            count: how many.
            condition: the labels asked for, [count], where the model has them.
            generator: random numbers, on the model's device.
            options: `temperature`, the deviation of the latent numbers: below 1 more usual pictures, fewer kinds.

        Raises:
            ValueError: an option is unknown, or the temperature is not above 0.
        """
        check_options(options, {"temperature": "a number above 0; 1 is the prior"})
        temperature = options.get("temperature", 1.0)
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature!r}; allowed: a number above 0")
        latent = torch.randn(count, self.latent, generator=generator, device=generator.device) * temperature
        return self.pictures(self.decode(latent, condition))

    def illustrations(self, *, generator: torch.Generator) -> dict[str, Tensor]:
        """A walk along each of the first latent numbers, the others 0; a model of labels takes a label for each row."""
        rows = min(self.latent, WALKED)
        latent = torch.zeros(rows, STEPS, self.latent, device=generator.device)
        places = torch.linspace(-FARTHEST, FARTHEST, STEPS, device=generator.device)
        latent[torch.arange(rows), :, torch.arange(rows)] = places
        labels = torch.arange(rows, device=generator.device).repeat_interleave(STEPS) % max(self.labels, 1)
        made = self.pictures(self.decode(latent.flatten(0, 1), {"label": labels}))
        return {"latent-walk": made.unflatten(0, (rows, STEPS))}

    def _with_condition(self, values: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        if not self.labels:
            return values
        return torch.cat([values, F.one_hot(condition["label"], self.labels).to(values.dtype)], dim=1)


def _layers(widths: Sequence[int], dropout: float) -> Iterator[nn.Module]:
    for before, after in pairwise(widths):
        yield nn.Linear(before, after)
        yield nn.ReLU()
        if dropout:
            yield nn.Dropout(dropout)


def build_model(config: VAEConfig, signature: Signature) -> VAE:
    """The model with fresh weights."""
    return VAE(config, signature)
