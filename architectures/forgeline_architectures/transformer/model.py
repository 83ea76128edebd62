"""The Transformer of Vaswani et al. 2017 (arXiv:1706.03762), with a cache for writing token by token.

- Encoder and decoder end in a layer norm, as torch.nn.Transformer's do; the paper's end in that of the last layer.
- In training the decoder reads the true target, `previous`: `forward` gives the logits of all its tokens. `translate`
  reads its own, by beam search; a layer then keeps the keys and values of what it has read.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import beam_search
from forgeline_architectures.signature import Signature
from forgeline_architectures.transformer.config import TransformerConfig

SLOWEST_WAVE = 10_000.0  # section 3.5


class KeysValues(NamedTuple):
    """What an attention looks at, each [batch, heads, tokens, width / heads]."""

    keys: Tensor
    values: Tensor


class LayerState(NamedTuple):
    """Of one decoder layer: the source as it sees it, and the target that it has read."""

    source: KeysValues
    target: KeysValues


class DecoderState(NamedTuple):
    """Between two tokens of the target.

    Attributes:
        layers: one each.
        visible: [batch, 1, 1, source], where the source has a token.
    """

    layers: tuple[LayerState, ...]
    visible: Tensor

    @property
    def read(self) -> int:
        """Tokens of the target that were read."""
        return self.layers[0].target.keys.shape[2]


class Attention(nn.Module):
    """Multi-head attention (section 3.2.2): queries from one sequence, keys and values from the same or another."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def seen(self, x: Float[Tensor, "batch tokens width"]) -> KeysValues:
        """Keys and values of a sequence."""
        keys, values = self.key_value(x).chunk(2, dim=-1)
        return KeysValues(self._split(keys), self._split(values))

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        seen: KeysValues,
        mask: Bool[Tensor, "#batch 1 #tokens keys"] | None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Args:
        x: what the queries are made from.
        seen: what is looked at.
        mask: True where a token may look; None for everywhere.
        """
        dropout = self.dropout if self.training else 0.0
        looked = F.scaled_dot_product_attention(
            self._split(self.query(x)), seen.keys, seen.values, attn_mask=mask, dropout_p=dropout
        )
        out: Tensor = self.out(looked.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch heads tokens head_width"]:
        split: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split


class FeedForward(nn.Sequential):
    """max(0, x W1 + b1) W2 + b2, section 3.3."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(
            nn.Linear(config.width, config.feed_forward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feed_forward, config.width),
        )


class Residual(nn.Module):
    """The sum around a layer, with its norm and dropout.

    Layer normalisation after the sum is section 3.1's; before the layer, Xiong et al. 2020's (arXiv:2002.04745).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.before = config.norm == "before"
        self.dropout = nn.Dropout(config.dropout)

    def entering(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """What the layer reads."""
        out: Tensor = self.norm(x) if self.before else x
        return out

    def forward(
        self, x: Float[Tensor, "batch tokens width"], out: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """`x` with the layer's output added."""
        total: Tensor = x + self.dropout(out)
        normed: Tensor = total if self.before else self.norm(total)
        return normed


class EncoderLayer(nn.Module):
    """Attention within the source, then the feed-forward layer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(config), Residual(config)
        self.feed_forward, self.around_feed_forward = FeedForward(config), Residual(config)

    def forward(
        self, x: Float[Tensor, "batch source width"], visible: Bool[Tensor, "batch 1 1 source"]
    ) -> Float[Tensor, "batch source width"]:
        entering = self.around_attention.entering(x)
        x = self.around_attention(x, self.attention(entering, self.attention.seen(entering), visible))
        out: Tensor = self.around_feed_forward(x, self.feed_forward(self.around_feed_forward.entering(x)))
        return out


class DecoderLayer(nn.Module):
    """Attention within the target so far, attention to the source, then the feed-forward layer.

    Attributes:
        called: methods that are called besides `forward`: where its weights are shared out, they are fetched for these.
    """

    called: ClassVar[tuple[str, ...]] = ("begin",)

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention, self.around_attention = Attention(config), Residual(config)
        self.source_attention, self.around_source_attention = Attention(config), Residual(config)
        self.feed_forward, self.around_feed_forward = FeedForward(config), Residual(config)

    def begin(self, memory: Float[Tensor, "batch source width"]) -> LayerState:
        """Nothing read yet."""
        source = self.source_attention.seen(memory)
        return LayerState(source, KeysValues(*(part[:, :, :0] for part in source)))

    def forward(
        self,
        x: Float[Tensor, "batch target width"],
        state: LayerState,
        visible: Bool[Tensor, "batch 1 1 source"],
        causal: Bool[Tensor, "1 1 target keys"],
    ) -> tuple[Float[Tensor, "batch target width"], LayerState]:
        """More tokens of the target; the state after them."""
        entering = self.around_attention.entering(x)
        newest = self.attention.seen(entering)
        target = KeysValues(*(torch.cat(pair, dim=2) for pair in zip(state.target, newest, strict=True)))
        x = self.around_attention(x, self.attention(entering, target, causal))
        entering = self.around_source_attention.entering(x)
        x = self.around_source_attention(x, self.source_attention(entering, state.source, visible))
        x = self.around_feed_forward(x, self.feed_forward(self.around_feed_forward.entering(x)))
        return x, LayerState(state.source, target)


class Transformer(nn.Module):
    """Encoder, decoder, search. `forward` takes `source`, `length` and `previous`."""

    waves: Tensor

    def __init__(self, config: TransformerConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.limit = signature.inputs["previous"].shape[0]
        longest = max(self.limit, signature.inputs["source"].shape[0])
        vocabulary, width = signature.outputs[0], config.width
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.source = nn.Embedding(vocabulary, width)
        # Shared tables have one name, so that a state dict never holds one tensor twice.
        self.target = None if config.shared else nn.Embedding(vocabulary, width)
        self.head = None if config.shared else nn.Linear(width, vocabulary, bias=False)
        self.places = nn.Embedding(longest, width) if config.positions == "learned" else None
        self.register_buffer("waves", sinusoids(longest, width), persistent=False)
        self.apply(_initialise)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch target vocabulary"]:
        logits, _ = self.decoded(batch["previous"], self.begin(batch))
        return logits

    def translate(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch limit"]:
        """The target that beam search finds for each source, with its end token, filled up with padding."""
        sources = {name: batch[name] for name in ("source", "length")}
        return beam_search(
            self, sources, limit=self.limit, beams=self.config.beams, length_penalty=self.config.length_penalty
        )

    def begin(self, batch: Mapping[str, Tensor]) -> DecoderState:
        """The source read, and nothing of the target."""
        memory, inside = self._encoded(batch)
        visible = inside[:, None, None]
        return DecoderState(tuple(layer.begin(memory) for layer in self._decoder_layers()), visible)

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """Mean of the encoder's states over a source's tokens: an embedding of each source."""
        memory, inside = self._encoded(batch)
        return (memory * inside[..., None]).sum(1) / batch["length"][:, None]

    def _encoded(
        self, batch: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "batch source width"], Bool[Tensor, "batch source"]]:
        """The source read, and where it has a token."""
        tokens: Int[Tensor, "batch source"] = batch["source"]
        inside = torch.arange(tokens.shape[1], device=tokens.device) < batch["length"][:, None]
        x = self._embedded(self.source, tokens, start=0)
        for layer in self.encoder:
            x = layer(x, inside[:, None, None])
        return self.encoder_norm(x), inside

    def decoded(
        self, tokens: Int[Tensor, "batch target"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch target vocabulary"], DecoderState]:
        """Logits after each of some more tokens of the target, and the state after the last."""
        x = self._embedded(self.target or self.source, tokens, start=state.read)
        queries = torch.arange(state.read, state.read + tokens.shape[1], device=tokens.device)
        causal = (torch.arange(len(queries) + state.read, device=tokens.device) <= queries[:, None])[None, None]
        layers = []
        for layer, before in zip(self._decoder_layers(), state.layers, strict=True):
            x, after = layer(x, before, state.visible, causal)
            layers.append(after)
        weight = self.source.weight if self.head is None else self.head.weight
        return F.linear(self.decoder_norm(x), weight), DecoderState(tuple(layers), state.visible)

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecoderState]:
        """Logits after one more token of each target."""
        logits, after = self.decoded(tokens[:, None], state)
        return logits[:, 0], after

    def select(self, state: DecoderState, rows: Int[Tensor, " chosen"]) -> DecoderState:
        """The states of some rows."""

        def chosen(seen: KeysValues) -> KeysValues:
            return KeysValues(*(part.index_select(0, rows) for part in seen))

        layers = tuple(LayerState(chosen(layer.source), chosen(layer.target)) for layer in state.layers)
        return DecoderState(layers, state.visible.index_select(0, rows))

    def _decoder_layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.decoder if isinstance(layer, DecoderLayer)]

    def _embedded(
        self, table: nn.Embedding, tokens: Int[Tensor, "batch tokens"], *, start: int
    ) -> Float[Tensor, "batch tokens width"]:
        """Tokens from place `start` on: embeddings times the root of the width (section 3.4), and their places."""
        stop = start + tokens.shape[1]
        places = self.waves[start:stop] if self.places is None else self.places.weight[start:stop]
        out: Tensor = self.dropout(table(tokens) * math.sqrt(self.config.width) + places)
        return out


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """sin(place / 10000^(2i / width)) in the even columns, the cosine in the odd ones: section 3.5."""
    place = torch.arange(length, dtype=torch.float32)[:, None]
    angles = place * SLOWEST_WAVE ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _initialise(module: nn.Module) -> None:
    """Glorot's weights for the layers, as torch.nn.Transformer has them; embeddings of length about 1.

    Embeddings: standard deviation width^-0.5, as in the paper's published code.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, Attention):
        # The three projections count as one matrix, as in torch.nn.MultiheadAttention.
        width = module.query.in_features
        bound = math.sqrt(6.0 / (4 * width))
        for layer in (module.query, module.key_value):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(module.out.weight)
        nn.init.zeros_(module.out.bias)
    elif isinstance(module, FeedForward):
        for dense in module:
            if isinstance(dense, nn.Linear):
                nn.init.xavier_uniform_(dense.weight)
                nn.init.zeros_(dense.bias)


def build_model(config: TransformerConfig, signature: Signature) -> Transformer:
    """The model with fresh weights."""
    return Transformer(config, signature)
