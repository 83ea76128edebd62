"""First layers for small pictures, in place of those published for 224 and 299 pixels.

The published ones shrink a picture by four or more before the first block, which leaves 7x7 of 28x28. With one pooling
kept, 14x14 are left, at a quarter of the arithmetic that 28x28 cost.
"""

from __future__ import annotations

from timm.models.densenet import DenseNet
from timm.models.inception_v3 import InceptionV3
from torch import nn


def replace_stem(network: nn.Module, name: str, *, pooling: bool) -> None:
    """Give a ResNet, DenseNet or Inception 3x3 filters of stride 1 to begin with.

    The CIFAR networks begin so: He et al. 2016 (arXiv:1512.03385, section 4.2), Huang et al. 2017 (arXiv:1608.06993,
    section 3). Inception's own filters are 3x3 already and only lose stride, poolings and shrinking borders.

    Args:
        network: timm's model, changed in place.
        name: its name, for the message.
        pooling: whether one pooling of stride 2 stays.

    Raises:
        ValueError: the network is none of these.
    """
    if isinstance(network, InceptionV3):
        _keep_size(network, pooling=pooling)
        return
    home, conv_name, pool_name = network, "conv1", "maxpool"
    if isinstance(network, DenseNet):
        home, conv_name, pool_name = network.features, "conv0", "pool0"
    first, pool = getattr(home, conv_name, None), getattr(home, pool_name, None)
    if not isinstance(first, nn.Conv2d) or pool is None:
        raise ValueError(
            f"stem `small` or `medium` is for timm's ResNets (a `conv1` and a `maxpool`), DenseNets and inception_v3, "
            f"not for {name}; set architecture.stem to standard"
        )
    conv = nn.Conv2d(first.in_channels, first.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
    # As timm initialises its other filters: He et al. 2015 (arXiv:1502.01852, equation 10).
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    setattr(home, conv_name, conv)
    if not pooling:
        setattr(home, pool_name, nn.Identity())


def _keep_size(network: nn.Module, *, pooling: bool) -> None:
    for name in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_4a_3x3"):
        conv = network.get_submodule(f"{name}.conv")
        assert isinstance(conv, nn.Conv2d)
        conv.stride, conv.padding = (1, 1), (1, 1)
    network.set_submodule("Pool2", nn.Identity())
    if not pooling:
        network.set_submodule("Pool1", nn.Identity())
