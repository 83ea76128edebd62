"""Autoencoder: pictures given back out of a few numbers, out of noise, or out of a sparse code."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="autoencoder",
    family="Autoencoder",
    help="Dense or convolutional encoder and decoder around a code; plain, denoising, sparse; tells anomalies.",
    tasks=("reconstruction",),
    inputs=("image",),
    paper="Hinton & Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks; denoising: Vincent, "
    "Larochelle, Bengio & Manzagol 2008; sparse: Ng 2011, CS294A lecture notes",
    when="Anomalies where only normal pictures are known, noise to be taken off, short codes of pictures.",
    cost="2 x the layers of one side for each sample.",
    config="forgeline_architectures.autoencoder.config:AutoencoderConfig",
    model="forgeline_architectures.autoencoder.model:build_model",
    module="forgeline_architectures.autoencoder.module:build_module",
)
