"""Modules of a model by the names that a user knows: which there are, what they hold, and what fits another."""

from __future__ import annotations

from typing import Any

import pytest

from forgeline_architectures.clip import ARCHITECTURE as CLIP
from forgeline_architectures.cnn import ARCHITECTURE as CNN
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.parts import Parts

IMAGE = {"image": {"shape": [1, 28, 28], "dtype": "float32"}}
PICTURES = {"task": "classification", "inputs": IMAGE, "outputs": [10]}
WORDS = {"task": "language_modelling", "inputs": {"tokens": {"shape": [8], "dtype": "int64"}}, "outputs": [11]}
CAPTIONED = {
    "task": "retrieval",
    "inputs": {
        "image": {"shape": [3, 16, 16], "dtype": "float32"},
        "caption": {"shape": [6], "dtype": "int64"},
    },
    "outputs": [12],
}


def clip(**changes: Any) -> Parts:
    sizes = {"vision_layers": 1, "vision_heads": 2, "vision_width": 8, "patch": 8}
    text = {"text_layers": 1, "text_heads": 2, "text_width": 8, "projection": 8}
    return Parts(CLIP, {"name": "clip", **sizes, **text, **changes}, CAPTIONED)


def test_modules_of_a_wrapped_network_have_the_librarys_names() -> None:
    parts = Parts(CNN, {"name": "resnet10t"}, PICTURES)
    assert {"layer1", "layer1.0.conv1", "fc"} <= set(parts.names)
    assert parts.weights("fc") == {"network.fc.weight", "network.fc.bias"}


def test_modules_without_weights_are_none_to_start_from() -> None:
    parts = clip()
    assert all(parts.weights(name) for name in parts.names)
    assert parts.names[:2] == ["text_model", "text_projection"], "those that lie in no other are ahead"


def test_modules_with_a_weight_for_each_token_are_told_by_their_shapes() -> None:
    parts = clip()
    numbered = {name for name in parts.names if parts.numbered(name)}
    assert numbered == {"text_model", "text_model.embeddings", "text_model.embeddings.token_embedding"}
    gpt = Parts(GPT, {"name": "gpt", "layers": 1, "heads": 2, "width": 8}, WORDS)
    assert {name for name in gpt.names if gpt.numbered(name)} == {"tokens"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_heads": 4}, r"encoder.layers.0.self_attn.heads is 4 there and 2 here"),
        ({"activation": "gelu"}, r"encoder.layers.0.mlp.activation is gelu there and quick_gelu here"),
        ({"text_width": 4}, r"is 12x4 there and 12x8 here|is 4 there and 8 here"),
        ({"text_layers": 2}, r"encoder.layers.1\.\S+ is \S+ there and missing here; .* more"),
    ],
)
def test_what_a_shape_tells_and_what_it_does_not_is_compared(changes: dict[str, Any], message: str) -> None:
    here = clip()
    here.check_fits("text_model", clip(vision_width=16), "text_model")
    with pytest.raises(ValueError, match=message):
        here.check_fits("text_model", clip(**changes), "text_model")
