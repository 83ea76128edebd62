"""An encoder with narrower feed-forward layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from forgeline_architectures.bert.config import BertConfig
from forgeline_architectures.narrowing import narrower_feed_forward


def narrow(model: nn.Module, config: BertConfig, share: float) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and state without a share of the channels of each feed-forward layer; attention keeps its own."""
    names = [name for name, _ in model.named_modules() if name.endswith("intermediate.dense")]
    layers = [(name, name.removesuffix("intermediate.dense") + "output.dense") for name in names]
    width, state = narrower_feed_forward(model.state_dict(), layers, share)
    return {**config.without_weights().model_dump(mode="json"), "feed_forward": width}, state
