"""Inception v3's auxiliary head: only training asks for it, and it also stands on maps that are smaller than 17x17."""

from __future__ import annotations

from typing import Any

from timm.models.inception_v3 import InceptionAux, InceptionV3
from torch import Tensor, nn
from torch.nn import functional as F

# Side of the maps that the head is published for, and of what its 5x5 average of stride 3 makes of them.
PUBLISHED_SIDE, POOLED_SIDE = 17, 5


def skip_auxiliary(network: nn.Module) -> None:
    """Let the network's own forward leave out the head that it keeps: timm's gives a pair, in validation too."""
    assert isinstance(network, InceptionV3)
    network.aux_logits = False


def inception_outputs(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Main and auxiliary output [batch, outputs] for pictures [batch, channels, height, width]."""
    assert isinstance(network, InceptionV3)
    inception: Any = network  # its methods have no types
    maps = inception.forward_preaux(image)
    early = auxiliary_output(inception.AuxLogits, maps)
    return inception.forward_head(inception.forward_postaux(maps)), early


def auxiliary_output(head: InceptionAux, maps: Tensor) -> Tensor:
    """The head's output [batch, outputs] for maps [batch, channels, height, width].

    Maps below 17x17 are averaged (or stretched) to the 5x5 that the head's filters cover.
    """
    if min(maps.shape[-2:]) >= PUBLISHED_SIDE:
        published: Tensor = head(maps)
        return published
    pooled = F.adaptive_avg_pool2d(maps, POOLED_SIDE)
    out: Tensor = head.fc(head.conv1(head.conv0(pooled)).flatten(1))
    return out
