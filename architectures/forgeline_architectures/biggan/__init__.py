"""BigGAN: residual networks with spectral normalisation, told the class in every normalisation."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="biggan",
    family="Class-conditional GAN (BigGAN)",
    help="Two residual networks against each other: makes small pictures of the class asked for, truer or more varied "
    "as wanted.",
    tasks=("generation",),
    inputs=("image", "label"),
    paper="Brock, Donahue & Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis, "
    "arXiv:1809.11096",
    when="Pictures by class in one pass, where the trade of fidelity for variety is to be chosen when sampling.",
    cost="158,416,358 parameters at the defaults for 1,000 classes of 128x128 colour; a sample is one pass.",
    config="forgeline_architectures.biggan.config:BigGANConfig",
    model="forgeline_architectures.biggan.model:build_model",
    module="forgeline_architectures.biggan.module:build_module",
    own_steps=True,
)
