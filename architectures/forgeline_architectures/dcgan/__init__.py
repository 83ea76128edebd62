"""The deep convolutional GAN: small pictures by transposed convolutions with batch normalisation."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="dcgan",
    family="Deep convolutional GAN",
    help="Two convolutional networks against each other: makes small pictures, of whatever kind they come.",
    tasks=("generation",),
    inputs=("image",),
    paper="Radford, Metz & Chintala 2016, Unsupervised Representation Learning with Deep Convolutional Generative "
    "Adversarial Networks, arXiv:1511.06434",
    when="Small pictures without labels, made in one pass; the plain convolutional GAN that others are held against.",
    cost="6,342,340 parameters at the defaults for 64x64 colour, more than half of them the generator's; a sample is "
    "one pass.",
    config="forgeline_architectures.dcgan.config:DCGANConfig",
    model="forgeline_architectures.dcgan.model:build_model",
    module="forgeline_architectures.dcgan.module:build_module",
    own_steps=True,
)
