"""LLaMA's decoder, and its weights to and from transformers' naming.

Unusual: queries, keys and values are one matrix here, and so are the gate and the up-projection, where transformers
has three and two; rotary pairs are in the same places, so no weight has to be reordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgeline_architectures.decoder.checkpoint_files import (
    copy_weights,
    read_config,
    read_weights,
    refuse_leftovers,
    write_checkpoint,
)
from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.llama.config import LlamaConfig
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import KEY

# Our names -> transformers' names of the parts, in the order in which they are joined.
LLAMA_BLOCK_NAMES = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "feed_forward_norm": ("post_attention_layernorm",),
    "feed_forward.up": ("mlp.gate_proj", "mlp.up_proj"),
    "feed_forward.down": ("mlp.down_proj",),
}
LLAMA_NAMES = {"tokens": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"}
# Tensors of older checkpoints that are computed, not learned.
COMPUTED = "rotary_emb.inv_freq"


class Llama(DecoderModel):
    """The decoder. `forward` takes `tokens` and, for packed rows, `segments`."""

    def __init__(self, config: LlamaConfig, signature: Signature) -> None:
        super().__init__(config.design(signature))


def load_llama(model: Llama, state: Mapping[str, Tensor]) -> None:
    """Copy the weights of transformers' LlamaForCausalLM.

    Raises:
        ValueError: a weight is missing, is left over, or has another shape than the model's.
    """
    own = model.state_dict()
    used = {theirs for name in own for theirs in _llama_names(name)}
    # A tied checkpoint may hold the table twice.
    known = used | ({"lm_head.weight"} if model.output is None else set())
    left = (name for name in state if name not in known and not name.endswith(COMPUTED))
    refuse_leftovers(left, source="LLaMA", keys="layers or tied")

    def weight_of(name: str) -> tuple[str, Tensor | None]:
        names = _llama_names(name)
        parts = [state[theirs] for theirs in names if theirs in state]
        fit = len(parts) == len(names) and len({part.shape[1:] for part in parts}) == 1
        return " + ".join(names), torch.cat(parts) if fit else None

    copy_weights(own, weight_of, source="LLaMA", keys="layers, width, heads, key_value_heads, feed_forward or tied")


def llama_state(model: Llama) -> dict[str, Tensor]:
    """The model's weights in transformers' naming and layout."""
    design = model.design
    keys = design.key_value_heads * design.head_width
    rows = {"attention.qkv": (design.heads * design.head_width, keys, keys), "feed_forward.up": (design.inner,) * 2}
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        names = _llama_names(name)
        layer = name.split(".", 2)[-1].rpartition(".")[0]
        parts = tensor.split(rows[layer]) if len(names) > 1 else (tensor,)
        state.update(zip(names, parts, strict=True))
    return state


def save_llama(model: Llama, folder: str | Path) -> None:
    """Write a checkpoint folder that transformers' `LlamaForCausalLM.from_pretrained` reads."""
    design = model.design
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": design.vocabulary,
        "hidden_size": design.width,
        "intermediate_size": design.inner,
        "num_hidden_layers": design.layers,
        "num_attention_heads": design.heads,
        "num_key_value_heads": design.key_value_heads,
        "head_dim": design.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": design.context,
        "rms_norm_eps": design.norm_epsilon,
        "rope_theta": design.rotary_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": design.rotary_base},
        "tie_word_embeddings": design.tied,
        "attention_bias": False,
        "mlp_bias": False,
    }
    write_checkpoint(folder, config, llama_state(model))


def build_model(config: LlamaConfig, signature: Signature) -> Llama:
    """The model with fresh weights."""
    return Llama(config, signature)


def build_pretrained(config: LlamaConfig, signature: Signature) -> Llama:
    """The model with the LLaMA weights of the config's folder or file.

    Raises:
        ValueError: the weights cannot be read or do not fit, or the folder's config says otherwise than ours.
    """
    assert config.pretrained is not None
    if (theirs := read_config(config.pretrained)) is not None:
        _check_config(config, theirs)
    model = Llama(config, signature)
    load_llama(model, read_weights(config.pretrained))
    return model


def _check_config(config: LlamaConfig, theirs: Mapping[str, Any]) -> None:
    """Compare ours with a checkpoint's; what is missing there has transformers' default."""
    rope: Mapping[str, Any] = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    heads = theirs.get("num_attention_heads", 32)
    width = theirs.get("hidden_size", 4096)
    for key, ours, value in (
        ("layers", config.layers, theirs.get("num_hidden_layers", 32)),
        ("width", config.width, width),
        ("heads", config.heads, heads),
        ("key_value_heads", config.groups, theirs.get("num_key_value_heads") or heads),
        ("feed_forward", config.inner, theirs.get("intermediate_size", 11008)),
        ("norm_epsilon", config.norm_epsilon, theirs.get("rms_norm_eps", 1e-6)),
        ("rotary_base", config.rotary_base, rope.get("rope_theta") or theirs.get("rope_theta") or 10_000.0),
        ("tied", config.tied, bool(theirs.get("tie_word_embeddings", False))),
    ):
        if ours != value:
            raise ValueError(f"{key} is {ours}, the checkpoint's is {value}; change architecture.{key} or {KEY}")
    for name, value, supported in (
        ("model_type", theirs.get("model_type", "llama"), "llama"),
        ("hidden_act", theirs.get("hidden_act", "silu"), "silu"),
        ("attention_bias", bool(theirs.get("attention_bias", False)), False),
        ("mlp_bias", bool(theirs.get("mlp_bias", False)), False),
        ("head_dim", theirs.get("head_dim") or width // heads, width // heads),
        ("rope_type", rope.get("rope_type") or rope.get("type") or "default", "default"),
    ):
        if value != supported:
            raise ValueError(f"the checkpoint's {name} is {value!r}, supported is {supported!r}; change {KEY}")


def _llama_names(name: str) -> tuple[str, ...]:
    layer, _, kind = name.rpartition(".")
    if not name.startswith("blocks."):
        return (f"{LLAMA_NAMES[layer]}.{kind}",)
    _, index, part = layer.split(".", 2)
    return tuple(f"model.layers.{index}.{theirs}.{kind}" for theirs in LLAMA_BLOCK_NAMES[part])
