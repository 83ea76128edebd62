"""What of a trained model's weights another of the same family can take over, and what has to be learnt anew.

The last layer is found by what it is: the weights whose shapes follow from the number of outputs. Models are compared
on the meta device, without memory for their weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from forgeline_architectures.descriptor import Architecture
from forgeline_architectures.signature import OUTPUT_DIMENSIONS, Signature

Shapes = Mapping[str, Sequence[int]]
_SHOWN = 4


def shapes_of(family: Architecture, config: Mapping[str, Any], signature: Mapping[str, Any]) -> dict[str, list[int]]:
    """Shape of every weight and buffer by its name in the state dict.

    Raises:
        ValueError: config and data do not fit.
    """
    with torch.device("meta"):
        model = family.build_model(config, signature)
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def head_of(family: Architecture, config: Mapping[str, Any], signature: Mapping[str, Any]) -> frozenset[str]:
    """Names of the weights of the last layer, whose shapes follow from the number of outputs.

    A language model's table of tokens is one of them, since its outputs are tokens. What gives data back or makes them
    has no such layer: its outputs mean what its input does.
    """
    promise = Signature.model_validate(dict(signature))
    if OUTPUT_DIMENSIONS[promise.task] is None:
        return frozenset()
    larger = promise.model_copy(update={"outputs": tuple(side + 1 for side in promise.outputs)})
    here = shapes_of(family, config, signature)
    there = shapes_of(family, config, larger.model_dump(mode="json"))
    return frozenset(name for name, shape in here.items() if there[name] != shape)


def fresh_weights(
    family: Architecture, config: Mapping[str, Any], signature: Mapping[str, Any], weights: Shapes, *, new_head: bool
) -> frozenset[str]:
    """Names of the weights that cannot, or shall not, be taken over: none, or those of the last layer.

    Args:
        family: of both models.
        config: of the model that is to be trained.
        signature: what its data promise.
        weights: shapes of the trained model's weights.
        new_head: whether the outputs mean something else than the trained model's.

    Raises:
        ValueError: other weights than the last layer's differ too; the message has the first of them.
    """
    wanted = shapes_of(family, config, signature)
    head = head_of(family, config, signature)
    different = differences(weights, wanted, besides=head)
    if different:
        raise ValueError(
            f"its weights do not fit the model: {different}; give architecture and data the settings of the trained "
            "model (pictures of another size fit timm's models: architecture.image_size)"
        )
    changed = any(list(weights.get(name, ())) != wanted[name] for name in head)
    return head if new_head or changed else frozenset()


def differences(there: Shapes, here: Shapes, *, besides: Collection[str] = ()) -> str:
    """The first names whose shapes differ, or that one side lacks, but for those in `besides`; nothing for none."""
    different = [
        f"{name} is {_shape(there.get(name))} there and {_shape(here.get(name))} here"
        for name in sorted({*here, *there} - {*besides})
        if name not in here or name not in there or list(there[name]) != list(here[name])
    ]
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return "; ".join(different[:_SHOWN]) + more


def _shape(shape: Sequence[int] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"
