"""timm's models behind the project's batches, and what timm has no argument for: stem, width, size of pictures."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import timm
import torch
from jaxtyping import Float
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.cnn.attention import attention_maps
from forgeline_architectures.cnn.auxiliary import inception_outputs, skip_auxiliary
from forgeline_architectures.cnn.config import CNNConfig
from forgeline_architectures.cnn.narrowing import narrowed
from forgeline_architectures.cnn.stems import replace_stem
from forgeline_architectures.signature import Signature


class ImageNetwork(nn.Module):
    """A timm network that takes the input `image`.

    Attributes:
        inner: name of the attribute whose parameters a user knows by timm's names (`layer1.0.conv1.weight`).
    """

    inner: ClassVar[str] = "network"

    def __init__(self, network: nn.Module, *, channels_last: bool, image_size: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch outputs"]:
        out: Tensor = self.network(self.picture(batch))
        return out

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch features"]:
        """What the last layer reads: an embedding of each picture.

        Raises:
            ValueError: timm's model does not tell its features from its last layer.
        """
        network: Any = self.network
        if not (hasattr(network, "forward_features") and hasattr(network, "forward_head")):
            raise ValueError(f"{type(network).__name__} does not tell its features from its last layer")
        features: Tensor = network.forward_head(network.forward_features(self.picture(batch)), pre_logits=True)
        return features.flatten(1)

    def with_auxiliary(
        self, batch: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "batch outputs"], Float[Tensor, "batch outputs"]]:
        """What `forward` gives, and the output of Inception's auxiliary head."""
        return inception_outputs(self.network, self.picture(batch))

    def attention_maps(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch layers heads tokens tokens"]:
        """Attention of every layer and head of a vision transformer; the first token is the class's.

        Raises:
            ValueError: the network is none.
        """
        return attention_maps(self.network, self.picture(batch))

    def picture(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch channels height_in width_in"]:
        """The pictures of a batch, of the size and in the memory format that the network is given."""
        image: Float[Tensor, "batch channels height width"] = batch["image"]
        if self.image_size is not None:
            size = (self.image_size, self.image_size)
            image = F.interpolate(image, size, mode="bilinear", antialias=True)
        return image.contiguous(memory_format=self.memory_format)


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
    if config.image_size is not None:
        height = width = config.image_size
    if _has_fixed_size(config.name):
        arguments["img_size"] = (height, width)
    if config.auxiliary:
        arguments["aux_logits"] = True
    arguments |= {"in_chans": channels, "num_classes": signature.outputs[0], "drop_rate": config.dropout}
    network = _timm_network(config, {**arguments, **config.options})
    if isinstance(network, EfficientNet | MobileNetV3) and not _trained_classifier(network, arguments):
        # timm draws it up to 1/sqrt(outputs), which for a few classes makes first answers that are certain and wrong;
        # this is up to 1/sqrt(inputs).
        cast(nn.Linear, network.get_classifier()).reset_parameters()
    if config.auxiliary:
        skip_auxiliary(network)
    if config.stem != "standard":
        replace_stem(network, config.name, pooling=config.stem == "medium")
    return ImageNetwork(network, channels_last=config.channels_last, image_size=config.image_size)


def _timm_network(config: CNNConfig, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        if config.width != 1:
            # The wide one is never filled with numbers: VGG-16 has 138 M of them.
            with torch.device("meta"):
                wide = timm.create_model(config.name, **arguments)
            return narrowed(wide, config.width)
        return timm.create_model(config.name, **arguments)
    except Exception as error:
        # timm raises whatever the model's own constructor or its download does; the cause stays attached.
        given = f"options {config.options}"
        if "pretrained" in arguments:
            given += f" and pretrained {config.pretrained!r}"
        raise ValueError(
            f"timm cannot build {config.name} with {given}: {error}; change architecture.options or "
            "architecture.pretrained"
        ) from error


def _trained_classifier(network: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether the last layer came with trained weights: timm leaves out one for other classes."""
    return "pretrained" in arguments and network.pretrained_cfg["num_classes"] == arguments["num_classes"]


def _has_fixed_size(name: str) -> bool:
    """Whether the model is built for one size of picture (vision transformers) and so must be told ours."""
    cfg = timm.get_pretrained_cfg(name)
    return cfg is not None and bool(cfg.fixed_input_size)
