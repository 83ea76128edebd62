"""Restricted Boltzmann machines, alone or stacked to a deep belief network."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="dbn",
    family="Boltzmann machines",
    help="Layers of binary units that learn pictures one upon the other, without labels: RBM and deep belief network. "
    "They make samples, or are fine-tuned to classify.",
    tasks=("generation", "classification"),
    inputs=("image",),
    paper="Hinton, Osindero & Teh 2006, A Fast Learning Algorithm for Deep Belief Nets, Neural Computation 18; "
    "contrastive divergence: Hinton 2002; persistent chains: Tieleman 2008",
    when="Small pictures close to black and white of which few have labels and many have none.",
    cost="A step of layer-wise training: 2 + k passes through one layer; a sample: so many Gibbs steps of the last "
    "layer, and one pass down.",
    config="forgeline_architectures.dbn.config:DBNConfig",
    model="forgeline_architectures.dbn.model:build_model",
    module="forgeline_architectures.dbn.module:build_module",
    names="forgeline_architectures.dbn.config:names",
    not_sharded="one of its layers learns at a time",
)
