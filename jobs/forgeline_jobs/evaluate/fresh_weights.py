"""The generator that training starts from, to measure a trained one against.

Unusual: its batch normalisation is given statistics of its own first. Fresh ones, mean 0 and deviation 1, are those of
no model: in evaluation mode nothing would be normalised, and a deep generator would make one grey picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from forgeline import plugins
from forgeline.bundle.inference import pick_device
from forgeline.bundle.sampling import draw

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from forgeline.bundle import Bundle
    from forgeline.plugins import ArchitectureDescriptor

PASSES = 8  # batches of samples that the statistics are of


def fresh_generator(
    bundle: Bundle,
    conditions: Mapping[str, NDArray[Any]],
    *,
    count: int,
    seed: int,
    batch_size: int,
    device: str,
    options: Mapping[str, Any],
) -> nn.Module:
    """A bundle's model with the weights that training starts from, in evaluation mode.

    Args:
        bundle: a generator.
        conditions: of the samples that will be drawn, encoded, `count` rows each.
        count: samples that will be drawn.
        seed: of the weights, and of the samples that batch normalisation learns its statistics from.
        batch_size: samples that are drawn together.
        device: `cpu` or `cuda`.
        options: of the model's family.
    """
    import torch

    architecture = cast(
        "ArchitectureDescriptor", plugins.find(plugins.ARCHITECTURES, bundle.name, key="architecture.name")
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.build_model(bundle.manifest.architecture, bundle.manifest.signature).eval()
    norms: list[Any] = [layer for layer in network.modules() if getattr(layer, "running_mean", None) is not None]
    if not norms:
        return network
    place = pick_device(device)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean over all passes, instead of one that forgets
    rows = max(2, min(batch_size, count))  # one sample alone has no deviation
    chosen = np.arange(PASSES * rows) % count
    asked = {name: values[chosen] for name, values in conditions.items()}
    draw(network.to(place), asked, count=len(chosen), seed=seed, device=place, batch_size=rows, options=options)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
    return network
