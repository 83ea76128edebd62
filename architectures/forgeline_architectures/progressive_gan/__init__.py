"""A generative adversarial network that grows from 4x4 pixels to the size of the pictures while it is trained."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="progressive_gan",
    family="Progressive GAN",
    help="Two convolutional networks against each other, which grow from 4x4 pixels to the data's by fading layers in.",
    tasks=("generation",),
    inputs=("image",),
    paper="Karras et al. 2018, Progressive Growing of GANs for Improved Quality, Stability, and Variation, "
    "arXiv:1710.10196",
    when="Square pictures of which the coarse shape should be learnt first; a steady training at little cost.",
    cost="Half of the training is spent on small pictures, for a fraction of the arithmetic. A sample is one pass.",
    config="forgeline_architectures.progressive_gan.config:ProgressiveGANConfig",
    model="forgeline_architectures.progressive_gan.model:build_model",
    module="forgeline_architectures.progressive_gan.module:build_module",
    own_steps=True,
)
