"""A perceptron with fewer units in each hidden layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from forgeline_architectures.mlp.config import MLPConfig
from forgeline_architectures.narrowing import kept_channels, without_channels


def narrow(model: nn.Module, config: MLPConfig, share: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and state without a share of the units of each hidden layer.

    Raises:
        ValueError: there is no hidden layer, or its units are added to those of the next.
    """
    if not config.hidden:
        raise ValueError("it has no hidden layer")
    if config.residual:
        raise ValueError("its layers are added to one another (residual), so that a unit of one is a unit of all")
    state: dict[str, Tensor] = model.state_dict()
    widths = []
    for number in range(len(config.hidden)):
        layer = f"hidden.{number}."
        following = f"hidden.{number + 1}.linear.weight" if number + 1 < len(config.hidden) else "head.weight"
        kept = kept_channels([state[f"{layer}linear.weight"]], share)
        rows = [name for name, tensor in state.items() if name.startswith(layer) and tensor.ndim > 0]
        state = without_channels(state, kept, rows=rows, columns=[following])
        widths.append(len(kept))
    return {**config.model_dump(mode="json"), "hidden": widths}, state
