"""LeNet-5's layout with any widths.

Departures from the paper (section II.B), as is usual today: every filter sees every map of the layer below, a pooling
has no trained gain and bias, tanh is not scaled, and the last layer is linear with cross-entropy, where the paper has
radial basis functions.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.lenet.config import LeNetConfig
from forgeline_architectures.signature import Signature

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
POOLINGS: dict[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet(nn.Module):
    """Convolutions, then dense layers over all that is left of the picture."""

    def __init__(self, config: LeNetConfig, signature: Signature) -> None:
        super().__init__()
        channels, height, width = signature.inputs["image"].shape
        activation = ACTIVATIONS[config.activation]
        maps: list[nn.Module] = []
        for layer, filters in enumerate(config.filters):
            padding = config.kernel // 2 if config.padded(layer) else 0
            maps += [nn.Conv2d(channels, filters, config.kernel, padding=padding), activation()]
            # Whole maps, since neighbouring pixels are too alike to be missed one by one: Tompson et al. 2015
            # (arXiv:1411.4280, section 3.2).
            maps += [POOLINGS[config.pooling](2), nn.Dropout2d(config.spatial_dropout)]
            channels = filters
        self.maps = nn.Sequential(*maps)
        units = channels * config.side_after(height) * config.side_after(width)
        dense: list[nn.Module] = []
        for hidden in config.hidden:
            dense += [nn.Linear(units, hidden), activation(), nn.Dropout(config.dropout)]
            units = hidden
        self.dense = nn.Sequential(*dense)
        self.head = nn.Linear(units, signature.outputs[0])

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch outputs"]:
        out: Tensor = self.head(self.penultimate(batch))
        return out

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch units"]:
        """What the last layer reads: an embedding of each picture."""
        image: Float[Tensor, "batch channels height width"] = batch["image"]
        out: Tensor = self.dense(self.maps(image).flatten(1))
        return out


def build_model(config: LeNetConfig, signature: Signature) -> LeNet:
    """The model with fresh weights."""
    return LeNet(config, signature)
