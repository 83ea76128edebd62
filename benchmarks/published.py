"""Published configurations whose cost is listed beside that of the zoo's own specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_IMAGE_NETS = (
    "resnet18",
    "resnet50",
    "resnet152",
    "vgg16",
    "densenet121",
    "efficientnet_b0",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "vit_base_patch16_224",
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model as its paper has it.

    Attributes:
        architecture: a spec's `architecture` block.
        signature: what its data promise.
    """

    architecture: Mapping[str, Any]
    signature: Mapping[str, Any]


def _pictures(name: str, side: int = 224) -> Published:
    """ImageNet: colour pictures of 1,000 classes."""
    inputs = {"image": {"shape": [3, side, side], "dtype": "float32"}}
    signature = {"task": "classification", "inputs": inputs, "outputs": [1000]}
    return Published(architecture={"name": name}, signature=signature)


def _text(vocabulary: int, **architecture: Any) -> Published:
    inputs = {"tokens": {"shape": [architecture["context"]], "dtype": "int64"}}
    signature = {"task": "language_modelling", "inputs": inputs, "outputs": [vocabulary]}
    return Published(architecture=architecture, signature=signature)


PUBLISHED: Mapping[str, Published] = {
    **{name: _pictures(name) for name in _IMAGE_NETS},
    "inception_v3": _pictures("inception_v3", 299),
    "GPT-2": _text(50257, name="gpt", layers=12, heads=12, width=768, context=1024),
    "LLaMA-7B": _text(32000, name="llama", context=2048, tied=False),
}
