"""The feed-forward layer: GELU between two linear layers, or a gated up-projection."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.decoder.design import Activation, DecoderDesign


class FeedForward(nn.Module):
    """Up, activation, down.

    GELU is its tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2). A gated one (Shazeer 2020,
    arXiv:2002.05202, equation 6) is down(activation(gate(x)) * up(x)); gate and up are the two halves of one matrix.
    """

    def __init__(self, design: DecoderDesign) -> None:
        super().__init__()
        self.activation: Activation = design.activation
        projections = 1 if design.activation == "gelu" else 2
        self.up = nn.Linear(design.width, projections * design.inner, bias=design.bias)
        self.down = nn.Linear(design.inner, design.width, bias=design.bias)
        self.dropout = nn.Dropout(design.dropout)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        out: Tensor = self.dropout(self.down(self._activated(self.up(x))))
        return out

    def _activated(self, x: Float[Tensor, "batch time projected"]) -> Float[Tensor, "batch time inner"]:
        if self.activation == "gelu":
            return F.gelu(x, approximate="tanh")
        gate, up = x.chunk(2, dim=-1)
        return (F.silu(gate) if self.activation == "swiglu" else F.gelu(gate, approximate="tanh")) * up
