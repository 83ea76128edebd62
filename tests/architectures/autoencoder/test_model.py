"""Both backbones against what they are built of, the sparse code's divergence, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from forgeline_architectures.autoencoder import ARCHITECTURE as AUTOENCODER
from forgeline_architectures.autoencoder.model import Autoencoder
from forgeline_architectures.autoencoder.module import activity_divergence


def signature(*shape: int) -> dict[str, Any]:
    inputs = {"image": {"shape": list(shape), "dtype": "float32"}}
    return {"task": "reconstruction", "inputs": inputs, "outputs": list(shape)}


def model(*shape: int, **config: Any) -> Autoencoder:
    torch.manual_seed(0)
    built = AUTOENCODER.build_model({"name": "autoencoder", **config}, signature(*shape))
    assert isinstance(built, Autoencoder)
    return built.eval()


def pictures(rows: int = 6) -> Tensor:
    return torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # 785 x 256 + 257 x 16 to the code, 17 x 256 + 257 x 784 back.
        ({}, 785 * 256 + 257 * 16 + 17 * 256 + 257 * 784),
        # 10 x 32 and 289 x 64 kernels, 3,137 x 128 to the code; 129 x 3,136, 577 x 32 and 289 kernels back.
        (
            {"backbone": "convolutional", "hidden": [32, 64], "latent": 128},
            10 * 32 + 289 * 64 + 3137 * 128 + 129 * 3136 + 577 * 32 + 289,
        ),
        ({"hidden": [], "latent": 5}, 785 * 5 + 6 * 784),
    ],
)
def test_parameters_on_mnist(config: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        built = AUTOENCODER.build_model({"name": "autoencoder", **config}, signature(1, 28, 28))
    assert sum(parameter.numel() for parameter in built.parameters()) == expected


@pytest.mark.parametrize("backbone", ["dense", "convolutional"])
@torch.no_grad()
def test_pictures_go_through_the_code_alone(backbone: str) -> None:
    built, image = model(1, 8, 8, backbone=backbone, hidden=[4, 8], latent=3), pictures()
    code, made = built.encode(image), built({"image": image})
    assert code.shape == (6, 3) and torch.equal(built.penultimate({"image": image}), code)
    assert torch.equal(built.decode(code), made) and made.shape == image.shape and made.abs().max() <= 1


@torch.no_grad()
def test_errors_are_those_to_the_clean_picture_in_shares_of_the_brightest_value() -> None:
    built, clean = model(1, 8, 8, hidden=[4]), pictures()
    noisy = (clean + 0.5).clamp(-1, 1)
    errors = built.errors({"image": noisy, "clean": clean})
    from_0_to_1 = [
        ((each + 1) / 2 - (clean + 1) / 2).square().mean((1, 2, 3)) for each in (built({"image": noisy}), noisy)
    ]
    torch.testing.assert_close(errors, torch.stack(from_0_to_1, dim=1))
    assert not built.errors({"image": clean})[:, 1].any()


def test_the_divergence_is_that_of_two_coins() -> None:
    code = torch.rand(7, 4, generator=torch.Generator().manual_seed(2))
    expected = kl_divergence(Bernoulli(torch.tensor(0.05)), Bernoulli(code.mean(0))).sum()
    torch.testing.assert_close(activity_divergence(code, 0.05), expected)
    assert activity_divergence(torch.zeros(3, 2), 0.05).isfinite()


def test_a_sparse_code_comes_to_its_activity() -> None:
    config = {"name": "autoencoder", "hidden": [], "latent": 12, "sparsity": 0.1, "sparsity_weight": 1.0}
    module = AUTOENCODER.build_module(config, signature(1, 8, 8), {"total_steps": 150, "optimizer": {"lr": 0.03}})
    batch = {"image": pictures(32), "target": torch.zeros(32, dtype=torch.long)}
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(150):
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()
    assert module.parts["activity"].item() == pytest.approx(0.1, abs=0.02)
    found = module.validation_step(batch, 0)
    assert found["loss_sum"].item() == pytest.approx(module.model.errors(batch)[:, 0].sum().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        ({"backbone": "convolutional", "hidden": [4, 8, 16]}, (1, 28, 28), r"28x28 cannot be halved 3 times.*hidden"),
        ({"sparsity": 1.5}, (1, 8, 8), "less than 1"),
        ({"latent": 0}, (1, 8, 8), "greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AUTOENCODER.check({"name": "autoencoder", **config}, signature(*shape))
    with pytest.raises(ValueError, match="label_smoothing"):
        AUTOENCODER.build_module({"name": "autoencoder"}, signature(*shape), {"total_steps": 1, "label_smoothing": 0.1})


def test_a_signature_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one input of its shape"):
        AUTOENCODER.check({"name": "autoencoder"}, signature(1, 8, 8) | {"outputs": [1, 4, 4]})
