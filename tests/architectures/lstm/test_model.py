"""Recurrent networks: lengths, windows, pooling."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgeline_architectures.lstm import ARCHITECTURE


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    signature = {
        "task": "classification",
        "inputs": {"series": {"shape": [10, 2], "dtype": "float32"}},
        "outputs": [3],
    }
    return ARCHITECTURE.build_model({"name": "lstm", "hidden": 8, **config}, signature).eval()


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("window", [{}, {"window": 2}, {"window": 3, "stride": 2}])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_padded_series_answers_like_itself_alone(pooling: str, window: dict[str, int], cell: str) -> None:
    model = build(pooling=pooling, cell=cell, bidirectional=True, layers=2, **window)
    series = torch.randn(3, 10, 2)
    lengths = torch.tensor([10, 5, 7])
    for row, length in enumerate(lengths.tolist()):
        series[row, length:] = 0.0
    together = model({"series": series, "length": lengths})
    for row, length in enumerate(lengths.tolist()):
        alone = model({"series": series[row : row + 1, :length]})
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("window", "stride", "steps"), [(1, None, 10), (5, None, 2), (4, None, 3), (4, 2, 4), (10, 1, 1)]
)
def test_windows_cover_the_series(window: int, stride: int | None, steps: int) -> None:
    model = build(window=window, stride=stride)
    series = torch.arange(20.0).view(1, 10, 2) + 1
    windows = model.windows(series)
    assert windows.shape[1] == steps == int(model.step_count(torch.tensor([10])))
    assert windows.max() == series.max()


def test_forget_gate_starts_open() -> None:
    model = build(forget_bias=1.0)
    assert torch.equal(model.rnn.bias_ih_l0.chunk(4)[1], torch.ones(8))
    assert model.rnn.bias_hh_l0.abs().sum() == 0


def test_window_longer_than_the_series() -> None:
    with pytest.raises(
        ValueError, match=r"window is 11 and the data's series have 10 points; change architecture\.window"
    ):
        build(window=11)
