"""PaLM: attention and feed-forward layer in parallel, one head of keys and values, no biases."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="palm",
    family="PaLM",
    help="Decoder of PaLM's architecture: predicts the next token and generates text.",
    tasks=("language_modelling",),
    inputs=("tokens",),
    paper="Chowdhery et al. 2022, PaLM: Scaling Language Modeling with Pathways (arXiv:2204.02311)",
    when="Generating many texts at once: one head of keys and values makes a long context cheap to keep.",
    cost="About 14 x layers x width^2 parameters and 6 operations per parameter and token trained; 8.63 billion "
    "parameters at 8B. Generation keeps 2 x layers x head_width numbers per token.",
    config="forgeline_architectures.palm.config:PalmConfig",
    model="forgeline_architectures.palm.model:build_model",
    module="forgeline_architectures.palm.module:build_module",
    blocks=("blocks",),
)
