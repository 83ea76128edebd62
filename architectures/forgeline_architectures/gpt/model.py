"""GPT-2's decoder: learned positions, normalisation before each layer, fused attention, tied embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from forgeline_architectures.decoder.checkpoint_files import copy_weights, read_weights, write_checkpoint
from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.gpt.config import GPTConfig
from forgeline_architectures.signature import Signature

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


class GPT(DecoderModel):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: GPTConfig, signature: Signature) -> None:
        super().__init__(config.design(signature))


def load_gpt2(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of transformers' GPT2LMHeadModel or GPT2Model.

    Raises:
        ValueError: a weight is missing or has another shape than the model's.
    """
    source = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}

    def weight_of(name: str) -> tuple[str, Tensor | None]:
        theirs = _gpt2_name(name)
        weight = source.get(theirs)
        if weight is not None and weight.ndim == 2 and name.startswith("blocks."):
            weight = weight.t()
        return theirs, weight

    copy_weights(model.state_dict(), weight_of, source="GPT-2", keys="layers, width, context or bias")


def save_gpt2(model: GPT, folder: str | Path) -> None:
    """Write a checkpoint folder that transformers' `GPT2LMHeadModel.from_pretrained` reads.

    Raises:
        ValueError: the model has no biases, which GPT-2 cannot do without.
    """
    design = model.design
    if not design.bias:
        raise ValueError("a GPT without biases has no form in GPT-2's; change architecture.bias")
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": design.vocabulary,
        "n_positions": design.context,
        "n_embd": design.width,
        "n_layer": design.layers,
        "n_head": design.heads,
        "n_inner": design.inner,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": design.norm_epsilon,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    state = {
        f"transformer.{_gpt2_name(name)}": tensor.t() if tensor.ndim == 2 and name.startswith("blocks.") else tensor
        for name, tensor in model.state_dict().items()
    }
    write_checkpoint(folder, config, state)


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
    assert config.pretrained is not None
    model = GPT(config, signature)
    load_gpt2(model, read_weights(config.pretrained))
    return model
