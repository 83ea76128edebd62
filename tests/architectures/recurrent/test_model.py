"""Recurrent networks: cells, lengths, windows, pooling."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from forgeline_architectures.recurrent import ARCHITECTURE

POINTS, CHANNELS = 10, 2
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def signature_of(channels: int = CHANNELS) -> dict[str, Any]:
    return {
        "task": "classification",
        "inputs": {"series": {"shape": [POINTS, channels], "dtype": "float32"}},
        "outputs": [3],
    }


def build(name: str = "lstm", **config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model({"name": name, "hidden": 8, **config}, signature_of()).eval()


@pytest.mark.parametrize(("name", "expected"), [("rnn", 525_312), ("lstm", 2_101_248), ("gru", 1_575_936)])
def test_parameters_of_one_layer_of_512_on_512(name: str, expected: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": name, "hidden": 512}, signature_of(512))
    counts = {part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("rnn", "head")}
    assert counts == {"rnn": expected, "head": 512 * 3 + 3}


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize(
    ("name", "settings"), [("rnn", {}), ("rnn", {"nonlinearity": "relu"}), ("lstm", {}), ("gru", {})]
)
def test_answers_as_torch_does(
    name: str, settings: dict[str, str], varying: bool, bidirectional: bool, pooling: str
) -> None:
    model = build(name, bidirectional=bidirectional, layers=2, pooling=pooling, **settings)
    reference = CELLS[name](CHANNELS, 8, num_layers=2, batch_first=True, bidirectional=bidirectional, **settings)
    with torch.no_grad():  # fresh biases are zeros, which would hide a bias that is not used
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    reference.load_state_dict(model.rnn.state_dict())
    series = torch.randn(3, POINTS, CHANNELS)
    lengths = torch.tensor([5, 10, 7]) if varying else torch.full((3,), POINTS)
    pooled = reference_pooled(reference, series, lengths, pooling)
    batch = {"series": series, "length": lengths} if varying else {"series": series}
    torch.testing.assert_close(model(batch), model.head(pooled), rtol=0, atol=1e-6)


def reference_pooled(reference: nn.RNNBase, series: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    packed = pack_padded_sequence(series, lengths, batch_first=True, enforce_sorted=False)
    states, ends = reference(packed)
    states, _ = pad_packed_sequence(states, batch_first=True)
    if pooling == "last":
        ends = ends[0] if isinstance(ends, tuple) else ends  # [layers * directions, batch, hidden]
        return torch.cat(list(ends[-2:] if reference.bidirectional else ends[-1:]), dim=-1)
    own = [row[:length] for row, length in zip(states, lengths.tolist(), strict=True)]
    return torch.stack([row.mean(0) if pooling == "mean" else row.max(0).values for row in own])


def test_nonlinearity_changes_the_answer() -> None:
    series = {"series": torch.randn(3, POINTS, CHANNELS)}
    default, tanh, relu = (build("rnn", **s)(series) for s in ({}, {"nonlinearity": "tanh"}, {"nonlinearity": "relu"}))
    assert torch.equal(default, tanh) and not torch.allclose(tanh, relu)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("lstm", "nonlinearity", "relu"), ("gru", "nonlinearity", "tanh"), ("gru", "forget_bias", 1)],
)
def test_a_setting_of_another_cell_is_refused(name: str, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"remove architecture\.{key} or change architecture\.name"):
        build(name, **{key: value})


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("window", [{}, {"window": 2}, {"window": 3, "stride": 2}])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_padded_series_answers_like_itself_alone(pooling: str, window: dict[str, int], name: str) -> None:
    model = build(name, pooling=pooling, bidirectional=True, layers=2, **window)
    series = torch.randn(3, POINTS, CHANNELS)
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


@pytest.mark.parametrize(
    ("settings", "expected"), [({}, 1.0), ({"forget_bias": 0.0}, 0.0), ({"forget_bias": 2.0}, 2.0)]
)
def test_forget_gate_starts_as_told(settings: dict[str, float], expected: float) -> None:
    model = build(**settings)
    assert torch.equal(model.rnn.bias_ih_l0.chunk(4)[1], torch.full((8,), expected))
    assert model.rnn.bias_hh_l0.abs().sum() == 0


def test_window_longer_than_the_series() -> None:
    with pytest.raises(
        ValueError, match=r"window is 11 and the data's series have 10 points; change architecture\.window"
    ):
        build(window=11)
