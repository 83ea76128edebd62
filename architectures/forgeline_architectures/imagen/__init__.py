"""Imagen: small pictures by caption, and their enlargement, both by diffusion."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="imagen",
    family="Cascaded diffusion",
    help="A U-Net that makes a small picture by caption, and one that enlarges it, both by removing noise.",
    tasks=("generation",),
    inputs=("image", "caption"),
    paper="Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding, "
    "arXiv:2205.11487",
    when="Pictures by caption without an autoencoder's loss of detail: what is there is settled on a small picture.",
    cost="A training step is one pass of both U-Nets; a sample takes `steps` passes of the first and `upsampler_steps` "
    "of the second, twice as many with guidance.",
    config="forgeline_architectures.imagen.config:ImagenConfig",
    model="forgeline_architectures.imagen.model:build_model",
    module="forgeline_architectures.imagen.module:build_module",
)
