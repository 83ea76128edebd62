"""Parameters chosen by name: freezing, learning-rate factors, and which of them weight decay reaches.

Patterns are shell patterns over the model's parameter names (`layer1.*`). One that matches nothing is an error, since
a misspelt pattern would otherwise train what was meant to be held still.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from forgeline_architectures.optimisation.options import TrainingOptions

SHOWN_NAMES = 5


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by the name a user knows: a model that wraps another library's says so by its attribute `inner`."""
    prefix = f"{inner}." if (inner := getattr(model, "inner", None)) else ""
    for name, parameter in model.named_parameters():
        yield name.removeprefix(prefix), parameter


def matching(names: Iterable[str], pattern: str, *, option: str, what: str = "parameters") -> list[str]:
    """The names that match a pattern.

    Raises:
        ValueError: none does.
    """
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        prefixes = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
        near = (
            difflib.get_close_matches(pattern.rstrip(".*"), prefixes, n=SHOWN_NAMES, cutoff=0.5) or names[:SHOWN_NAMES]
        )
        raise ValueError(
            f"{option}: pattern {pattern!r} matches none of the model's {len(names)} {what}; "
            f"near names: {', '.join(near)} (a whole block is written `{near[0].split('.')[0]}.*`)"
        )
    return found


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Stop training the parameters whose name matches one of the patterns.

    Raises:
        ValueError: a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(named_parameters(model))
    patterns = tuple(patterns)
    for pattern in patterns:
        for name in matching(parameters, pattern, option="freeze"):
            parameters[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(f"freeze: the patterns {', '.join(patterns)} leave no parameter to train; remove one")


def check_parts_learn(model: nn.Module, parts: Iterable[str]) -> None:
    """Refuse a part without anything to train, where each has an optimiser of its own.

    Args:
        model: after freezing.
        parts: attributes of it.

    Raises:
        ValueError: one has no trained parameter.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for part in parts:
        if not any(name.startswith(f"{part}.") for name in trained):
            raise ValueError(
                f"nothing of the {part} is left to train, which has an optimiser of its own; change fine_tune.freeze "
                f"or fine_tune.adapter so that they leave some of `{part}.*`"
            )


def frozen_norms(model: nn.Module) -> list[nn.Module]:
    """Normalisation layers with running statistics whose own parameters are all frozen.

    Held in eval mode: their statistics would otherwise drift under weights that were frozen to match them.
    """
    found = []
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        has_statistics = getattr(module, "running_mean", None) is not None
        if has_statistics and own and not any(parameter.requires_grad for parameter in own):
            found.append(module)
    return found


def groups(model: nn.Module, options: TrainingOptions, *, within: str = "") -> list[dict[str, Any]]:
    """Parameter groups of the trained parameters whose name begins with `within`, those at the full rate first.

    Weight decay reaches matrices and filters only. Decaying gains and biases (1-D) pulls activations to zero without
    making the function simpler (He et al. 2019, arXiv:1812.01187, section 3.1; nanoGPT does the same).

    Raises:
        ValueError: a pattern of `learning_rates` or `decay_only` matches nothing.
    """
    config = options.optimizer
    factors = learning_rate_factors(model, options.learning_rates)
    reached = decayed_names(model, config.decay_only)
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in named_parameters(model):
        if not parameter.requires_grad or not name.startswith(within):
            continue
        decayed = (
            parameter.ndim > 1 and name in reached and (config.decay_embeddings or id(parameter) not in embeddings)
        )
        found.setdefault((factors.get(name, 1.0), decayed), []).append(parameter)
    # The logged learning rate is that of the first group: the one without a factor, where there is one.
    order = sorted(found, key=lambda key: (key[0] != 1.0, -key[0], not key[1]))
    return [
        {
            "params": found[factor, decayed],
            "lr": config.lr * factor,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for factor, decayed in order
    ]


def decayed_names(model: nn.Module, patterns: Iterable[str]) -> set[str]:
    """Names of the parameters that weight decay may reach: those that match one of the patterns, or all.

    Raises:
        ValueError: a pattern matches nothing.
    """
    names = [name for name, _ in named_parameters(model)]
    patterns = tuple(patterns)
    if not patterns:
        return set(names)
    return {name for pattern in patterns for name in matching(names, pattern, option="optimizer.decay_only")}


def learning_rate_factors(model: nn.Module, patterns: Mapping[str, float]) -> dict[str, float]:
    """Parameter name -> factor on the learning rate (Howard & Ruder 2018, arXiv:1801.06146, section 3.2).

    Raises:
        ValueError: a pattern matches nothing.
    """
    names = [name for name, _ in named_parameters(model)]
    return {
        name: factor
        for pattern, factor in patterns.items()
        for name in matching(names, pattern, option="learning_rates")
    }
