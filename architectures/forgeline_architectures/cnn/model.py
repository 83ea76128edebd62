"""timm's models behind the project's batches, with a stem for small pictures."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from forgeline_architectures.cnn.config import CNNConfig
from forgeline_architectures.signature import Signature


class ImageNetwork(nn.Module):
    """A timm network that takes the input `image`.

    Attributes:
        inner: name of the attribute whose parameters a user knows by timm's names (`layer1.0.conv1.weight`).
    """

    inner: ClassVar[str] = "network"

    def __init__(self, network: nn.Module, *, channels_last: bool) -> None:
        super().__init__()
        self.network = network
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch outputs"]:
        image: Float[Tensor, "batch channels height width"] = batch["image"]
        out: Tensor = self.network(image.contiguous(memory_format=self.memory_format))
        return out


def build_model(config: CNNConfig, signature: Signature) -> ImageNetwork:
    """The model with fresh weights.

    Raises:
        ValueError: timm refuses the options, or the stem does not fit the model.
    """
    return _build(config, signature)


def build_pretrained(config: CNNConfig, signature: Signature) -> ImageNetwork:
    """The model with the trained weights that the config asks for; its last layer is fresh.

    timm reads files with `weights_only`, sums the first filters over the channels where their number differs, and
    leaves out a last layer of another width.

    Raises:
        ValueError: there are no such weights, or they do not fit.
    """
    arguments: dict[str, Any] = {"pretrained": True}
    if isinstance(config.pretrained, str):
        arguments["pretrained_cfg_overlay"] = {"file": config.pretrained}
    return _build(config, signature, **arguments)


def _build(config: CNNConfig, signature: Signature, **arguments: Any) -> ImageNetwork:
    channels, height, width = signature.inputs["image"].shape
    options = dict(config.options)
    if "img_size" not in options and _has_fixed_size(config.name):
        options["img_size"] = (height, width)
    try:
        network = timm.create_model(
            config.name,
            in_chans=channels,
            num_classes=signature.outputs[0],
            drop_rate=config.dropout,
            **options,
            **arguments,
        )
    except Exception as error:
        # timm raises whatever the model's own constructor or its download does; the cause stays attached.
        given = f"options {config.options}" + (f" and pretrained {config.pretrained!r}" if arguments else "")
        raise ValueError(
            f"timm cannot build {config.name} with {given}: {error}; change architecture.options or "
            "architecture.pretrained"
        ) from error
    if config.stem != "standard":
        _replace_stem(network, config.name, pooling=config.stem == "medium")
    return ImageNetwork(network, channels_last=config.channels_last)


def _has_fixed_size(name: str) -> bool:
    """Whether the model is built for one size of picture (vision transformers) and so must be told ours."""
    cfg = timm.get_pretrained_cfg(name)
    return cfg is not None and bool(cfg.fixed_input_size)


def _replace_stem(network: nn.Module, name: str, *, pooling: bool) -> None:
    """The CIFAR stem of He et al. 2016 (arXiv:1512.03385, section 4.2): 3x3, stride 1, no pooling.

    The published ImageNet stem shrinks a picture by four before the first block, which leaves 7x7 of 28x28. With the
    pooling kept, 14x14 are left, at a quarter of the arithmetic that 28x28 cost.
    """
    first, pool = getattr(network, "conv1", None), getattr(network, "maxpool", None)
    if not isinstance(first, nn.Conv2d) or pool is None:
        raise ValueError(
            f"stem `small` or `medium` is for timm's ResNets (a `conv1` and a `maxpool`), {name} has none; "
            "set architecture.stem to standard"
        )
    conv = nn.Conv2d(first.in_channels, first.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    # As timm initialises its other filters: He et al. 2015 (arXiv:1502.01852, equation 10).
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = conv
    if not pooling:
        network.maxpool = nn.Identity()
