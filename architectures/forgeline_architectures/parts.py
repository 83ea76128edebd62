"""Modules of a model as parts that another model can start from: their names, shapes, and what no shape tells.

Models are built on the meta device, without memory for their weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import nn

from forgeline_architectures.descriptor import Architecture
from forgeline_architectures.signature import OUTPUT_DIMENSIONS, Signature
from forgeline_architectures.transfer import differences

# Attributes by which modules of the same weights compute differently.
_SETTINGS = ("heads", "num_heads", "key_value_heads", "causal", "activation")


class Parts:
    """The modules of one model that have weights, by the names that a user knows.

    Attributes:
        names: of the modules, as in patterns of parameter names; those ahead that lie in no other.

    Args:
        family: of the model.
        config: of the model.
        signature: what its data promise.

    Raises:
        ValueError: config and data do not fit.
    """

    def __init__(self, family: Architecture, config: Mapping[str, Any], signature: Mapping[str, Any]) -> None:
        self._family, self._config, self._signature = family, config, signature
        with torch.device("meta"):
            self._model = family.build_model(config, signature)
        inner = getattr(self._model, "inner", None)  # of a model that wraps another library's
        self._prefix = f"{inner}." if inner else ""
        # A module that a model uses in two places has two names.
        modules = self._model.named_modules(remove_duplicate=False)
        self._modules = {
            name.removeprefix(self._prefix): module
            for name, module in modules
            if name and name.startswith(self._prefix) and module.state_dict()
        }
        self.names = sorted(self._modules, key=lambda name: (name.count("."), name))

    def place(self, name: str) -> str:
        """What the names of a module's weights begin with in the model's state dict."""
        return f"{self._prefix}{name}."

    def weights(self, name: str) -> frozenset[str]:
        """Names of a module's weights in the model's state dict."""
        return frozenset(self.place(name) + inside for inside in self._modules[name].state_dict())

    def numbered(self, name: str) -> bool:
        """Whether a module has weights for each of the tokens, whose shapes follow from the number of these."""
        return bool(differences(self._shapes(name), self._of_more_tokens._shapes(name)))

    @cached_property
    def _of_more_tokens(self) -> Parts:
        promise = Signature.model_validate(dict(self._signature))
        changes: dict[str, Any] = {
            "conditions": {condition: count + 1 for condition, count in promise.conditions.items()},
            "vocabulary": None if promise.vocabulary is None else promise.vocabulary + 1,
        }
        if OUTPUT_DIMENSIONS[promise.task] == ("vocabulary",):
            changes["outputs"] = (promise.outputs[0] + 1,)
        return Parts(self._family, self._config, promise.model_copy(update=changes).model_dump(mode="json"))

    def check_fits(self, name: str, there: Parts, part: str) -> None:
        """Hold a module of this model against one of another.

        Args:
            name: of the module of this model.
            there: the other model's modules.
            part: name of the one among them.

        Raises:
            ValueError: weights differ in name or shape, or the modules compute differently; the message has how.
        """
        different = differences(there._shapes(part), self._shapes(name))
        if different:
            raise ValueError(f"its weights do not fit: {different}")
        mine, theirs = self._settings(name), there._settings(part)
        for setting in sorted(mine.keys() & theirs.keys()):
            if mine[setting] != theirs[setting]:
                raise ValueError(f"{setting} is {theirs[setting]} there and {mine[setting]} here")

    def _shapes(self, name: str) -> dict[str, list[int]]:
        return {inside: list(tensor.shape) for inside, tensor in self._modules[name].state_dict().items()}

    def _settings(self, name: str) -> dict[str, int | str]:
        return dict(_settings_of(self._modules[name]))


def _settings_of(module: nn.Module) -> Iterator[tuple[str, int | str]]:
    """Settings of a module and of those within it, by their place; a function or a module is told by its name."""
    for place, inside in module.named_modules():
        for setting in _SETTINGS:
            value = getattr(inside, setting, None)
            told = type(value).__name__ if isinstance(value, nn.Module) else getattr(value, "__name__", value)
            if isinstance(told, int | str):
                yield f"{place}.{setting}".lstrip("."), told
