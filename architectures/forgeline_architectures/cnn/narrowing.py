"""VGG and Inception with fewer channels; timm has the published ones only."""

from __future__ import annotations

import torch
from torch import nn


def narrowed(network: nn.Module, width: float) -> nn.Module:
    """The network with all channels between pictures and classes times `width`, and fresh weights.

    Args:
        network: convolutions without groups, batch norms and linear classifiers, on the meta device; changed in place.
        width: factor; it must leave whole numbers.
    """
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        if layer is not convolutions[0]:
            layer.in_channels = int(layer.in_channels * width)
        layer.out_channels = int(layer.out_channels * width)
        shape = (layer.out_channels, layer.in_channels, *layer.kernel_size)
        layer.weight = nn.Parameter(layer.weight.new_empty(shape))
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias.new_empty(layer.out_channels))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_features = int(module.num_features * width)
            module.weight = nn.Parameter(module.weight.new_empty(module.num_features))
            module.bias = nn.Parameter(module.bias.new_empty(module.num_features))
            module.running_mean = module.weight.new_empty(module.num_features)
            module.running_var = module.weight.new_empty(module.num_features)
        elif isinstance(module, nn.Linear):
            module.in_features = int(module.in_features * width)
            module.weight = nn.Parameter(module.weight.new_empty(module.out_features, module.in_features))
    network.to_empty(device=torch.get_default_device())
    for module in network.modules():
        _initialise(module)
    return network


def _initialise(module: nn.Module) -> None:
    """As timm does for VGG: He et al. 2015 (arXiv:1502.01852, equation 10) for filters, N(0, 0.01) for classifiers."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
