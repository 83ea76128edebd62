"""Transformer encoder-decoder: one sequence into another by attention alone."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="transformer",
    family="Transformer encoder-decoder",
    help="Attention layers that read a sequence and write another; the original Transformer.",
    tasks=("translation",),
    inputs=("source", "previous"),
    paper="Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762",
    when="One sequence into another with tens of thousands of pairs or more; all tokens are learnt at once.",
    cost="About 12 x width^2 parameters per encoder layer and 16 x width^2 per decoder layer at a feed-forward layer "
    "of 4 x width, and tokens^2 x width multiplications per attention.",
    config="forgeline_architectures.transformer.config:TransformerConfig",
    model="forgeline_architectures.transformer.model:build_model",
    module="forgeline_architectures.transformer.module:build_module",
    blocks=("encoder", "decoder"),
    narrowing="forgeline_architectures.transformer.narrowing:narrow",
)
