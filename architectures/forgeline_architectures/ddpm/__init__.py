"""Denoising diffusion: pictures out of noise, step by step."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="ddpm",
    family="Denoising diffusion",
    help="U-Net that removes noise step by step: makes pictures, of a class where the data have classes.",
    tasks=("generation",),
    inputs=("image", "label"),
    paper="Ho, Jain & Abbeel 2020, Denoising Diffusion Probabilistic Models, arXiv:2006.11239",
    when="Making pictures where their quality and variety count more than the time that a sample takes.",
    cost="35,746,307 parameters at the paper's size for 32x32 pixels; a sample takes 1,000 passes by DDPM, about 20 by "
    "DDIM, twice as many with guidance.",
    config="forgeline_architectures.ddpm.config:DDPMConfig",
    model="forgeline_architectures.ddpm.model:build_model",
    module="forgeline_architectures.ddpm.module:build_module",
)
