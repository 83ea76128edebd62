"""Our own decoder of GPT-2's architecture."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="gpt",
    family="GPT",
    help="Decoder of GPT-2's architecture: predicts the next token and generates text.",
    tasks=("language_modelling",),
    inputs=("tokens",),
    paper="Radford et al. 2019, Language Models are Unsupervised Multitask Learners (GPT-2)",
    when="Generating text, or any sequence of symbols, from data of your own, or from GPT-2's weights and tokenizer.",
    cost="About 12 x layers x width^2 parameters and 6 operations per parameter and token trained; 124,439,808 "
    "parameters at GPT-2's sizes.",
    config="forgeline_architectures.gpt.config:GPTConfig",
    model="forgeline_architectures.gpt.model:build_model",
    module="forgeline_architectures.gpt.module:build_module",
    blocks=("blocks",),
    parallel="forgeline_architectures.decoder.parallel:share_heads",
)
