"""Generative adversarial networks of fully connected layers: the first loss, and Wasserstein's."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="gan",
    family="Generative adversarial network",
    help="Two fully connected networks against each other: makes points or small pictures, of a class where the data "
    "have classes.",
    tasks=("generation",),
    inputs=("numeric", "image", "label"),
    paper="Goodfellow et al. 2014, Generative Adversarial Nets, arXiv:1406.2661; Arjovsky et al. 2017, Wasserstein "
    "Generative Adversarial Networks, arXiv:1701.07875; Gulrajani et al. 2017, Improved Training of Wasserstein GANs, "
    "arXiv:1704.00028",
    when="Points and very small pictures; seeing how the losses behave, at little cost.",
    cost="A sample is one pass through a multi-layer perceptron. WGAN-GP trains its critic 5 times as often, each time "
    "with a second derivative.",
    config="forgeline_architectures.gan.config:GANConfig",
    model="forgeline_architectures.gan.model:build_model",
    module="forgeline_architectures.gan.module:build_module",
    names="forgeline_architectures.gan.config:names",
    own_steps=True,
)
