"""The four optimisers: they are torch's, fused or not, and do what their options say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forgeline_architectures.optimisation.optimisers import build_optimizer
from forgeline_architectures.optimisation.options import TrainingOptions

CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


def trained(name: str, *, fused: bool) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    options = TrainingOptions.model_validate({"total_steps": 5, "optimizer": {"name": name, "lr": 1e-2}})
    optimizer = build_optimizer(model, options, fused=fused)
    assert type(optimizer) is CLASSES[name]
    x = torch.randn(16, 4)
    for _ in range(5):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", CLASSES)
def test_fused_and_plain_agree(name: str) -> None:
    torch.testing.assert_close(trained(name, fused=True), trained(name, fused=False), rtol=1e-4, atol=1e-6)


def test_fused_is_used_where_it_exists() -> None:
    options = TrainingOptions(total_steps=5)
    assert build_optimizer(nn.Linear(2, 2), options).defaults["fused"] is True


def test_momentum_and_betas_arrive() -> None:
    model = nn.Linear(2, 2)
    sgd = build_optimizer(model, TrainingOptions.model_validate(
        {"total_steps": 1, "optimizer": {"name": "sgd", "momentum": 0.7, "nesterov": True}}
    ))  # fmt: skip
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.7, True)
    adam = build_optimizer(model, TrainingOptions.model_validate(
        {"total_steps": 1, "optimizer": {"name": "adam", "betas": [0.8, 0.9], "eps": 1e-6}}
    ))  # fmt: skip
    assert (adam.defaults["betas"], adam.defaults["eps"]) == ((0.8, 0.9), 1e-6)
