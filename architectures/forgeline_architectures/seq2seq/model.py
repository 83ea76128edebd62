"""A recurrent encoder that reads a sequence in both directions, before the shared attention decoder."""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from forgeline_architectures.attention_decoder import CELLS, AttentionDecoder, DecoderState
from forgeline_architectures.beam_search import PADDING
from forgeline_architectures.seq2seq.config import Seq2SeqConfig
from forgeline_architectures.signature import Signature


class Seq2Seq(AttentionDecoder):
    """Bidirectional encoder, recurrent decoder, attention. `forward` takes `source`, `length` and `previous`."""

    def __init__(self, config: Seq2SeqConfig, signature: Signature) -> None:
        vocabulary = signature.outputs[0]
        super().__init__(
            vocabulary=vocabulary,
            limit=signature.inputs["previous"].shape[0],
            **config.model_dump(exclude={"name"}),
        )
        self.source = nn.Embedding(vocabulary, config.embedding, padding_idx=PADDING)
        self.encoder = CELLS[config.cell](
            config.embedding,
            config.hidden // 2,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=self.between,
        )

    def translate(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch limit"]:
        """The target that beam search finds for each source."""
        return self.search({name: batch[name] for name in ("source", "length")})

    def begin(self, batch: Mapping[str, Tensor]) -> DecoderState:
        """The source read to its end, and the decoder's first state."""
        states, ends, padding = self._encoded(batch)
        recurrent = tuple(torch.tanh(self.bridge(self._both_directions(end))) for end in ends)
        return DecoderState(recurrent, self.remembered(states, padding))

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch hidden"]:
        """Mean of the encoder's states over a source's tokens: an embedding of each source."""
        states, _, padding = self._encoded(batch)
        return (states * ~padding[..., None]).sum(1) / batch["length"][:, None]

    def _encoded(
        self, batch: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "batch source hidden"], tuple[Tensor, ...], Bool[Tensor, "batch source"]]:
        """States of each token, the last of each layer and direction, and where a source has no token."""
        tokens: Int[Tensor, "batch source"] = batch["source"]
        length: Int[Tensor, " batch"] = batch["length"]
        embedded = self.dropout(self.source(tokens))
        packed = pack_padded_sequence(embedded, length.cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.encoder(packed)
        states, _ = pad_packed_sequence(outputs, batch_first=True, total_length=tokens.shape[1])
        position = torch.arange(tokens.shape[1], device=tokens.device)
        return states, last if isinstance(last, tuple) else (last,), position >= length[:, None]

    def _both_directions(
        self, end: Float[Tensor, "layers_directions batch half"]
    ) -> Float[Tensor, "layers batch hidden"]:
        """The last states of the encoder's two directions joined, layer by layer."""
        by_layer = end.view(self.layers, 2, *end.shape[1:])
        return torch.cat([by_layer[:, 0], by_layer[:, 1]], dim=-1)


def build_model(config: Seq2SeqConfig, signature: Signature) -> Seq2Seq:
    """The model with fresh weights."""
    return Seq2Seq(config, signature)
