"""Variational autoencoder: pictures from a small latent space, with a bound on their likelihood."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="vae",
    family="Variational autoencoder",
    help="Encoder and decoder around a few Gaussian numbers; VAE, beta-VAE, conditional VAE.",
    tasks=("generation",),
    inputs=("image", "label"),
    paper="Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114; beta-VAE: Higgins et al. 2017; "
    "conditional: Sohn, Lee & Yan 2015",
    when="A smooth latent space, a likelihood to compare models by, and samples at once, on a CPU too.",
    cost="2 x the dense layers of one side for each sample and step; one pass of the decoder to make a sample.",
    config="forgeline_architectures.vae.config:VAEConfig",
    model="forgeline_architectures.vae.model:build_model",
    module="forgeline_architectures.vae.module:build_module",
)
