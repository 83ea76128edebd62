"""Attention maps of timm's vision transformers: who looks at whom, in every layer and head."""

from __future__ import annotations

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn


def attention_maps(network: nn.Module, image: Tensor) -> Tensor:
    """The softmax of queries and keys (Vaswani et al. 2017, arXiv:1706.03762, equation 1) in one forward pass.

    The fused kernels that timm runs never hold these numbers. They are made again here from each layer's queries and
    keys, read off behind their norms, so that training and prediction keep the fused kernels.

    Args:
        network: a vision transformer of timm.
        image: [batch, channels, height, width].

    Returns:
        [batch, layers, heads, tokens, tokens]; the last axis sums to 1. The first token is the class token, the others
        are the patches row by row (as far as the model has a class token).

    Raises:
        ValueError: the network has no plain attention layers.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Attention)]
    if not layers:
        raise ValueError(
            f"{type(network).__name__} has no attention maps; they are for timm's plain vision transformers, such as "
            "vit_base_patch16_224: change architecture.name"
        )
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        found[module] = output

    hooks = [norm.register_forward_hook(keep) for layer in layers for norm in (layer.q_norm, layer.k_norm)]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    maps = []
    for layer in layers:
        queries, keys = found[layer.q_norm], found[layer.k_norm]  # [batch, heads, tokens, width of a head]
        maps.append((layer.scale * queries @ keys.transpose(-2, -1)).softmax(-1))
    return torch.stack(maps, dim=1)
