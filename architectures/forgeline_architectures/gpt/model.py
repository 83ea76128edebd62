"""GPT-2's decoder: learned positions, normalisation before each layer, fused attention, tied embeddings.

Unusual: rows may be packed with several documents (`segments`); attention stays within a document and positions start
anew in each, so that a packed row gives the very logits of its documents alone. The output layer has no weight of its
own, so a state dict never holds one tensor twice.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.generation import Cache, Sampling, generate
from forgeline_architectures.gpt.config import GPTConfig
from forgeline_architectures.signature import Signature

# Standard deviation of initial weights: Radford et al. 2018 (GPT), section 4.1, kept by GPT-2.
INITIAL_STD = 0.02
# Width of the feed-forward layer as a multiple of the model's: Vaswani et al. 2017 (arXiv:1706.03762), section 3.3.
FEED_FORWARD_FACTOR = 4

# transformers' names of a block's layers. Its Conv1D keeps weights transposed: (in, out) where Linear has (out, in).
GPT2_BLOCK_NAMES = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}
GPT2_NAMES = {"tokens.weight": "wte.weight", "positions.weight": "wpe.weight", "norm": "ln_f"}


class Attention(nn.Module):
    """Causal self-attention with queries, keys and values from one matrix."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.out = nn.Linear(config.width, config.width, bias=config.bias)
        self.out_dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        mask: Bool[Tensor, "#batch 1 time keys"] | None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch time width"]:
        batch, time, width = x.shape
        qkv = self.qkv(x).view(batch, time, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [batch, heads, time, head width]
        if cache is not None:
            key, value = cache.extended(layer, key, value)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and time > 1,
        )
        joined = attended.transpose(1, 2).reshape(batch, time, width)
        out: Tensor = self.out_dropout(self.out(joined))
        return out


class FeedForward(nn.Module):
    """Two linear layers around the tanh form of GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        inner = FEED_FORWARD_FACTOR * config.width
        self.up = nn.Linear(config.width, inner, bias=config.bias)
        self.down = nn.Linear(inner, config.width, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        out: Tensor = self.dropout(self.down(F.gelu(self.up(x), approximate="tanh")))
        return out


class Block(nn.Module):
    """Attention and feed-forward layer, each on normalised input and added to what came in."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        mask: Bool[Tensor, "#batch 1 time keys"] | None,
        cache: Cache | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch time width"]:
        x = x + self.attention(self.attention_norm(x), mask, cache, layer)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out


class GPT(nn.Module):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: GPTConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.context = config.context or signature.inputs["tokens"].shape[0]
        self.vocabulary = signature.outputs[0]
        self.tokens = nn.Embedding(self.vocabulary, config.width)
        self.positions = nn.Embedding(self.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
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
            return self._decoded(tokens, self.positions.weight[:time], None)
        return self._decoded(tokens, self.positions(segment_positions(segments)), segment_mask(segments))

    def logits(self, hidden: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows vocabulary"]:
        """Scores of the next token; the output layer is the table of tokens (Press & Wolf 2017, arXiv:1608.05859)."""
        return F.linear(hidden, self.tokens.weight)

    def new_cache(self, padding: Int[Tensor, " batch"]) -> Cache:
        """An empty cache for rows that begin with so many padding tokens."""
        return Cache(
            layers=self.config.layers,
            heads=self.config.heads,
            head_width=self.config.width // self.config.heads,
            context=self.context,
            padding=padding,
            dtype=self.tokens.weight.dtype,
        )

    def step(self, tokens: Int[Tensor, "batch time"], cache: Cache) -> Float[Tensor, "batch vocabulary"]:
        """Logits after the last of some more tokens, whose keys and values are added to the cache."""
        positions, mask = cache.positions(tokens.shape[1]), cache.mask(tokens.shape[1])
        hidden = self._decoded(tokens, self.positions(positions), mask, cache)
        cache.length += tokens.shape[1]
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
        chosen = sampling if isinstance(sampling, Sampling) else Sampling(**(sampling or {}))
        return generate(self, prompts, max_tokens=max_tokens, sampling=chosen)

    def _decoded(
        self,
        tokens: Int[Tensor, "batch time"],
        positions: Float[Tensor, "*batch time width"],
        mask: Bool[Tensor, "#batch 1 time keys"] | None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch time width"]:
        x = self.dropout(self.tokens(tokens) + positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, cache, layer)
        out: Tensor = self.norm(x)
        return out

    def _initialise(self) -> None:
        """GPT-2's initial weights.

        Layers that write to the residual stream start smaller by 1/sqrt(2 layers), since so many of them add up
        (Radford et al. 2019, section 2.3).
        """
        residual_std = INITIAL_STD / math.sqrt(2 * self.config.layers)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                writes_to_stream = name.endswith(("attention.out", "feed_forward.down"))
                nn.init.normal_(module.weight, std=residual_std if writes_to_stream else INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


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


def load_gpt2(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of transformers' GPT2LMHeadModel or GPT2Model.

    Raises:
        ValueError: a weight is missing or has another shape than the model's.
    """
    source = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    own = model.state_dict()
    for name, tensor in own.items():
        theirs = _gpt2_name(name)
        weight = source.get(theirs)
        if weight is not None and weight.ndim == 2 and name.startswith("blocks."):
            weight = weight.t()
        if name == "tokens.weight" and weight is not None and len(weight) != len(tensor):
            raise ValueError(
                f"the GPT-2 weights know {len(weight)} tokens, the data have a vocabulary of {len(tensor)}; "
                "change data.tokenizer, data.vocabulary or architecture.pretrained"
            )
        if weight is None or weight.shape != tensor.shape:
            got = "is missing" if weight is None else f"has the shape {tuple(weight.shape)}"
            raise ValueError(
                f"GPT-2 weight {theirs} {got}, the model needs {tuple(tensor.shape)}; "
                "change layers, width, context or bias of the architecture, or architecture.pretrained"
            )
        tensor.copy_(weight)


def _gpt2_name(name: str) -> str:
    if not name.startswith("blocks."):
        layer, _, kind = name.rpartition(".")
        return GPT2_NAMES.get(name) or f"{GPT2_NAMES[layer]}.{kind}"
    _, index, rest = name.split(".", 2)
    layer, _, kind = rest.rpartition(".")
    return f"h.{index}.{GPT2_BLOCK_NAMES[layer]}.{kind}"


def build_model(config: GPTConfig, signature: Signature) -> GPT:
    """The model with fresh weights."""
    return GPT(config, signature)


def build_pretrained(config: GPTConfig, signature: Signature) -> GPT:
    """The model with the GPT-2 weights of the config's file.

    Raises:
        ValueError: the file cannot be read, or its weights do not fit.
    """
    from safetensors.torch import load_file

    model, path = GPT(config, signature), config.pretrained
    assert path is not None
    try:
        state: dict[str, Any] = load_file(path)
    except Exception as error:
        raise ValueError(
            f"{path!r} is not a readable .safetensors file: {error}; change architecture.pretrained"
        ) from error
    load_gpt2(model, state)
    return model
