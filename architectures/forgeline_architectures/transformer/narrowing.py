"""A Transformer with narrower feed-forward layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from forgeline_architectures.narrowing import narrower_feed_forward
from forgeline_architectures.transformer.config import TransformerConfig
from forgeline_architectures.transformer.model import FeedForward


def narrow(model: nn.Module, config: TransformerConfig, share: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and state without a share of the channels of each feed-forward layer; attention keeps its own."""
    layers = []
    for name, module in model.named_modules():
        if isinstance(module, FeedForward):
            up, down = (part for part, layer in module.named_modules() if isinstance(layer, nn.Linear))
            layers.append((f"{name}.{up}", f"{name}.{down}"))
    width, state = narrower_feed_forward(model.state_dict(), layers, share)
    return {**config.model_dump(mode="json"), "feed_forward": width}, state
