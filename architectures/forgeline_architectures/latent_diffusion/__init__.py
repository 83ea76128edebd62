"""Latent diffusion: pictures by caption, denoised in the small space of an autoencoder."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="latent_diffusion",
    family="Latent diffusion",
    help="Autoencoder, and a U-Net that denoises its latent pictures, looking at a caption: text to image, img2img.",
    tasks=("generation",),
    inputs=("image", "caption"),
    paper="Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, arXiv:2112.10752",
    when="Pictures by caption, larger than a network on the pixels themselves could make; pictures changed by caption.",
    cost="At the size of Stable Diffusion 1, 859,520,964 parameters of the U-Net, 83,653,863 of the autoencoder and "
    "123,060,480 of the text encoder; a sample takes `steps` passes of the U-Net, twice as many with guidance.",
    config="forgeline_architectures.latent_diffusion.config:LatentDiffusionConfig",
    model="forgeline_architectures.latent_diffusion.model:build_model",
    module="forgeline_architectures.latent_diffusion.module:build_module",
    not_sharded="it learns in two stages, of which one has no gradient",
)
