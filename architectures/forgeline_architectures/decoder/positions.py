"""Where a token stands: within its document, as a rotation of queries and keys, or as a bias by distance."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

# Raffel et al. 2020 (arXiv:1910.10683), section 2.1: 32 embeddings for distances up to 128, shared beyond.
RELATIVE_BUCKETS = 32
RELATIVE_DISTANCE = 128


def segment_positions(segments: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
    """Position of each token within its own document."""
    index = torch.arange(segments.shape[1], device=segments.device)
    starts = torch.zeros_like(segments)
    starts[:, 1:] = torch.where(segments[:, 1:] != segments[:, :-1], index[1:], 0)
    return index - starts.cummax(dim=1).values


def segment_mask(segments: Int[Tensor, "batch time"]) -> Bool[Tensor, "batch 1 time time"]:
    """True where a token (row) may look at a token (column): earlier or itself, of its own document."""
    same = segments[:, :, None] == segments[:, None, :]
    return same.tril().unsqueeze(1)


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines [#batch, 1, time, head width / 2] of rotary positions (Su et al. 2021, arXiv:2104.09864).

    The pairs that are rotated together are numbers i and i + head width / 2, as in GPT-NeoX and transformers, not
    neighbours as in the paper's equation 34: the two differ by an order of the columns of the query and key weights.
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def at(cls, positions: Int[Tensor, "#batch time"], head_width: int, base: float, dtype: torch.dtype) -> Rotation:
        """Angles position * base^(-2i / head width), equation 15; in float32, since positions can be large."""
        index = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32)
        angles = positions[:, None, :, None].float() * base ** (-index / head_width)
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))

    def __call__(self, x: Float[Tensor, "batch heads time width"]) -> Float[Tensor, "batch heads time width"]:
        """Queries or keys, rotated."""
        first, second = x.chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class RelativeBias(nn.Embedding):
    """A learned number per head and bucket of distances, added to the attention's logits (T5, section 2.1)."""

    def __init__(self, heads: int) -> None:
        super().__init__(RELATIVE_BUCKETS, heads)

    def between(
        self, start: int, time: int, mask: Bool[Tensor, "#batch 1 time keys"] | None
    ) -> Float[Tensor, "#batch heads time keys"]:
        """Bias of `time` tokens from `start` on towards all tokens up to the last of them; -inf where none may look.

        Args:
            start: tokens that were read before.
            time: new tokens.
            mask: who may look at whom; None for everything that is not in the future.
        """
        queries = torch.arange(start, start + time, device=self.weight.device)[:, None]
        keys = torch.arange(start + time, device=self.weight.device)[None, :]
        visible = keys <= queries if mask is None else mask
        bias: Tensor = self(distance_buckets((queries - keys).clamp(min=0)))
        return bias.permute(2, 0, 1)[None].masked_fill(~visible, -torch.inf)


def distance_buckets(distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Bucket of each distance into the past: one each for the nearest half, then growing by a constant factor.

    As in T5's published code with `bidirectional=False`, its logarithm in float32 included.
    """
    exact = RELATIVE_BUCKETS // 2
    growth = torch.log(distance.float().clamp(min=1) / exact) / math.log(RELATIVE_DISTANCE / exact)
    far = exact + (growth * (RELATIVE_BUCKETS - exact)).long()
    return torch.where(distance < exact, distance, far.clamp(max=RELATIVE_BUCKETS - 1))
