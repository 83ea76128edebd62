"""CLIP: two towers, two projections and a learned temperature, in the names and layout of transformers' CLIPModel.

The end token of our captions is 2, theirs is the last of the vocabulary: transformers takes 2 for the mark of an old
checkpoint whose texts end at their largest number. The two change places on the way to and from a checkpoint.
"""

# ruff: noqa: F722, F821  (shapes in jaxtyping annotations are not forward references)
from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.beam_search import END, PADDING, START
from forgeline_architectures.clip.config import ClipConfig
from forgeline_architectures.clip.towers import NORM_EPSILON, TextTower, VisionTower
from forgeline_architectures.decoder.checkpoint_files import (
    copy_weights,
    read_config,
    read_weights,
    refuse_leftovers,
    write_checkpoint,
)
from forgeline_architectures.signature import Signature
from forgeline_architectures.weight_files import KEY

LARGEST_SCALE = 100.0  # Radford et al. 2021, section 2.5: logits are scaled by no more
TOKENS = "text_model.embeddings.token_embedding.weight"
PLACES = "text_model.embeddings.position_embedding.weight"
COMPUTED = ".embeddings.position_ids"  # tensors of older checkpoints that count from 0
_SETTINGS = "vision_layers, vision_width, patch, text_layers, text_width, projection"


class Clip(nn.Module):
    """Pictures and captions in one space. `forward` takes `image` and `caption`."""

    def __init__(self, config: ClipConfig, signature: Signature) -> None:
        super().__init__()
        self.config = config
        self.size = config.size(signature)
        channels = signature.inputs["image"].shape[0]
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.text_model = TextTower(
            signature.outputs[0],
            signature.inputs["caption"].shape[0],
            width=config.text_width,
            layers=config.text_layers,
            heads=config.text_heads,
            activation=config.activation,
        )
        self.vision_model = VisionTower(
            channels,
            self.size,
            patch=config.patch,
            width=config.vision_width,
            layers=config.vision_layers,
            heads=config.vision_heads,
            activation=config.activation,
        )
        self.visual_projection = nn.Linear(config.vision_width, config.projection, bias=False)
        self.text_projection = nn.Linear(config.text_width, config.projection, bias=False)
        nn.init.normal_(self.visual_projection.weight, std=config.vision_width**-0.5)
        nn.init.normal_(self.text_projection.weight, std=config.text_width**-0.5)

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "images captions"]:
        """How well each picture and each caption fit, as logits."""
        return self.scale * self.embed_images(batch["image"]) @ self.embed_texts(batch["caption"]).T

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What the similarity is multiplied by: the inverse of the temperature.

        The gradient goes past the limit, where that of a plain clamp is zero: the parameter would stay there for good.
        """
        beyond = (self.logit_scale - math.log(LARGEST_SCALE)).clamp(min=0).detach()
        return (self.logit_scale - beyond).exp()

    @torch.no_grad()
    def bound_scale(self) -> None:
        """Take the parameter back to its limit, as the authors do after each step."""
        self.logit_scale.clamp_(max=math.log(LARGEST_SCALE))

    def embed_images(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch projection"]:
        """Unit vectors of pictures."""
        if image.shape[-2:] != self.size:
            image = F.interpolate(image, self.size, mode="bilinear", antialias=True)
        return F.normalize(self.visual_projection(self.vision_model(image)), dim=-1)

    def penultimate(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch projection"]:
        """Embeddings of the pictures, as `embed_images`; captions have `embed_texts`."""
        return self.embed_images(batch["image"])

    def embed_texts(self, caption: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch projection"]:
        """Unit vectors of texts, each closed by its end token."""
        return F.normalize(self.text_projection(self.text_model(caption)), dim=-1)


def build_model(config: ClipConfig, signature: Signature) -> Clip:
    """The model with fresh weights."""
    return Clip(config, signature)


def build_pretrained(config: ClipConfig, signature: Signature) -> Clip:
    """The model with the CLIP weights of the config's folder or file.

    The table of tokens is fresh where the data have another number of them, as words have nothing to do with the
    checkpoint's tokens. Captions that are shorter than the checkpoint's take its first places.

    Raises:
        ValueError: the weights cannot be read or do not fit, or the folder's config says otherwise than ours.
    """
    assert config.pretrained is not None
    if (theirs := read_config(config.pretrained)) is not None:
        _check_config(config, theirs)
    model = Clip(config, signature)
    state = read_weights(config.pretrained)
    if theirs is not None and TOKENS in state and _ends_last(theirs, len(state[TOKENS])):
        state[TOKENS] = _end_swapped(state[TOKENS])
    load_clip(model, state)
    return model


@torch.no_grad()
def load_clip(model: Clip, state: Mapping[str, Tensor]) -> None:
    """Copy CLIP weights in transformers' naming into the model.

    Raises:
        ValueError: a weight is missing, is left over, or has another shape than the model's.
    """
    own = model.state_dict()
    left = (name for name in state if name not in own and not name.endswith(COMPUTED))
    refuse_leftovers(left, source="CLIP", keys="vision_layers or text_layers")
    other_words = TOKENS in state and len(state[TOKENS]) != len(own[TOKENS])

    def weight_of(name: str) -> tuple[str, Tensor | None]:
        weight = state.get(name)
        if name == PLACES and weight is not None:
            weight = weight[: len(own[name])]
        return name, weight

    kept = {name: tensor for name, tensor in own.items() if not (other_words and name == TOKENS)}
    copy_weights(kept, weight_of, source="CLIP", keys=_SETTINGS)


def save_clip(model: Clip, folder: str | Path) -> None:
    """Write a checkpoint folder that transformers' `CLIPModel.from_pretrained` reads.

    In the captions given to it, the end token 2 and the last token of the vocabulary have changed places.

    Raises:
        ValueError: the model's pictures are not square, which theirs are.
    """
    config, (height, width) = model.config, model.size
    if height != width:
        raise ValueError(
            f"pictures of {height}x{width} have no form in CLIP's, which are square; change architecture.image_size"
        )
    state = model.state_dict()
    vocabulary, context = len(state[TOKENS]), len(state[PLACES])
    state[TOKENS] = _end_swapped(state[TOKENS])
    state["logit_scale"] = state["logit_scale"].clamp(max=math.log(LARGEST_SCALE))  # which theirs does not
    shared = {"hidden_act": config.activation, "layer_norm_eps": NORM_EPSILON, "projection_dim": config.projection}
    text = {
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "pad_token_id": PADDING,
        "bos_token_id": START,
        "eos_token_id": vocabulary - 1,
    }
    vision = {
        "model_type": "clip_vision_model",
        "image_size": height,
        "patch_size": config.patch,
        "num_channels": model.vision_model.embeddings.patch_embedding.in_channels,
        "hidden_size": config.vision_width,
        "intermediate_size": 4 * config.vision_width,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
    }
    theirs = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.projection,
        "logit_scale_init_value": -math.log(config.temperature),
        "text_config": text | shared,
        "vision_config": vision | shared,
    }
    write_checkpoint(folder, theirs, state)


def _ends_last(theirs: Mapping[str, Any], vocabulary: int) -> bool:
    """Whether a checkpoint's texts end with the last token; 2, in its config, says so too."""
    text: Mapping[str, Any] = theirs.get("text_config") or {}
    return text.get("eos_token_id", vocabulary - 1) in (2, vocabulary - 1)


def _end_swapped(table: Float[Tensor, "vocabulary width"]) -> Float[Tensor, "vocabulary width"]:
    """The table of tokens with our end token and the last token in each other's place."""
    swapped = table.clone()
    swapped[[END, -1]] = table[[-1, END]]
    return swapped


def _check_config(config: ClipConfig, theirs: Mapping[str, Any]) -> None:
    """Compare ours with a checkpoint's; what is missing there has transformers' default."""
    text: Mapping[str, Any] = theirs.get("text_config") or {}
    vision: Mapping[str, Any] = theirs.get("vision_config") or {}
    if theirs.get("model_type", "clip") != "clip":
        raise ValueError(f"the checkpoint's model_type is {theirs['model_type']!r}, wanted 'clip'; change {KEY}")
    for key, ours, value in (
        ("text_heads", config.text_heads, text.get("num_attention_heads", 8)),
        ("text_layers", config.text_layers, text.get("num_hidden_layers", 12)),
        ("text_width", config.text_width, text.get("hidden_size", 512)),
        ("vision_heads", config.vision_heads, vision.get("num_attention_heads", 12)),
        ("vision_layers", config.vision_layers, vision.get("num_hidden_layers", 12)),
        ("vision_width", config.vision_width, vision.get("hidden_size", 768)),
        ("patch", config.patch, vision.get("patch_size", 32)),
        ("projection", config.projection, theirs.get("projection_dim", 512)),
        ("activation", config.activation, text.get("hidden_act", "quick_gelu")),
        ("activation", config.activation, vision.get("hidden_act", "quick_gelu")),
    ):
        if ours != value:
            raise ValueError(f"{key} is {ours}, the checkpoint's is {value}; change architecture.{key} or {KEY}")
