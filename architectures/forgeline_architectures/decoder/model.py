"""The decoder: table of tokens, blocks, last norm, output layer.

Unusual: rows may be packed with several documents (`segments`); attention stays within a document and positions start
anew in each, so that a packed row gives the very logits of its documents alone. A tied output layer has no weight of
its own, so a state dict never holds one tensor twice. Rotations are computed in each pass: a stored table would be
one more buffer to move, for a few microseconds.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.decoder.attention import Attention
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.decoder.feed_forward import FeedForward
from forgeline_architectures.decoder.positions import RelativeBias, Rotation, segment_mask, segment_positions
from forgeline_architectures.generation import Cache, Sampling, generate, stream

# Standard deviation of initial weights: Radford et al. 2018 (GPT), section 4.1, kept by GPT-2 and LLaMA's code.
INITIAL_STD = 0.02


def build_norm(design: DecoderDesign) -> nn.Module:
    """A fresh norm over the width."""
    if design.norm == "rms":
        return nn.RMSNorm(design.width, eps=design.norm_epsilon)
    return nn.LayerNorm(design.width, eps=design.norm_epsilon, bias=design.bias)


class Block(nn.Module):
    """Attention and feed-forward layer on normalised input, added to what came in: in turn, or both at once."""

    def __init__(self, design: DecoderDesign) -> None:
        super().__init__()
        self.attention_norm = build_norm(design)
        self.attention = Attention(design)
        self.feed_forward_norm = None if design.parallel else build_norm(design)
        self.feed_forward = FeedForward(design)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        mask: Shaped[Tensor, "#batch #heads time keys"] | None,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch time width"]:
        normed = self.attention_norm(x)
        attended: Tensor = x + self.attention(normed, mask, rotation, cache, layer)
        out: Tensor
        if self.feed_forward_norm is None:
            out = attended + self.feed_forward(normed)
        else:
            out = attended + self.feed_forward(self.feed_forward_norm(attended))
        return out


class DecoderModel(nn.Module):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, design: DecoderDesign) -> None:
        super().__init__()
        self.design = design
        self.context = design.context
        self.vocabulary = design.vocabulary
        self.tokens = nn.Embedding(design.vocabulary, design.width)
        self.positions = nn.Embedding(design.context, design.width) if design.positions == "learned" else None
        self.relative = RelativeBias(design.heads) if design.positions == "relative" else None
        self.dropout = nn.Dropout(design.dropout)
        self.blocks = nn.ModuleList(Block(design) for _ in range(design.layers))
        self.norm = build_norm(design)
        self.output = None if design.tied else nn.Linear(design.width, design.vocabulary, bias=False)
        self._initialise()

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch time vocabulary"]:
        return self.logits(self.hidden(batch))

    def hidden(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch time width"]:
        """Last hidden states, before the output layer."""
        tokens: Int[Tensor, "batch time"] = batch["tokens"]
        time = tokens.shape[1]
        if time > self.context:
            raise ValueError(f"a row has {time} tokens and the model a context of {self.context}; change data.context")
        segments = batch.get("segments")
        if segments is None:
            return self._decoded(tokens, None, None)
        return self._decoded(tokens, segment_positions(segments), segment_mask(segments))

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """Mean of the last hidden states over a text's tokens, up to its `length`: an embedding of each text."""
        hidden = self.hidden(batch)
        length = batch.get("length")
        if length is None:
            return hidden.mean(1)
        inside: Bool[Tensor, "batch time"] = torch.arange(hidden.shape[1], device=hidden.device) < length[:, None]
        return (hidden * inside[..., None]).sum(1) / length[:, None]

    def logits(self, hidden: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows vocabulary"]:
        """Scores of the next token."""
        if self.design.logit_scale != 1.0:
            hidden = hidden * self.design.logit_scale
        return F.linear(hidden, self.tokens.weight if self.output is None else self.output.weight)

    def new_cache(self, padding: Int[Tensor, " batch"]) -> Cache:
        """An empty cache for rows that begin with so many padding tokens."""
        return Cache(
            layers=self.design.layers,
            heads=self.design.key_value_heads,
            head_width=self.design.head_width,
            context=self.context,
            padding=padding,
            dtype=self.tokens.weight.dtype,
        )

    def step(self, tokens: Int[Tensor, "batch time"], cache: Cache) -> Float[Tensor, "batch vocabulary"]:
        """Logits after the last of some more tokens, whose keys and values are added to the cache."""
        time = tokens.shape[1]
        hidden = self._decoded(tokens, cache.positions(time), cache.mask(time), cache)
        cache.length += time
        return self.logits(hidden[:, -1])

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling | Mapping[str, Any] | None = None,
    ) -> list[list[int]]:
        """New tokens for each prompt; see `forgeline_architectures.generation.generate`.

        `sampling` may be a mapping of the fields of `Sampling`, for callers that do not import this package.
        """
        return generate(self, prompts, max_tokens=max_tokens, sampling=Sampling.of(sampling))

    def stream(
        self, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling | Mapping[str, Any] | None = None
    ) -> Iterator[int]:
        """The tokens of `generate` for one prompt, each as it is drawn."""
        return stream(self, prompt, max_tokens=max_tokens, sampling=Sampling.of(sampling))

    def _decoded(
        self,
        tokens: Int[Tensor, "batch time"],
        positions: Int[Tensor, "batch time"] | None,
        mask: Bool[Tensor, "#batch 1 time keys"] | None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        """Last hidden states of tokens at these positions; None for 0, 1, 2, …"""
        time = tokens.shape[1]
        x = self.tokens(tokens)
        if self.positions is not None:
            x = x + (self.positions.weight[:time] if positions is None else self.positions(positions))
        x = self.dropout(x)
        rotation = None
        if self.design.positions == "rotary":
            places = torch.arange(time, device=tokens.device)[None] if positions is None else positions
            rotation = Rotation.at(places, self.design.head_width, self.design.rotary_base, x.dtype)
        weights: Tensor | None = mask
        if self.relative is not None:
            weights = self.relative.between(0 if cache is None else cache.length, time, mask).to(x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, weights, rotation, cache, layer)
        out: Tensor = self.norm(x)
        return out

    def _initialise(self) -> None:
        """Fresh weights.

        `fixed` is GPT-2's: layers that write to the residual stream start smaller by 1/sqrt(2 layers), since so many
        of them add up (Radford et al. 2019, section 2.3). `fan_in` is PaLM's: kernels by 1/sqrt(inputs), tokens by 1
        (Chowdhery et al. 2022, section 5, "Weight initialization").
        """
        residual_std = INITIAL_STD / math.sqrt(2 * self.design.layers)
        for name, module in self.named_modules():
            if not isinstance(module, nn.Linear | nn.Embedding):
                continue
            if self.design.initial == "fan_in":
                std = 1.0 if module is self.tokens else module.weight.shape[1] ** -0.5
            else:
                std = residual_std if name.endswith(("attention.out", "feed_forward.down")) else INITIAL_STD
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
