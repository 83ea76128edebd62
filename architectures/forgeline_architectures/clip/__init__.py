"""CLIP: pictures and texts in one space, by contrast."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="clip",
    family="Contrastive vision-language model",
    help="A vision transformer and a text transformer that put a picture and its caption close together.",
    tasks=("retrieval",),
    inputs=("image", "caption"),
    paper="Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, "
    "arXiv:2103.00020",
    when="To find pictures by text and texts by picture, or to name pictures by classes that are only described.",
    cost="12 x layers x width^2 parameters per tower, used for every patch and every word; the loss compares each pair "
    "of a batch's pictures and captions, over all workers.",
    config="forgeline_architectures.clip.config:ClipConfig",
    model="forgeline_architectures.clip.model:build_model",
    module="forgeline_architectures.clip.module:build_module",
    not_sharded="its temperature is held within bounds after each step",
)
