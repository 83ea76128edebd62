"""A generative adversarial network whose generator is steered, layer by layer, by a style."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="stylegan2",
    family="StyleGAN2",
    help="Two convolutional networks against each other; a style, made of the noise, scales every layer's channels.",
    tasks=("generation",),
    inputs=("image",),
    paper="Karras et al. 2020, Analyzing and Improving the Image Quality of StyleGAN, arXiv:1912.04958",
    when="Square pictures of one kind, at the best quality that an adversarial network gives; mixing coarse and fine.",
    cost="A sample is one pass. Penalties with second derivatives are paid in one step of 16 and one of 8.",
    config="forgeline_architectures.stylegan2.config:StyleGAN2Config",
    model="forgeline_architectures.stylegan2.model:build_model",
    module="forgeline_architectures.stylegan2.module:build_module",
    own_steps=True,
)
