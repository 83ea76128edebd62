"""T5: an encoder-decoder for whatever can be written as one text into another."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="t5",
    family="T5",
    help="Encoder-decoder with relative positions, whose every task is one text into another.",
    tasks=("translation",),
    inputs=("source", "previous"),
    paper="Raffel et al. 2020, Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer, "
    "arXiv:1910.10683",
    when="One text into another, after pretraining on more text or without; several such tasks with one model.",
    cost="60,506,624 parameters at the defaults (T5-small), about 12 x width^2 per encoder layer and 16 x width^2 per "
    "decoder layer at a feed-forward layer of 4 x width.",
    config="forgeline_architectures.t5.config:T5Config",
    model="forgeline_architectures.t5.model:build_model",
    module="forgeline_architectures.t5.module:build_module",
    blocks=("encoder.block", "decoder.block"),
)
