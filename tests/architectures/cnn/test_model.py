"""timm's models: names, channels, stem, sizes and trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from forgeline_architectures.cnn import ARCHITECTURE
from forgeline_architectures.cnn.config import names


def signature(channels: int = 1, size: int = 28) -> dict[str, Any]:
    image = {"shape": [channels, size, size], "dtype": "float32"}
    return {"task": "classification", "inputs": {"image": image}, "outputs": [10]}


def test_shipped_names_are_those_of_the_installed_timm() -> None:
    """Fails after an upgrade of timm: write `timm.list_models()`, sorted, one per line, to cnn/timm_models.txt."""
    assert list(names()) == sorted(timm.list_models())


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean resnet18"):
        ARCHITECTURE.config_model().model_validate({"name": "resnet81"})


def test_channels_are_checked_before_anything_is_built() -> None:
    with pytest.raises(
        ValueError, match=r"in_channels is 3 and the data's pictures have 1; .*architecture\.in_channels"
    ):
        ARCHITECTURE.check({"name": "resnet18", "in_channels": 3}, signature())


@pytest.mark.parametrize("key", ["num_classes", "in_chans", "pretrained", "drop_rate"])
def test_options_do_not_repeat_what_has_its_own_key(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ARCHITECTURE.config_model().model_validate({"name": "resnet18", "options": {key: 1}})


def test_an_option_that_timm_refuses_is_named() -> None:
    with pytest.raises(ValueError, match=r"timm cannot build resnet18 .*nonsense.*architecture\.options"):
        ARCHITECTURE.build_model({"name": "resnet18", "options": {"nonsense": 1}}, signature())


def test_small_stem_keeps_the_resolution() -> None:
    model: Any = ARCHITECTURE.build_model({"name": "resnet18", "stem": "standard"}, signature()).eval()
    assert model.network.forward_features(torch.randn(1, 1, 28, 28)).shape[-1] == 1
    small: Any = ARCHITECTURE.build_model({"name": "resnet18", "stem": "small"}, signature())
    assert small.network.forward_features(torch.randn(1, 1, 28, 28)).shape[-1] == 4
    medium: Any = ARCHITECTURE.build_model({"name": "resnet18", "stem": "medium"}, signature())
    assert medium.network.forward_features(torch.randn(1, 1, 28, 28)).shape[-1] == 2


def test_small_stem_is_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"architecture\.stem"):
        ARCHITECTURE.build_model({"name": "mobilenetv3_small_050", "stem": "small"}, signature(size=32))


def test_fixed_sizes_come_from_the_data() -> None:
    model = ARCHITECTURE.build_model({"name": "vit_tiny_patch16_224"}, signature(channels=3, size=32))
    assert model({"image": torch.randn(2, 3, 32, 32)}).shape == (2, 10)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_trained_weights_from_a_file(tmp_path: Path, ending: str) -> None:
    source = timm.create_model("resnet10t", num_classes=1000)
    file = tmp_path / f"weights.{ending}"
    if ending == "pth":
        torch.save(source.state_dict(), file)
    else:
        save_file(source.state_dict(), file)
    config = {"name": "resnet10t", "pretrained": str(file)}
    module: Any = ARCHITECTURE.build_module(config, signature(channels=3), {"total_steps": 1})
    assert torch.equal(module.model.network.layer2[0].conv1.weight, source.layer2[0].conv1.weight)
    assert module.model.network.fc.weight.shape[0] == 10


def test_building_a_model_for_prediction_reads_no_trained_weights() -> None:
    model = ARCHITECTURE.build_model({"name": "resnet10t", "pretrained": "no/such/file.safetensors"}, signature())
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_a_missing_file_of_weights_is_named() -> None:
    config = {"name": "resnet10t", "pretrained": "no/such/file.safetensors"}
    with pytest.raises(ValueError, match=r"no/such/file\.safetensors.*architecture\.pretrained"):
        ARCHITECTURE.build_module(config, signature(), {"total_steps": 1})
