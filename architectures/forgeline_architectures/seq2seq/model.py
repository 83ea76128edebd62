"""A recurrent encoder-decoder with attention.

- The decoder scores the source by its state after reading a token (Luong et al. 2015, section 3.1), with either score.
  Bahdanau et al. 2015 use the state before and feed the context into the cell; then a target cannot pass in one go.
- In training the decoder reads the true target, `previous` (teacher forcing, Williams & Zipser 1989): `forward` gives
  the logits of all its tokens. `translate` reads its own, by beam search.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from forgeline_architectures.beam_search import PADDING, beam_search
from forgeline_architectures.seq2seq.config import Seq2SeqConfig
from forgeline_architectures.signature import Signature

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
Recurrent = tuple[Tensor, ...]  # (hidden,) of a GRU, (hidden, cell) of an LSTM, each [layers, batch, hidden]


class Memory(NamedTuple):
    """The encoded source.

    Attributes:
        states: [batch, source, hidden], after reading each token in both directions.
        keys: [batch, source, hidden], the states as the attention compares them.
        padding: [batch, source], where there is no token.
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
        self, states: Float[Tensor, "batch target width"], keys: Float[Tensor, "batch source width"]
    ) -> Float[Tensor, "batch target source"]:
        together = torch.tanh(self.query(states)[:, :, None] + keys[:, None])  # [batch, target, source, width]
        out: Tensor = self.score(together).squeeze(-1)
        return out


class DotAttention(nn.Module):
    """s^T h: Luong et al. 2015 (arXiv:1508.04025), equation 8, `dot`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Identity()

    def forward(
        self, states: Float[Tensor, "batch target width"], keys: Float[Tensor, "batch source width"]
    ) -> Float[Tensor, "batch target source"]:
        return states @ keys.transpose(1, 2)


ATTENTIONS: dict[str, type[AdditiveAttention] | type[DotAttention]] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
}


class Seq2Seq(nn.Module):
    """Bidirectional encoder, recurrent decoder, attention. `forward` takes `source`, `length` and `previous`."""

    def __init__(self, config: Seq2SeqConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.limit = signature.inputs["previous"].shape[0]
        vocabulary, width = signature.outputs[0], config.hidden
        between = config.dropout if config.layers > 1 else 0.0
        cell = CELLS[config.cell]
        self.source = nn.Embedding(vocabulary, config.embedding, padding_idx=PADDING)
        self.target = nn.Embedding(vocabulary, config.embedding, padding_idx=PADDING)
        self.encoder = cell(
            config.embedding, width // 2, config.layers, batch_first=True, bidirectional=True, dropout=between
        )
        self.decoder = cell(config.embedding, width, config.layers, batch_first=True, dropout=between)
        # The first state of each layer from the encoder's last ones: Bahdanau et al. 2015, appendix A.2.2.
        self.bridge = nn.Linear(width, width)
        self.attention = None if config.attention == "none" else ATTENTIONS[config.attention](width)
        self.joined = None if self.attention is None else nn.Linear(2 * width, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, vocabulary)

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
        """The source read to its end, and the decoder's first state."""
        tokens: Int[Tensor, "batch source"] = batch["source"]
        length: Int[Tensor, " batch"] = batch["length"]
        embedded = self.dropout(self.source(tokens))
        packed = pack_padded_sequence(embedded, length.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])
        ends = last if isinstance(last, tuple) else (last,)
        recurrent = tuple(torch.tanh(self.bridge(self._both_directions(end))) for end in ends)
        position = torch.arange(tokens.shape[1], device=tokens.device)
        padding: Bool[Tensor, "batch source"] = position >= length[:, None]
        keys = states if self.attention is None else self.attention.key(states)
        return DecoderState(recurrent, Memory(states, keys, padding))

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
    ) -> Float[Tensor, "batch target source"]:
        """How much of each source token every target token takes; rows sum to 1, padding has 0."""
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

    def _both_directions(
        self, end: Float[Tensor, "layers_directions batch half"]
    ) -> Float[Tensor, "layers batch hidden"]:
        """The last states of the encoder's two directions joined, layer by layer."""
        by_layer = end.view(self.config.layers, 2, *end.shape[1:])
        return torch.cat([by_layer[:, 0], by_layer[:, 1]], dim=-1)


def build_model(config: Seq2SeqConfig, signature: Signature) -> Seq2Seq:
    """The model with fresh weights."""
    return Seq2Seq(config, signature)
