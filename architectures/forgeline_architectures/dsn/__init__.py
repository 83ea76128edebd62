"""Deep stacking network: modules whose upper weights are solved in closed form."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="dsn",
    family="Deep stacking network",
    help="One-layer networks on top of each other, each over the input and the estimates below, with solved outputs.",
    tasks=("classification",),
    inputs=("numeric", "image", "series"),
    paper="Deng & Yu 2011, Deep Convex Net: A Scalable Architecture for Speech Pattern Classification, Interspeech",
    when="Data of a fixed size, large batches on many workers: upper layers take sums, not gradients.",
    cost="Per module: inputs x units multiplications, and units^2 per sample while training for the closed form.",
    config="forgeline_architectures.dsn.config:DSNConfig",
    model="forgeline_architectures.dsn.model:build_model",
    module="forgeline_architectures.dsn.module:build_module",
    not_compiled="a step solves linear systems, which torch.compile leaves as they are",
    not_sharded="a step solves for upper weights, which needs whole ones",
)
