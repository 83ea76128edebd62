"""Optimisers over parameter groups.

The fused kernels of torch are used wherever they exist: one pass over the weights per step, on CPU too, where the
default is a Python loop over the parameters. Their arithmetic is the published one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.optimisation.parameters import groups

FUSED_DEVICES = frozenset({"cpu", "cuda"})


def build_optimizer(model: nn.Module, options: TrainingOptions, *, fused: bool = True, within: str = "") -> Optimizer:
    """The optimiser that the options name.

    Papers: SGD with momentum as in Sutskever et al. 2013; Adam, Kingma & Ba 2015 (arXiv:1412.6980); AdamW, Loshchilov
    & Hutter 2019 (arXiv:1711.05101); RMSProp, Tieleman & Hinton 2012 (lecture 6.5).

    Args:
        fused: allow the fused kernels. A gradient scaler (16-bit floats) together with clipping cannot use them.
        within: beginning of the names of the parameters that it moves; all when empty.

    Raises:
        ValueError: a pattern of the options matches nothing.
    """
    config = options.optimizer
    parameter_groups = groups(model, options, within=within)
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if fused and _can_fuse(parameter_groups):
        common["fused"] = True
    match config.name:
        case "sgd":
            return SGD(parameter_groups, momentum=config.momentum, nesterov=config.nesterov, **common)
        case "adam":
            return Adam(parameter_groups, betas=config.betas, eps=config.eps, **common)
        case "adamw":
            return AdamW(parameter_groups, betas=config.betas, eps=config.eps, **common)
        case "rmsprop":
            common.pop("fused", None)
            return RMSprop(parameter_groups, alpha=config.alpha, momentum=config.momentum, eps=config.eps, **common)


def _can_fuse(parameter_groups: list[dict[str, Any]]) -> bool:
    parameters: list[torch.Tensor] = [parameter for group in parameter_groups for parameter in group["params"]]
    return all(parameter.device.type in FUSED_DEVICES and parameter.is_floating_point() for parameter in parameters)
