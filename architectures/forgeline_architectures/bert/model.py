"""transformers' BERT with the head of the task, and its weights to and from transformers' checkpoints.

- The parameters have transformers' names, so a bundle's weights file is one that `pretrained` reads.
- The output layer of the gaps is the table of tokens itself: a state dict never holds one tensor twice.
- A gap is the token `vocabulary - 2`, a text begins with the token `vocabulary - 1`; there are no second segments.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.bert.config import BertConfig
from forgeline_architectures.decoder.checkpoint_files import (
    copy_weights,
    read_config,
    read_weights,
    refuse_leftovers,
    write_checkpoint,
)
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import KEY

TABLE = "bert.embeddings.word_embeddings.weight"
TIED = {"cls.predictions.decoder.weight": TABLE, "cls.predictions.decoder.bias": "cls.predictions.bias"}
HEADS = ("classifier.", "bert.pooler.", "cls.")  # new where a checkpoint of another task has none
CLASSES = {
    "classification": "BertForSequenceClassification",
    "masked_language_modelling": "BertForMaskedLM",
    "token_classification": "BertForTokenClassification",
}


class Bert(nn.Module):
    """The encoder with its head. `forward` takes `tokens` and, for texts of different lengths, `length`."""

    bert: nn.Module

    def __init__(self, config: BertConfig, signature: Signature) -> None:
        super().__init__()
        import transformers

        self.config = config
        self.task = signature.task
        self.vocabulary = config.vocabulary_for(signature)
        self.their_config = transformers_config(config, signature)
        theirs = getattr(transformers, CLASSES[signature.task])(self.their_config)
        self.bert = theirs.bert
        if self.task == "masked_language_modelling":
            self.cls = theirs.cls
            del self.cls.predictions.decoder
        else:
            self.dropout, self.classifier = theirs.dropout, theirs.classifier

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch *time answers"]:
        if self.task == "masked_language_modelling":
            return self.logits(self.hidden(batch))
        if self.task == "token_classification":
            tokens: Tensor = self.classifier(self.dropout(self.hidden(batch)))
            return tokens
        logits: Tensor = self.classifier(self.dropout(self._read(batch).pooler_output))
        return logits

    def hidden(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch time width"]:
        """Last hidden states."""
        out: Tensor = self._read(batch).last_hidden_state
        return out

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch width"]:
        """An embedding of each text: what its classifier reads, the pooled state of where it begins.

        Models of gaps and of tokens have no such state; theirs is the mean of the last ones over a text's tokens.
        """
        if self.task == "classification":
            pooled: Tensor = self._read(batch).pooler_output
            return pooled
        hidden = self.hidden(batch)
        if "length" not in batch:
            return hidden.mean(1)
        return (hidden * self._inside(batch)[..., None]).sum(1) / batch["length"][:, None]

    def logits(self, hidden: Float[Tensor, "*shape width"]) -> Float[Tensor, "*shape vocabulary"]:
        """Logits of what stood in a gap, from any hidden states."""
        predictions: Any = self.cls.predictions
        return F.linear(predictions.transform(hidden), self.get_parameter(TABLE), predictions.bias)

    def fill(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch time"]:
        """The texts with the likeliest token in each gap.

        Behind a text's end stands the token that texts begin with: it has no text of its own.
        """
        tokens = batch["tokens"]
        gap = tokens == self.vocabulary - 2
        logits = self.logits(self.hidden(batch)[gap])[:, : self.vocabulary - 2]  # neither a gap nor a beginning
        filled = tokens.masked_scatter(gap, logits.argmax(-1))
        return filled if "length" not in batch else filled.masked_fill(~self._inside(batch), self.vocabulary - 1)

    def tag(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch time classes"]:
        """Probabilities of the classes of each token; zeros where a text begins, and behind its end."""
        tokens = batch["tokens"]
        inside = tokens != self.vocabulary - 1
        if "length" in batch:
            inside = inside & self._inside(batch)
        probabilities: Tensor = self(batch).float().softmax(-1)
        return probabilities * inside[..., None]

    def _read(self, batch: Mapping[str, Tensor]) -> Any:
        tokens: Int[Tensor, "batch time"] = batch["tokens"]
        inside = self._inside(batch).long() if "length" in batch else None
        return self.bert(input_ids=tokens, attention_mask=inside)

    def _inside(self, batch: Mapping[str, Tensor]) -> Bool[Tensor, "batch time"]:
        """Where a text has a token."""
        tokens = batch["tokens"]
        return torch.arange(tokens.shape[1], device=tokens.device) < batch["length"][:, None]


def transformers_config(config: BertConfig, signature: Signature) -> Any:
    """Ours as transformers'."""
    from transformers import BertConfig as TheirConfig

    labels = 2 if signature.task == "masked_language_modelling" else signature.outputs[0]
    their_config: Any = TheirConfig  # whose signature hides what all of transformers' configs take
    return their_config(
        vocab_size=config.vocabulary_for(signature),
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.feed_forward or 4 * config.width,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        max_position_embeddings=config.context_for(signature),
        num_labels=labels,
    )


def load_bert(model: Bert, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of any of transformers' BERT models; a head that they lack keeps its fresh weights.

    Raises:
        ValueError: a weight of the encoder is missing or has another shape, or a layer is left over.
    """
    source = {name if name.startswith(("bert.", *HEADS)) else f"bert.{name}": state[name] for name in state}
    own = model.state_dict()
    left = (name for name in source if name.startswith("bert.encoder.") and name not in own)
    refuse_leftovers(left, source="BERT", keys="layers")
    if TABLE in source and len(source[TABLE]) != model.vocabulary:
        raise ValueError(
            f"the BERT weights know {len(source[TABLE])} tokens, the data have a vocabulary of {model.vocabulary}; "
            f"change data.vocabulary or {KEY}"
        )
    wanted = {name: tensor for name, tensor in own.items() if not _is_new(name, tensor, source)}
    copy_weights(
        wanted,
        lambda name: (name, source.get(name)),
        source="BERT",
        keys="layers, width, heads, feed_forward or context",
    )


def _is_new(name: str, tensor: Tensor, source: Mapping[str, Tensor]) -> bool:
    """Whether a weight belongs to a head that a checkpoint lacks, or has for other classes."""
    if not name.startswith(HEADS):
        return False
    return name not in source or (name.startswith("classifier.") and source[name].shape != tensor.shape)


def save_bert(model: Bert, folder: str | Path) -> None:
    """Write a checkpoint folder that transformers' BERT class of the task reads."""
    config = model.their_config
    config.architectures = [CLASSES[model.task]]
    state = model.state_dict()
    if model.task == "masked_language_modelling":
        state |= {name: state[own] for name, own in TIED.items()}
    write_checkpoint(folder, config.to_dict(), state)


def build_model(config: BertConfig, signature: Signature) -> Bert:
    """The model with fresh weights."""
    return Bert(config, signature)


def build_pretrained(config: BertConfig, signature: Signature) -> Bert:
    """The model with the weights of the config's folder or file.

    Raises:
        ValueError: the weights cannot be read or do not fit, or the folder's config says otherwise than ours.
    """
    assert config.pretrained is not None
    model = Bert(config, signature)
    theirs = read_config(config.pretrained) or {}
    for name, supported in (
        ("model_type", "bert"),
        ("num_attention_heads", config.heads),
        ("hidden_act", "gelu"),
        ("position_embedding_type", "absolute"),
        ("type_vocab_size", 2),
    ):
        if name in theirs and theirs[name] != supported:
            raise ValueError(
                f"the checkpoint's {name} is {theirs[name]!r}, wanted {supported!r}; change architecture.heads or {KEY}"
            )
    load_bert(model, read_weights(config.pretrained))
    return model
