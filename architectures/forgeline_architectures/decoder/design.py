"""What distinguishes one decoder from another, as plain values; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Norm = Literal["layer", "rms"]
Positions = Literal["learned", "rotary", "relative"]
Activation = Literal["gelu", "swiglu", "geglu"]
InitialWeights = Literal["fixed", "fan_in"]


@dataclass(frozen=True, kw_only=True)
class DecoderDesign:
    """A decoder, down to its sizes.

    Attributes:
        vocabulary: tokens that the model knows.
        context: most tokens of a row.
        layers: blocks.
        width: numbers that represent a token between the blocks.
        heads: query heads.
        key_value_heads: heads of keys and values; each serves heads / key_value_heads query heads (Shazeer 2019,
            arXiv:1911.02150; Ainslie et al. 2023, arXiv:2305.13245).
        head_width: numbers per head.
        inner: width of the feed-forward layer.
        norm: layer normalisation, or division by the root mean square alone (Zhang & Sennrich 2019, arXiv:1910.07467).
        norm_epsilon: added to variance or mean square.
        positions: a learned vector each, rotated queries and keys, or a learned bias by distance.
        rotary_base: slowest rotation, as a power's base.
        activation: one up-projection with GELU, or two of which one gates the other.
        bias: biases in linear layers and layer norms.
        parallel: attention and feed-forward layer side by side on one norm, not one after the other.
        tied: the output layer is the table of tokens (Press & Wolf 2017, arXiv:1608.05859).
        logit_scale: factor on the logits.
        initial: standard deviation of fresh weights, fixed or by the number of inputs.
        dropout: share zeroed of embeddings, attention and layer outputs.
    """

    vocabulary: int
    context: int
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_width: int
    inner: int
    norm: Norm
    norm_epsilon: float
    positions: Positions
    activation: Activation
    bias: bool
    parallel: bool
    tied: bool
    dropout: float
    rotary_base: float = 10_000.0
    logit_scale: float = 1.0
    initial: InitialWeights = "fixed"
