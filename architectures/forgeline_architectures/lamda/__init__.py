"""LaMDA: relative positions, gated GELU, and answers that are sampled and ranked."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="lamda",
    family="LaMDA",
    help="Decoder of LaMDA's architecture: draws several continuations of a dialogue and keeps the likeliest.",
    tasks=("language_modelling",),
    inputs=("tokens",),
    paper="Thoppilan et al. 2022, LaMDA: Language Models for Dialog Applications (arXiv:2201.08239)",
    when="Dialogues, where one answer out of several is worth its price.",
    cost="About 32 x layers x width^2 parameters and 6 operations per parameter and token trained; 2.1 billion "
    "parameters without embeddings at 2B. An answer costs as much as `candidates` plain ones.",
    config="forgeline_architectures.lamda.config:LamdaConfig",
    model="forgeline_architectures.lamda.model:build_model",
    module="forgeline_architectures.lamda.module:build_module",
    blocks=("blocks",),
)
