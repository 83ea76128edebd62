"""Convolutional (and any other) image networks of the timm library."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="cnn",
    family="Image networks of timm",
    help="Any model of the timm library by its own name, such as resnet18 or vit_tiny_patch16_224.",
    tasks=("classification", "regression"),
    inputs=("image",),
    paper="Wightman 2019, PyTorch Image Models (the library); each model has a paper of its own, which `forgeline "
    "architectures show resnet18` tells.",
    when="Pictures; with `pretrained`, also where there are only some hundreds of them.",
    cost="resnet18: 11.2 M parameters, 1.8 G multiplications per 224x224 picture (0.03 G at 28x28).",
    config="forgeline_architectures.cnn.config:CNNConfig",
    model="forgeline_architectures.cnn.model:build_model",
    module="forgeline_architectures.cnn.module:build_module",
    names="forgeline_architectures.cnn.config:names",
    descriptions="forgeline_architectures.cnn.descriptions:description",
    blocks=("network.blocks",),
)
