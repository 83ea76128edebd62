"""LLaMA: RMSNorm, rotary positions, gated feed-forward layers, grouped queries."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="llama",
    family="LLaMA",
    help="Decoder of LLaMA's architecture: predicts the next token and generates text.",
    tasks=("language_modelling",),
    inputs=("tokens",),
    paper="Touvron et al. 2023, LLaMA: Open and Efficient Foundation Language Models (arXiv:2302.13971)",
    when="Generating text, or any sequence of symbols, from data of your own or from LLaMA's weights; several texts at "
    "once in little memory, by few `key_value_heads`.",
    cost="About 12 x layers x width^2 parameters and 6 operations per parameter and token trained; 6,738,415,616 "
    "parameters at 7B. Grouped queries shrink the memory of generation by heads / key_value_heads.",
    config="forgeline_architectures.llama.config:LlamaConfig",
    model="forgeline_architectures.llama.model:build_model",
    module="forgeline_architectures.llama.module:build_module",
    blocks=("blocks",),
    parallel="forgeline_architectures.decoder.parallel:share_heads",
)
