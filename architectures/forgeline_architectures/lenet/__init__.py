"""LeNet: plain convolutions, pooling and dense layers, of any widths."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="lenet",
    family="Plain convolutional network",
    help="Convolutions with pooling between them and dense layers behind, as in LeNet-5.",
    tasks=("classification", "regression"),
    inputs=("image",),
    paper="LeCun, Bottou, Bengio & Haffner 1998, Gradient-Based Learning Applied to Document Recognition",
    when="Small pictures and little computing time; the first network to try on 8x8 to 64x64 pixels.",
    cost="LeNet-5 at 28x28: 61.7 thousand parameters, 0.42 M multiplications per picture.",
    config="forgeline_architectures.lenet.config:LeNetConfig",
    model="forgeline_architectures.lenet.model:build_model",
    module="forgeline_architectures.lenet.module:build_module",
)
