"""transformers' T5 with beam search of our own, and its weights to and from transformers' checkpoints.

- The parameters have transformers' names. Encoder, decoder and output layer use the table `shared` directly, so that a
  state dict never holds one tensor twice.
- Tokens are numbered as in every vocabulary of pairs: 0 padding, 1 start, 2 end. T5's own vocabulary has 0 for padding
  and start and 1 for the end; what `save_t5` writes says which is which.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import END, PADDING, START, beam_search
from forgeline_architectures.decoder.checkpoint_files import (
    copy_weights,
    read_config,
    read_weights,
    refuse_leftovers,
    same_weights,
    write_checkpoint,
)
from forgeline_architectures.signature import Signature
from forgeline_architectures.t5.config import T5Config
from forgeline_architectures.weight_files import KEY

# Other names of the table in transformers' checkpoints, and a weight of old ones that nothing reads.
TABLES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


class DecoderState(NamedTuple):
    """Between two tokens of the target.

    Attributes:
        memory: [batch, source, width], the source as the encoder gives it.
        visible: [batch, source], 1 where the source has a token.
        cache: transformers' keys and values of the target that was read; changed by each step.
    """

    memory: Tensor
    visible: Tensor
    cache: Any


class T5(nn.Module):
    """Encoder, decoder, search. `forward` takes `source`, `length` and `previous`."""

    def __init__(self, config: T5Config, signature: Signature) -> None:
        super().__init__()
        from transformers import T5ForConditionalGeneration

        self.config = config
        self.limit = signature.inputs["previous"].shape[0]
        self.vocabulary = signature.outputs[0]
        theirs: Any = T5ForConditionalGeneration(transformers_config(config, self.vocabulary))
        self.shared = theirs.shared
        self.encoder, self.decoder = theirs.encoder, theirs.decoder
        for side in (self.encoder, self.decoder):
            side.embed_tokens = None

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch target vocabulary"]:
        memory, visible = self._encoded(batch)
        logits: Tensor = self._decoded(batch["previous"], memory, visible, None)
        return logits

    def translate(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch limit"]:
        """The target that beam search finds for each source, with its end token, filled up with padding."""
        sources = {name: batch[name] for name in ("source", "length")}
        return beam_search(
            self, sources, limit=self.limit, beams=self.config.beams, length_penalty=self.config.length_penalty
        )

    def begin(self, batch: Mapping[str, Tensor]) -> DecoderState:
        """The source read, and nothing of the target."""
        from transformers import DynamicCache, EncoderDecoderCache

        return DecoderState(*self._encoded(batch), EncoderDecoderCache(DynamicCache(), DynamicCache()))

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """Mean of the encoder's states over a source's tokens: an embedding of each source."""
        memory, visible = self._encoded(batch)
        return (memory * visible[..., None]).sum(1) / batch["length"][:, None]

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecoderState]:
        """Logits after one more token of each target."""
        return self._decoded(tokens[:, None], *state)[:, 0], state

    def select(self, state: DecoderState, rows: Int[Tensor, " chosen"]) -> DecoderState:
        """The states of some rows."""
        state.cache.reorder_cache(rows)
        return DecoderState(state.memory.index_select(0, rows), state.visible.index_select(0, rows), state.cache)

    def _encoded(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        tokens: Int[Tensor, "batch source"] = batch["source"]
        position = torch.arange(tokens.shape[1], device=tokens.device)
        visible = (position < batch["length"][:, None]).long()
        memory = self.encoder(inputs_embeds=self.shared(tokens), attention_mask=visible).last_hidden_state
        return memory, visible

    def _decoded(
        self,
        tokens: Int[Tensor, "batch target"],
        memory: Float[Tensor, "batch source width"],
        visible: Int[Tensor, "batch source"],
        cache: Any,
    ) -> Float[Tensor, "batch target vocabulary"]:
        hidden = self.decoder(
            inputs_embeds=self.shared(tokens),
            encoder_hidden_states=memory,
            encoder_attention_mask=visible,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        # The factor goes with the shared table, as in the paper's published code.
        return F.linear(hidden * self.config.width**-0.5, self.shared.weight)


def transformers_config(config: T5Config, vocabulary: int) -> Any:
    """Ours as transformers'."""
    from transformers import T5Config as TheirConfig

    their_config: Any = TheirConfig  # whose signature hides what all of transformers' configs take
    return their_config(
        vocab_size=vocabulary,
        d_model=config.width,
        d_kv=config.head_width,
        d_ff=config.feed_forward,
        num_layers=config.layers,
        num_decoder_layers=config.decoder_layers or config.layers,
        num_heads=config.heads,
        dropout_rate=config.dropout,
        feed_forward_proj=config.activation,
        pad_token_id=PADDING,
        eos_token_id=END,
        decoder_start_token_id=START,
    )


def load_t5(model: T5, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of transformers' T5ForConditionalGeneration.

    Raises:
        ValueError: a weight is missing, is left over, or has another shape than the model's.
    """
    own = model.state_dict()
    refuse_leftovers(
        set(state) - set(own) - {*TABLES, UNUSED}, source="T5", keys="layers, decoder_layers or activation"
    )
    table = next((state[name] for name in ("shared.weight", *TABLES) if name in state), None)
    if table is not None and any(name in state and not same_weights(state[name], table) for name in TABLES):
        raise ValueError(
            f"the T5 weights have an output layer of their own (T5 1.1), the model's is its table; change {KEY}"
        )
    if table is not None and len(table) != model.vocabulary:
        raise ValueError(
            f"the T5 weights know {len(table)} tokens, the data have a vocabulary of {model.vocabulary}; "
            f"change the data or {KEY}"
        )
    copy_weights(
        own,
        lambda name: (name, table if name == "shared.weight" else state.get(name)),
        source="T5",
        keys="layers, decoder_layers, heads, width, head_width, feed_forward or activation",
    )


def save_t5(model: T5, folder: str | Path) -> None:
    """Write a checkpoint folder that transformers' `T5ForConditionalGeneration.from_pretrained` reads."""
    config = transformers_config(model.config, model.vocabulary)
    config.architectures = ["T5ForConditionalGeneration"]
    write_checkpoint(folder, config.to_dict(), model.state_dict())


def build_model(config: T5Config, signature: Signature) -> T5:
    """The model with fresh weights."""
    return T5(config, signature)


def build_pretrained(config: T5Config, signature: Signature) -> T5:
    """The model with the T5 weights of the config's folder or file.

    Raises:
        ValueError: the weights cannot be read or do not fit, or the folder's config says otherwise than ours.
    """
    assert config.pretrained is not None
    model = T5(config, signature)
    if (theirs := read_config(config.pretrained)) is not None:
        ours = transformers_config(config, model.vocabulary).to_dict()
        for key, name in (("heads", "num_heads"), ("head_width", "d_kv"), ("activation", "feed_forward_proj")):
            if name in theirs and theirs[name] != ours[name]:
                raise ValueError(
                    f"{key} is {ours[name]}, the checkpoint's is {theirs[name]}; change architecture.{key} or {KEY}"
                )
    load_t5(model, read_weights(config.pretrained))
    return model
