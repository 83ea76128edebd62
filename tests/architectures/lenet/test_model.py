"""The plain convolutional network: LeNet-5's layout, spatial dropout, sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from forgeline_architectures.lenet import ARCHITECTURE


def signature(channels: int = 1, height: int = 28, width: int = 28) -> dict[str, Any]:
    image = {"shape": [channels, height, width], "dtype": "float32"}
    return {"task": "classification", "inputs": {"image": image}, "outputs": [10]}


def build(size: dict[str, int] | None = None, **config: Any) -> Any:
    return ARCHITECTURE.build_model({"name": "lenet", **config}, signature(**(size or {})))


def test_defaults_have_the_parameters_of_lenet_5() -> None:
    """156 + 2,416 of the convolutions, 48,120 + 10,164 + 850 of the dense layers."""
    with torch.device("meta"):
        model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706


def test_is_lenet_5() -> None:
    """The same numbers as the layers written out one by one, with the same weights."""
    model = build()
    reference = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )
    reference.load_state_dict(dict(zip(reference.state_dict(), model.state_dict().values(), strict=True)))
    image = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(model({"image": image}), reference(image))


def test_spatial_dropout_drops_whole_maps_and_only_in_training() -> None:
    torch.manual_seed(0)
    model = build(filters=[64], activation="tanh", padding="all", spatial_dropout=0.5)
    image = torch.randn(4, 1, 28, 28)
    dropped = (model.maps(image) == 0).flatten(2)
    assert torch.equal(dropped.any(2), dropped.all(2))
    assert 0.3 < dropped.all(2).float().mean() < 0.7
    assert not (model.eval().maps(image) == 0).any()


@pytest.mark.parametrize("padding", ["none", "first", "all"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pictures_need_not_be_square(padding: str, pooling: str) -> None:
    model = build({"channels": 3, "height": 20, "width": 33}, padding=padding, pooling=pooling, activation="relu")
    assert model({"image": torch.randn(2, 3, 20, 33)}).shape == (2, 10)


def test_without_hidden_layers_maps_go_straight_to_the_answer() -> None:
    assert build(hidden=[]).head.in_features == 16 * 5 * 5


def test_a_picture_that_is_too_small_names_the_keys() -> None:
    message = r"nothing is left of 8x8 pixels after 2 convolutions of kernel 5 .*architecture\.filters"
    with pytest.raises(ValueError, match=message):
        build({"height": 8, "width": 8})
    assert build({"height": 8, "width": 8}, padding="all").head.in_features == 84


def test_padding_needs_odd_filters() -> None:
    with pytest.raises(ValueError, match=r"got kernel 4; change architecture\.kernel"):
        build(kernel=4)
    assert build(kernel=4, padding="none").maps[0].padding == (0, 0)


def test_a_flat_input_is_no_picture() -> None:
    flat = {**signature(), "inputs": {"image": {"shape": [784], "dtype": "float32"}}}
    with pytest.raises(ValueError, match=r"a picture has \(channels, height, width\)"):
        ARCHITECTURE.check({"name": "lenet"}, flat)
