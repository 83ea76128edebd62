"""A recurrent decoder that looks back at something encoded by attention, whatever it was encoded from.

- The decoder scores what it looks at by its state after reading a token (Luong et al. 2015, section 3.1), with either
  score. Bahdanau et al. 2015 use the state before and feed the context into the cell; then a target cannot pass in one
  go.
- In training the decoder reads the true target, `previous` (teacher forcing, Williams & Zipser 1989): `forward` gives
  the logits of all its tokens. `translate` reads its own, by beam search.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from forgeline_architectures.beam_search import PADDING, beam_search

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
Recurrent = tuple[Tensor, ...]  # (hidden,) of a GRU, (hidden, cell) of an LSTM, each [layers, batch, hidden]


class Memory(NamedTuple):
    """What was encoded, in parts that the attention looks at: tokens of a source, cells of a picture.

    Attributes:
        states: [batch, parts, hidden].
        keys: [batch, parts, hidden], the states as the attention compares them.
        padding: [batch, parts], where there is nothing to look at.
    """

    states: Tensor
    keys: Tensor
    padding: Tensor


class DecoderState(NamedTuple):
    """Between two tokens of the target."""

    recurrent: Recurrent
    memory: Memory


class AdditiveAttention(nn.Module):
    """v^T tanh(W s + U h): Bahdanau et al. 2015 (arXiv:1409.0473), appendix A.1.2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(
        self, states: Float[Tensor, "batch target width"], keys: Float[Tensor, "batch parts width"]
    ) -> Float[Tensor, "batch target parts"]:
        together = torch.tanh(self.query(states)[:, :, None] + keys[:, None])  # [batch, target, parts, width]
        out: Tensor = self.score(together).squeeze(-1)
        return out


class DotAttention(nn.Module):
    """s^T h: Luong et al. 2015 (arXiv:1508.04025), equation 8, `dot`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Identity()

    def forward(
        self, states: Float[Tensor, "batch target width"], keys: Float[Tensor, "batch parts width"]
    ) -> Float[Tensor, "batch target parts"]:
        return states @ keys.transpose(1, 2)


ATTENTIONS: dict[str, type[AdditiveAttention] | type[DotAttention]] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
}


class AttentionDecoder(nn.Module):
    """Recurrent decoder with attention; a family adds what it encodes, in `begin`.

    Args:
        vocabulary: tokens of the target.
        limit: most tokens of a target, the end token counted.
        cell: `lstm` or `gru`.
        attention: `additive`, `dot` or `none`.
        embedding: numbers that represent a token.
        hidden: units of the state.
        layers: on top of each other.
        dropout: share zeroed of embeddings, between layers and before the last layer.
        beams: beginnings that the search keeps.
        length_penalty: exponent by which longer targets are preferred.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        limit: int,
        cell: str,
        attention: str,
        embedding: int,
        hidden: int,
        layers: int,
        dropout: float,
        beams: int,
        length_penalty: float,
    ) -> None:
        super().__init__()
        self.limit, self.beams, self.length_penalty = limit, beams, length_penalty
        self.layers = layers
        self.between = dropout if layers > 1 else 0.0
        self.target = nn.Embedding(vocabulary, embedding, padding_idx=PADDING)
        self.decoder = CELLS[cell](embedding, hidden, layers, batch_first=True, dropout=self.between)
        # The first state of each layer from what was encoded: Bahdanau et al. 2015, appendix A.2.2.
        self.bridge = nn.Linear(hidden, hidden)
        self.attention = None if attention == "none" else ATTENTIONS[attention](hidden)
        self.joined = None if self.attention is None else nn.Linear(2 * hidden, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, vocabulary)

    @abstractmethod
    def begin(self, batch: Mapping[str, Tensor]) -> DecoderState:
        """What is to be described, encoded, and the decoder's first state."""
        raise NotImplementedError

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch target vocabulary"]:
        logits, _ = self.decoded(batch["previous"], self.begin(batch))
        return logits

    def search(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch limit"]:
        """The target that beam search finds for each row, with its end token, filled up with padding."""
        return beam_search(self, batch, limit=self.limit, beams=self.beams, length_penalty=self.length_penalty)

    def remembered(self, states: Float[Tensor, "batch parts hidden"], padding: Bool[Tensor, "batch parts"]) -> Memory:
        """Encoded parts with the keys by which the attention finds them."""
        keys = states if self.attention is None else self.attention.key(states)
        return Memory(states, keys, padding)

    def decoded(
        self, tokens: Int[Tensor, "batch target"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch target vocabulary"], DecoderState]:
        """Logits after each of some more tokens of the target, and the state after the last."""
        recurrent = state.recurrent if len(state.recurrent) > 1 else state.recurrent[0]
        states, after = self.decoder(self.dropout(self.target(tokens)), recurrent)
        if self.attention is not None and self.joined is not None:
            context = self.weights(states, state.memory) @ state.memory.states
            # h~ = tanh(W [c; h]): Luong et al. 2015, equation 5.
            states = torch.tanh(self.joined(torch.cat([context, states], dim=-1)))
        logits = self.head(self.dropout(states))
        return logits, DecoderState(after if isinstance(after, tuple) else (after,), state.memory)

    def weights(
        self, states: Float[Tensor, "batch target hidden"], memory: Memory
    ) -> Float[Tensor, "batch target parts"]:
        """How much of each part every target token takes; rows sum to 1, padding has 0."""
        if self.attention is None:
            raise ValueError("the model has no attention; set architecture.attention to additive or dot")
        scores = self.attention(states, memory.keys).masked_fill(memory.padding[:, None], -math.inf)
        weights: Tensor = scores.softmax(-1)
        return weights

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecoderState]:
        """Logits after one more token of each target."""
        logits, after = self.decoded(tokens[:, None], state)
        return logits[:, 0], after

    def select(self, state: DecoderState, rows: Int[Tensor, " chosen"]) -> DecoderState:
        """The states of some rows."""
        memory = Memory(*(part.index_select(0, rows) for part in state.memory))
        return DecoderState(tuple(part.index_select(1, rows) for part in state.recurrent), memory)
