"""Captioner: a picture into a sentence."""

from __future__ import annotations

from forgeline_architectures.descriptor import Architecture

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = Architecture(
    name="captioner",
    family="Captioner",
    help="A timm network that sees a picture, and an LSTM or GRU that describes it, looking at its parts by attention.",
    tasks=("translation",),
    inputs=("image", "previous"),
    paper="Xu et al. 2015, Show, Attend and Tell: Neural Image Caption Generation with Visual Attention, "
    "arXiv:1502.03044; without attention: Vinyals et al. 2015, Show and Tell, arXiv:1411.4555",
    when="A short description of each picture, with thousands of described pictures or a pretrained encoder.",
    cost="That of the timm network per picture, and 3 (GRU) or 4 (LSTM) x hidden x (hidden + embedding) "
    "multiplications per word and layer; `beams` multiplies the words' part when predicting.",
    config="forgeline_architectures.captioner.config:CaptionerConfig",
    model="forgeline_architectures.captioner.model:build_model",
    module="forgeline_architectures.captioner.module:build_module",
)
