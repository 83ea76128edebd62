"""Averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from forgeline_architectures.optimisation.ema import ExponentialMovingAverage


def filled(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_follows_the_formula() -> None:
    model = nn.Linear(1, 1)
    filled(model, 0.0)
    ema = ExponentialMovingAverage(model, 0.9)
    expected = 0.0
    for step in range(30):
        filled(model, float(step))
        ema.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert ema.averages()["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_swapping_twice_puts_back_exactly() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ema = ExponentialMovingAverage(model, 0.5)
    model(torch.randn(8, 3))
    filled(model, 7.0)
    ema.update()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averages = {name: tensor.clone() for name, tensor in ema.averages().items()}
    ema.swap()
    assert all(torch.equal(model.state_dict()[name], averages[name]) for name in averages)
    assert all(torch.equal(ema.averages()[name], averages[name]) for name in averages)
    ema.swap()
    assert all(torch.equal(ema.averages()[name], averages[name]) for name in averages)
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert averages["1.num_batches_tracked"] == 1


def test_tied_weights_are_averaged_and_swapped_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    filled(model, 0.0)
    ema = ExponentialMovingAverage(model, 0.9)
    filled(model, 1.0)
    ema.update()
    ema.swap()
    assert model[0].weight[0, 0].item() == pytest.approx(0.9)  # decay 1/10 at the first update
    ema.swap()
    assert model[0].weight[0, 0].item() == 1.0
    assert set(ema.averages()) == {"0.weight", "1.weight"}


def test_goes_on_from_a_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = nn.Linear(2, 2)
    ema = ExponentialMovingAverage(model, 0.9)
    filled(model, 3.0)
    ema.update()
    file = tmp_path_factory.mktemp("ema") / "state.pt"
    torch.save(ema.state_dict(), file)
    other = ExponentialMovingAverage(model, 0.9)
    other.load_state_dict(torch.load(file, weights_only=True))
    for average in (ema, other):
        average.update()
    assert all(torch.equal(ema.averages()[name], other.averages()[name]) for name in ema.averages())


def test_averages_of_a_half_precision_model_stay_in_float32() -> None:
    model = nn.Linear(1, 1)
    filled(model, 1.0)
    ema = ExponentialMovingAverage(model, 0.999)
    model.bfloat16()
    filled(model, 1.25)
    ema.update()
    average = ema.averages()["weight"].clone()
    assert average.item() == pytest.approx(1.225)  # bfloat16 knows 1.2265625 and 1.21875
    ema.swap()
    ema.swap()
    assert torch.equal(ema.averages()["weight"], average)
    assert model.weight.item() == 1.25
