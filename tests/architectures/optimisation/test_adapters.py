"""LoRA: what is adapted and trained, the paper's equation, and that a merged model is a plain one again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from forgeline_architectures.mlp import ARCHITECTURE as MLP
from forgeline_architectures.optimisation.adapters import Adapter, adapted_layers
from forgeline_architectures.optimisation.options import AdapterConfig


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, groups=6)
        self.dense = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.depthwise(self.norm(self.conv(x)).relu()).mean((2, 3))
        out: torch.Tensor = self.head(self.dense(maps).relu())
        return out


class Wrapped(nn.Module):
    inner = "network"

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(x)
        return out


def config(*layers: str, **changes: Any) -> AdapterConfig:
    return AdapterConfig.model_validate({"layers": layers, "rank": 2, "alpha": 6, **changes})


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def shaken(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


def test_a_fresh_adapter_changes_nothing_and_alone_is_trained() -> None:
    model, pictures = Wrapped().eval(), torch.randn(2, 2, 8, 8)
    before = model(pictures)
    Adapter(model, config("conv", "dense"), trained={"network.head.weight", "network.head.bias"})
    torch.testing.assert_close(model(pictures), before)
    adapters = {f"network.{layer}.lora_{side}.default.weight" for layer in ("conv", "dense") for side in "AB"}
    assert trained(model) == adapters | {"network.head.weight", "network.head.bias"}


def test_what_is_merged_is_the_equation_of_the_paper() -> None:
    torch.manual_seed(0)
    model, pictures = Wrapped().eval(), torch.randn(2, 2, 8, 8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapter = Adapter(model, config("conv", "dense"))
    shaken(model)
    network: Any = model.network
    down, up = network.dense.lora_A["default"].weight, network.dense.lora_B["default"].weight
    dense = before["network.dense.weight"] + 6 / 2 * up @ down
    filters, mixed = network.conv.lora_A["default"].weight, network.conv.lora_B["default"].weight
    conv = before["network.conv.weight"] + 6 / 2 * torch.einsum("or,rihw->oihw", mixed[:, :, 0, 0], filters)
    adapted = model(pictures)
    adapter.merge()
    after = model.state_dict()
    assert set(after) == set(before)
    torch.testing.assert_close(after["network.dense.weight"], dense)
    torch.testing.assert_close(after["network.conv.weight"], conv)
    torch.testing.assert_close(model(pictures), adapted, atol=1e-5, rtol=1e-4)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"network.dense.weight", "network.conv.weight"}


def test_a_layer_of_the_same_name_further_down_is_left_alone() -> None:
    model = nn.ModuleDict({"head": nn.Linear(2, 2), "inner": nn.ModuleDict({"head": nn.Linear(2, 2)})})
    Adapter(model, config("head"))
    assert trained(model) == {"head.lora_A.default.weight", "head.lora_B.default.weight"}


def test_a_layer_may_be_adapted_and_trained_whole() -> None:
    model = Network()
    Adapter(model, config("head", train=["head.bias"]))
    assert trained(model) == {"head.base_layer.bias", "head.lora_A.default.weight", "head.lora_B.default.weight"}


@pytest.mark.parametrize(
    ("patterns", "found"),
    [(["*"], {"conv", "dense", "head"}), (["conv", "h*"], {"conv", "head"}), (["dense"], {"dense"})],
)
def test_patterns_name_layers(patterns: list[str], found: set[str]) -> None:
    model = Wrapped()
    del model.network.depthwise
    assert set(adapted_layers(model, patterns)) == {f"network.{name}" for name in found}


def test_a_pattern_that_cannot_be_adapted_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"adapter.layers: pattern 'norm' matches none .* linear and convolution layers"
    ):
        adapted_layers(Wrapped(), ["norm"])
    with pytest.raises(ValueError, match=r"pattern '\*' matches depthwise, a convolution in 6 groups"):
        adapted_layers(Wrapped(), ["*"])
    with pytest.raises(ValueError, match=r"adapter.train: pattern 'heed.\*' matches none"):
        Adapter(Network(), config("conv", train=["heed.*"]))


def test_a_module_trains_averages_and_merges_its_adapters() -> None:
    table = {"numeric": {"shape": [5], "dtype": "float32"}}
    signature = {"task": "classification", "inputs": table, "outputs": [3], "cardinalities": []}
    options = {"total_steps": 3, "ema": 0.5, "optimizer": {"lr": 0.1}}
    module: Any = MLP.build_module({"name": "mlp", "hidden": [4], "norm": "batch"}, signature, options)
    before = {name: tensor.clone() for name, tensor in module.model.state_dict().items()}
    module.adapt(config("hidden.*"), trained={"head.weight", "head.bias"})
    module.train()
    assert not module.model.hidden[0].norm.training, "the norm is frozen, and so are its statistics"
    optimizer = module.configure_optimizers()["optimizer"]
    batch = {"numeric": torch.randn(8, 5), "target": torch.arange(8) % 3}
    for step in range(3):
        optimizer.zero_grad()
        module.training_step(batch, step).backward()
        optimizer.step()
        module.ema.update()
    assert any("lora_A" in name for name in module.ema.averages())
    module.eval()
    adapted = module.model(batch)
    module.merge_adapter()
    after = module.model.state_dict()
    torch.testing.assert_close(module.model(batch), adapted)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert set(after) == set(before) and changed == {"hidden.0.linear.weight", "head.weight", "head.bias"}
    assert torch.linalg.matrix_rank(after["hidden.0.linear.weight"] - before["hidden.0.linear.weight"]) == 2
