"""CycleGAN: pictures of one domain into those of another, learnt without pairs."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="cyclegan",
    family="CycleGAN",
    help="Translates pictures between two domains and back, learnt from pictures of each that are no pairs.",
    tasks=("generation",),
    inputs=("image", "source", "label"),
    paper="Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, "
    "arXiv:1703.10593",
    when="Another look for pictures (style, season, sensor) where nobody has the same scene in both.",
    cost="A translation is one pass through a residual network. A training step passes through the generators four "
    "times and the discriminators three times.",
    config="forgeline_architectures.cyclegan.config:CycleGANConfig",
    model="forgeline_architectures.cyclegan.model:build_model",
    module="forgeline_architectures.cyclegan.module:build_module",
    own_steps=True,
)
