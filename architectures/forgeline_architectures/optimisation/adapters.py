"""LoRA: low-rank matrices beside frozen layers, made and merged by the library peft.

A layer with weight W answers with W x + (alpha / rank) B A x; A and B alone are trained (Hu et al. 2022,
arXiv:2106.09685, equation 3). B starts at zero, so a fresh adapter changes nothing. For a convolution, A has the
layer's own filters and B is 1x1. What is trained is added to W at the end: the model that is kept has its old layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from forgeline_architectures.optimisation.options import AdapterConfig
from forgeline_architectures.optimisation.parameters import matching, named_parameters

ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NAME = "default"


class Adapter:
    """The adapters of one model, which is changed in place.

    Args:
        model: all its parameters are frozen; those of the adapters are added.
        config: which layers, and how.
        trained: names in the state dict of further parameters to train whole.

    Raises:
        ValueError: a pattern names no layer that can be adapted.
    """

    def __init__(self, model: nn.Module, config: AdapterConfig, *, trained: Collection[str] = ()) -> None:
        from peft import LoraConfig  # with it comes transformers, which takes seconds
        from peft.tuners.lora import LoraModel

        # As a pattern of whole names: of a list, peft would take a name for every one that ends so.
        layers = "|".join(re.escape(name) for name in adapted_layers(model, config.layers))
        whole = trained_whole(model, config, trained)
        settings: Any = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=layers,
            bias="none",
        )
        self._tuner: Any = LoraModel(model, settings, _NAME)
        for name, parameter in model.named_parameters():
            # A layer that is adapted and trained whole has its weights one level deeper now.
            if name.replace(".base_layer.", ".") in whole:
                parameter.requires_grad_(True)

    def merge(self) -> None:
        """Add what was trained to the layers' own weights; the model has its old names again."""
        self._tuner.merge_and_unload()


def adapted_layers(model: nn.Module, patterns: Collection[str]) -> list[str]:
    """Names, as the model itself has them, of the linear and convolution layers that a pattern matches.

    Raises:
        ValueError: a pattern matches none, or a grouped convolution, whose adapter could not be merged.
    """
    prefix = f"{inner}." if (inner := getattr(model, "inner", None)) else ""
    layers = {name.removeprefix(prefix): (name, layer) for name, layer in model.named_modules() if name}
    adaptable = [name for name, (_, layer) in layers.items() if isinstance(layer, ADAPTABLE)]
    found: dict[str, None] = {}
    for pattern in patterns:
        # `layer1.*` and `layer1` mean all layers inside, `*.qkv` those of this name.
        chosen = [name for name in adaptable if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not chosen:
            matching(adaptable, pattern, option="fine_tune.adapter.layers", what="linear and convolution layers")
        grouped = [name for name in chosen if getattr(layers[name][1], "groups", 1) > 1]
        if grouped:
            raise ValueError(
                f"fine_tune.adapter.layers: pattern {pattern!r} matches {grouped[0]}, a convolution in "
                f"{getattr(layers[grouped[0]][1], 'groups', 1)} groups, whose adapter cannot be merged; "
                "name the others"
            )
        found.update(dict.fromkeys(layers[name][0] for name in chosen))
    return list(found)


def trained_whole(model: nn.Module, config: AdapterConfig, otherwise: Collection[str]) -> set[str]:
    """Names in the state dict of the parameters that are trained beside the adapters.

    Raises:
        ValueError: a pattern of `train` matches nothing.
    """
    if config.train is None:
        return set(otherwise)
    prefix = f"{inner}." if (inner := getattr(model, "inner", None)) else ""
    known = dict(named_parameters(model))
    names = {name for pattern in config.train for name in matching(known, pattern, option="fine_tune.adapter.train")}
    return {prefix + name for name in names}
