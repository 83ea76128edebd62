"""GPT-2's decoder: learned positions, normalisation before each layer, fused attention, tied embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from forgeline_architectures.decoder.checkpoint_files import (
    copy_weights,
    read_config,
    read_weights,
    refuse_leftovers,
    same_weights,
    write_checkpoint,
)
from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.gpt.config import FEED_FORWARD_FACTOR, NORM_EPSILON, GPTConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import KEY

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
OUTPUT = "lm_head.weight"  # a second name of the table of tokens
COMPUTED = (".attn.bias", ".attn.masked_bias")  # tensors of older checkpoints: the mask of attention


class GPT(DecoderModel):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: GPTConfig, signature: Signature) -> None:
        super().__init__(config.design(signature))


def load_gpt2(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of transformers' GPT2LMHeadModel or GPT2Model.

    Raises:
        ValueError: a weight is missing, is left over, or has another shape than the model's.
    """
    source = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    own = model.state_dict()
    known = {OUTPUT, *map(_gpt2_name, own)}
    left = (name for name in source if name not in known and not name.endswith(COMPUTED))
    refuse_leftovers(left, source="GPT-2", keys="layers or bias")
    table = source.get(GPT2_NAMES["tokens.weight"])
    if table is not None and OUTPUT in source and not same_weights(source[OUTPUT], table):
        raise ValueError(f"the GPT-2 weights have an output layer of their own, the model's is its table; change {KEY}")

    def weight_of(name: str) -> tuple[str, Tensor | None]:
        theirs = _gpt2_name(name)
        weight = source.get(theirs)
        if weight is not None and weight.ndim == 2 and name.startswith("blocks."):
            weight = weight.t()
        return theirs, weight

    copy_weights(own, weight_of, source="GPT-2", keys="layers, width, context or bias")


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
    """The model with the GPT-2 weights of the config's folder or file.

    Raises:
        ValueError: the weights cannot be read or do not fit, or the config beside them says otherwise than ours.
    """
    assert config.pretrained is not None
    if (theirs := read_config(config.pretrained)) is not None:
        _check_config(config, theirs)
    model = GPT(config, signature)
    load_gpt2(model, read_weights(config.pretrained))
    return model


def _check_config(config: GPTConfig, theirs: Mapping[str, Any]) -> None:
    """Compare ours with a checkpoint's; what is missing there has transformers' default."""
    width = theirs.get("n_embd", 768)
    for name, value, supported in (
        ("model_type", theirs.get("model_type", "gpt2"), "gpt2"),
        ("n_inner", theirs.get("n_inner") or FEED_FORWARD_FACTOR * width, FEED_FORWARD_FACTOR * width),
        ("activation_function", theirs.get("activation_function", "gelu_new"), "gelu_new"),
        ("layer_norm_epsilon", theirs.get("layer_norm_epsilon", 1e-5), NORM_EPSILON),
        ("scale_attn_weights", theirs.get("scale_attn_weights", True), True),
        ("scale_attn_by_inverse_layer_idx", theirs.get("scale_attn_by_inverse_layer_idx", False), False),
    ):
        if value != supported:
            raise ValueError(f"the checkpoint's {name} is {value!r}, supported is {supported!r}; change {KEY}")
    for key, ours, value in (
        ("layers", config.layers, theirs.get("n_layer", 12)),
        ("heads", config.heads, theirs.get("n_head", 12)),
        ("width", config.width, width),
    ):
        if ours != value:
            raise ValueError(f"{key} is {ours}, the checkpoint's is {value}; change architecture.{key} or {KEY}")
