"""Multi-layer perceptron: the first model to try on a table."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="mlp",
    family="Multi-layer perceptron",
    help="Layers of fully connected units over numbers and embedded categories.",
    tasks=("classification", "regression", "forecasting"),
    inputs=("numeric", "categorical", "image", "series"),
    paper="Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors, Nature 323",
    when="Tables of numbers and categories; a baseline for anything of a fixed size.",
    cost="Parameters and multiplications per sample: the sum of width x next width. No memory of order or place.",
    config="forgeline_architectures.mlp.config:MLPConfig",
    model="forgeline_architectures.mlp.model:build_model",
    module="forgeline_architectures.mlp.module:build_module",
    narrowing="forgeline_architectures.mlp.narrowing:narrow",
)
