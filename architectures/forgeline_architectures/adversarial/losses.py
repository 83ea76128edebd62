"""What the two players minimise, by name. A score says how much a sample looks like data."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Game:
    """The losses of the two players, means over the samples.

    Attributes:
        discriminator: of its scores [batch] of data, and of what is made.
        generator: of the discriminator's scores [batch] of what is made.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def non_saturating(on_real: Float[Tensor, " batch"], on_fake: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Cross-entropy in nats of scores that are log-odds: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1."""
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()


def hinge(on_real: Float[Tensor, " batch"], on_fake: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Scores beyond 1 on their right side count no more: Lim & Ye 2017 (arXiv:1705.02894), section 3."""
    return F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()


GAMES: Mapping[str, Game] = {
    # The generator's: Goodfellow et al. 2014, end of section 3.
    "non_saturating": Game(non_saturating, lambda on_fake: F.softplus(-on_fake).mean()),
    "hinge": Game(hinge, lambda on_fake: -on_fake.mean()),
    # Arjovsky et al. 2017 (arXiv:1701.07875), equation 3; it bounds the distance when the critic's slope is bounded.
    "wasserstein": Game(lambda on_real, on_fake: on_fake.mean() - on_real.mean(), lambda on_fake: -on_fake.mean()),
}
