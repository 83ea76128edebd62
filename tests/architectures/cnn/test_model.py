"""timm's models: names, parameter counts, channels, stem, width, sizes and trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.utils.attention_extract import AttentionExtract

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


@pytest.mark.parametrize("key", ["num_classes", "in_chans", "pretrained", "drop_rate", "aux_logits"])
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


def test_small_stem_of_a_densenet() -> None:
    options = {"growth_rate": 4, "block_config": [1, 1]}
    sides = []
    for stem in ("standard", "medium", "small"):
        config = {"name": "densenet121", "stem": stem, "options": options}
        model: Any = ARCHITECTURE.build_model(config, signature(size=32))
        sides.append(model.network.forward_features(torch.randn(2, 1, 32, 32)).shape[-1])
    assert sides == [4, 8, 16]


def test_small_stem_is_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"architecture\.stem"):
        ARCHITECTURE.build_model({"name": "mobilenetv3_small_050", "stem": "small"}, signature(size=32))


# Published counts: Simonyan & Zisserman 2015, He et al. 2016, Huang et al. 2017, Szegedy et al. 2016, Tan & Le 2019,
# Sandler et al. 2018, Howard et al. 2019, Dosovitskiy et al. 2021, as their reference implementations have them.
PARAMETERS = {
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "densenet121": 7_978_856,
    "inception_v3": 23_834_568,
    "efficientnet_b0": 5_288_548,
    "mobilenetv2_100": 3_504_872,
    "mobilenetv3_large_100": 5_483_032,
    "vit_base_patch16_224": 86_567_656,
}


def parameters(size: int = 224, **config: Any) -> int:
    """Parameters of the model for 1,000 classes of colour pictures, without memory for them."""
    with torch.device("meta"):
        model = ARCHITECTURE.build_model(config, {**signature(channels=3, size=size), "outputs": [1000]})
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameter_counts(name: str) -> None:
    assert parameters(name=name) == PARAMETERS[name]


def test_published_parameter_count_of_inception_with_its_auxiliary_head() -> None:
    assert parameters(size=299, name="inception_v3", auxiliary=0.4) == 27_161_264


@pytest.mark.parametrize(("stem", "size"), [("standard", 299), ("medium", 28), ("small", 28)])
def test_auxiliary_loss_is_added_in_training_alone(stem: str, size: int) -> None:
    torch.manual_seed(0)
    config = {"name": "inception_v3", "stem": stem, "width": 0.0625, "auxiliary": 0.4}
    module: Any = ARCHITECTURE.build_module(config, signature(size=size), {"total_steps": 1})
    batch = {"image": torch.randn(2, 1, size, size), "target": torch.tensor([1, 2])}
    module.eval()
    logits, early = module.model.with_auxiliary(batch)
    main, added = (torch.nn.functional.cross_entropy(output, batch["target"]) for output in (logits, early))
    assert not torch.allclose(logits, early)
    torch.testing.assert_close(module.training_step(batch, 0), main + 0.4 * added)
    torch.testing.assert_close(module.validation_step(batch, 0)["loss_sum"], 2 * main)
    torch.testing.assert_close(module.model(batch), logits)
    module.training_step(batch, 0).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_auxiliary_head_is_that_of_timm_where_the_picture_has_the_published_size() -> None:
    config = {"name": "inception_v3", "width": 0.0625, "auxiliary": 0.4}
    model: Any = ARCHITECTURE.build_model(config, signature(size=299)).eval()
    batch = {"image": torch.randn(2, 1, 299, 299)}
    ours = model.with_auxiliary(batch)
    model.network.aux_logits = True
    torch.testing.assert_close(ours, model.network(batch["image"]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "resnet18", "auxiliary": 0.4}, r"for inception_v3, got name resnet18; set architecture\.auxiliary"),
        ({"name": "resnet18", "width": 0.5}, r"got name resnet18; set architecture\.width to 1"),
        ({"name": "vgg16", "width": 0.3}, r"multiple of 1/16, got 0\.3; change architecture\.width"),
        ({"name": "vgg16", "width": 0.5, "pretrained": True}, r"no trained weights of width 0\.5"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.config_model().model_validate(config)


def test_auxiliary_head_is_refused_for_regression() -> None:
    with pytest.raises(ValueError, match=r"auxiliary 0\.4 is for classification.*architecture\.auxiliary"):
        ARCHITECTURE.check({"name": "inception_v3", "auxiliary": 0.4}, {**signature(), "task": "regression"})


@pytest.mark.parametrize("name", ["vgg16", "vgg19_bn", "inception_v3"])
def test_width_scales_every_layer_between_pictures_and_classes(name: str) -> None:
    with torch.device("meta"):
        full = timm.create_model(name, in_chans=1, num_classes=10)
    torch.manual_seed(0)
    model: Any = ARCHITECTURE.build_model({"name": name, "width": 0.125, "image_size": 80}, signature())
    for layer, wide in zip(model.network.parameters(), full.parameters(), strict=True):
        outer = wide.shape[0] if wide.shape[0] == 10 else wide.shape[0] // 8
        inner = [side if side == 1 else side // 8 for side in wide.shape[1:2]]
        assert layer.shape == (outer, *inner, *wide.shape[2:])
        assert layer.isfinite().all() and not layer.is_meta
    assert model({"image": torch.randn(2, 1, 28, 28)}).std() > 0


def test_narrow_layers_keep_the_size_of_activations() -> None:
    """Without normalisation, wrong initial weights would let them die out or explode over VGG's 16 layers."""
    torch.manual_seed(0)
    model: Any = ARCHITECTURE.build_model({"name": "vgg16", "width": 0.25, "image_size": 32}, signature()).eval()
    maps = model.network.features(torch.randn(4, 1, 32, 32))
    assert 0.005 < maps.std() < 5


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenetv2_035", "mobilenetv3_small_050"])
def test_first_answers_for_few_classes_are_not_certain(name: str) -> None:
    torch.manual_seed(0)
    model: Any = ARCHITECTURE.build_model({"name": name, "image_size": 32}, signature(size=8))
    logits = model({"image": torch.randn(16, 1, 8, 8)})
    assert logits.std() < 1


def test_pictures_are_resized_inside_the_model() -> None:
    small: Any = ARCHITECTURE.build_model({"name": "resnet10t", "image_size": 32}, signature(size=8)).eval()
    pictures = torch.randn(2, 1, 8, 8)
    larger = torch.nn.functional.interpolate(pictures, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(small({"image": pictures}), small.network(larger))
    vit: Any = ARCHITECTURE.build_model({"name": "vit_tiny_patch16_224", "image_size": 48}, signature())
    assert vit.network.pos_embed.shape[1] == 3 * 3 + 1
    assert vit({"image": torch.randn(2, 1, 28, 28)}).shape == (2, 10)


SMALL_VIT = {"patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2}


@pytest.mark.parametrize("norm", [False, True])
def test_attention_maps_are_those_that_timm_computes_without_fused_kernels(norm: bool) -> None:
    torch.manual_seed(0)
    config = {"name": "vit_tiny_patch16_224", "options": {**SMALL_VIT, "qk_norm": norm}}
    model: Any = ARCHITECTURE.build_model(config, signature(size=28)).eval()
    for block in model.network.blocks:  # fresh weights look everywhere alike
        torch.nn.init.normal_(block.attn.qkv.weight, std=0.5)
    batch = {"image": torch.randn(2, 1, 28, 28)}
    answer = model(batch)
    maps = model.attention_maps(batch)
    assert maps.shape == (2, 3, 2, 50, 50)
    assert maps.std() > 1e-2, "even attention could not tell one computation from another"
    for block in model.network.blocks:
        block.attn.fused_attn = False
    reference = AttentionExtract(model.network, method="hook")(batch["image"])
    torch.testing.assert_close(maps, torch.stack(list(reference.values()), dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model(batch), answer, atol=1e-5, rtol=1e-4)


def test_attention_maps_leave_nothing_behind() -> None:
    model: Any = ARCHITECTURE.build_model({"name": "vit_tiny_patch16_224", "options": SMALL_VIT}, signature())
    model.attention_maps({"image": torch.randn(1, 1, 28, 28)})
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_attention_has_no_maps() -> None:
    model: Any = ARCHITECTURE.build_model({"name": "resnet10t"}, signature(size=32))
    with pytest.raises(ValueError, match=r"ResNet has no attention maps.*architecture\.name"):
        model.attention_maps({"image": torch.randn(1, 1, 32, 32)})


@pytest.mark.parametrize(
    "config",
    [
        {"name": "resnet10t"},
        {"name": "vgg11", "width": 0.0625},
        {"name": "densenet121", "options": {"growth_rate": 4, "block_config": [1, 1]}},
        {"name": "inception_v3", "width": 0.0625, "stem": "small"},
        {"name": "mobilenetv3_small_050"},
        {"name": "vit_tiny_patch16_224", "options": SMALL_VIT},
    ],
    ids=lambda config: config["name"],
)
def test_the_last_layer_makes_the_output_of_the_penultimate(config: dict[str, Any]) -> None:
    model: Any = ARCHITECTURE.build_model(config, signature(size=32)).eval()
    batch = {"image": torch.randn(2, 1, 32, 32)}
    features = model.penultimate(batch)
    assert features.ndim == 2
    torch.testing.assert_close(model.network.get_classifier()(features), model(batch), atol=1e-4, rtol=1e-4)


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
