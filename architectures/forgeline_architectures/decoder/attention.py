"""Causal self-attention, fused, with as many heads of keys and values as the design says."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.decoder.positions import Rotation
from forgeline_architectures.generation import Cache


class Attention(nn.Module):
    """Queries, keys and values from one matrix: rows of all query heads, then of the keys, then of the values."""

    def __init__(self, design: DecoderDesign) -> None:
        super().__init__()
        self.heads = design.heads
        self.key_value_heads = design.key_value_heads
        self.head_width = design.head_width
        self.dropout = design.dropout
        rows = (design.heads + 2 * design.key_value_heads) * design.head_width
        self.qkv = nn.Linear(design.width, rows, bias=design.bias)
        self.out = nn.Linear(design.heads * design.head_width, design.width, bias=design.bias)
        self.out_dropout = nn.Dropout(design.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        mask: Shaped[Tensor, "#batch #heads time keys"] | None,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch time width"]:
        """Attend.

        Args:
            x: normalised states.
            mask: True where a token may look, or what is added to the logits; None for plainly causal.
            rotation: of queries and keys, where positions are rotary.
            cache: keys and values of earlier tokens; the new ones are added to it.
            layer: the block's place in the cache.
        """
        batch, time, _ = x.shape
        heads = self.qkv(x).view(batch, time, -1, self.head_width).transpose(1, 2)
        turned, value = heads.split((self.heads + self.key_value_heads, self.key_value_heads), dim=1)
        if rotation is not None:
            turned = rotation(turned)
        query, key = turned.split((self.heads, self.key_value_heads), dim=1)  # each [batch, heads, time, head width]
        if cache is not None:
            key, value = cache.extended(layer, key, value)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and time > 1,
            enable_gqa=self.heads != self.key_value_heads,
        )
        joined = attended.transpose(1, 2).reshape(batch, time, self.heads * self.head_width)
        out: Tensor = self.out_dropout(self.out(joined))
        return out
