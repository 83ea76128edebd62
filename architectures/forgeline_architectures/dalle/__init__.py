"""DALL-E: pictures by caption, written token by token."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="dalle",
    family="Discrete autoencoder and decoder",
    help="Autoencoder whose codes are tokens, and a GPT-like decoder that writes them after those of a caption.",
    tasks=("generation",),
    inputs=("image", "caption"),
    paper="Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, arXiv:2102.12092",
    when="Pictures by caption with the tools of language models: one loss, a likelihood, sampling by temperature.",
    cost="12 x layers x width^2 parameters of the decoder, used for every word and every token of a picture; a sample "
    "takes as many passes as a picture has tokens, and one of the autoencoder.",
    config="forgeline_architectures.dalle.config:DalleConfig",
    model="forgeline_architectures.dalle.model:build_model",
    module="forgeline_architectures.dalle.module:build_module",
    not_sharded="it learns in two stages, of which one has no gradient",
)
