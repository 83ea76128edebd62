"""The bound against its definition, samples, conditions, and the walk."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from forgeline_architectures import Signature
from forgeline_architectures.tasks.generation import Generator, Illustrated
from forgeline_architectures.vae import ARCHITECTURE as VAE_FAMILY
from forgeline_architectures.vae.model import VAE

IMAGE = {"image": {"shape": [1, 4, 4], "dtype": "float32"}}
LABEL = {"label": {"shape": [], "dtype": "int64"}}
PLAIN = {"task": "generation", "inputs": IMAGE, "outputs": [1, 4, 4]}
TOLD = {"task": "generation", "inputs": IMAGE | LABEL, "outputs": [1, 4, 4], "conditions": {"label": 3}}
SMALL = {"name": "vae", "hidden": [16], "latent": 3}


def vae(signature: dict[str, Any] = PLAIN, **change: Any) -> VAE:
    torch.manual_seed(0)
    model = VAE_FAMILY.build_model(SMALL | change, signature)
    assert isinstance(model, VAE) and isinstance(model, Generator) and isinstance(model, Illustrated)
    return model.eval()


def batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    image = torch.randint(0, 2, (6, 1, 4, 4), generator=random).float() * 2 - 1
    return {"image": image, "label": torch.arange(6) % 3}


@torch.no_grad()
def test_the_bound_is_that_of_the_distributions() -> None:
    model, data = vae(), batch()
    bound = model.bound(data, torch.Generator().manual_seed(3))
    mean, log_variance = model.encode(data)
    posterior = Normal(mean, (log_variance / 2).exp())
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    likelihood = Bernoulli(logits=model.decode(mean + noise * posterior.stddev, data))
    white = (data["image"].flatten(1) + 1) / 2
    torch.testing.assert_close(bound.reconstruction, -likelihood.log_prob(white).sum(1))
    torch.testing.assert_close(bound.kl, kl_divergence(posterior, Normal(0.0, 1.0)).sum(1))


def test_beta_weighs_the_divergence_and_leaves_the_bound_alone() -> None:
    options = {"total_steps": 2}
    module, data = VAE_FAMILY.build_module(SMALL | {"beta": 4.0}, PLAIN, options).eval(), batch()
    with torch.no_grad():
        first, second = module.validation_step(data, 0), module.validation_step(data, 0)
    parts = first["parts"]
    torch.testing.assert_close(first["loss_sum"], parts["reconstruction"] + 4 * parts["kl"])
    torch.testing.assert_close(parts["negative_elbo"], parts["reconstruction"] + parts["kl"])
    assert torch.equal(first["loss_sum"], second["loss_sum"]) and first["count"] == 6
    assert first["outputs"] is None
    torch.manual_seed(0)
    loss = module.training_step(data, 0)
    torch.testing.assert_close(loss.detach(), module.parts["reconstruction"] + 4 * module.parts["kl"])


def test_a_few_steps_reduce_the_loss() -> None:
    module, data = VAE_FAMILY.build_module(SMALL, TOLD, {"total_steps": 20, "optimizer": {"lr": 1e-2}}), batch()
    optimizer, losses = module.configure_optimizers()["optimizer"], []
    for _ in range(20):
        torch.manual_seed(0)
        optimizer.zero_grad()
        loss = module.training_step(data, 0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@torch.no_grad()
def test_the_same_state_gives_the_same_samples_in_the_range_of_the_data() -> None:
    model, labels = vae(TOLD), {"label": torch.arange(4) % 3}
    first, second = (model.sample(4, labels, generator=torch.Generator().manual_seed(3), options={}) for _ in "ab")
    assert torch.equal(first, second) and first.shape == (4, 1, 4, 4) and first.abs().max() <= 1
    other = model.sample(
        4, {"label": (labels["label"] + 1) % 3}, generator=torch.Generator().manual_seed(3), options={}
    )
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "unknown option 'steps'"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": math.inf}, "temperature is inf; allowed: a number above 0"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vae().sample(1, {}, generator=torch.Generator(), options=options)


@torch.no_grad()
def test_the_walk_has_a_row_for_each_number_and_the_mean_in_the_middle() -> None:
    model = vae()
    walk = model.illustrations(generator=torch.Generator())["latent-walk"]
    assert walk.shape == (3, 9, 1, 4, 4)
    torch.testing.assert_close(walk[0, 4], model.pictures(model.decode(torch.zeros(1, 3), {}))[0])
    assert not torch.equal(walk[0, 0], walk[0, 8])


def test_parameters_of_the_default_on_mnist() -> None:
    signature = {"task": "generation", "inputs": {"image": {"shape": [1, 28, 28], "dtype": "float32"}}, "outputs": [1, 28, 28]}  # fmt: skip  # noqa: E501
    with torch.device("meta"):
        model = VAE_FAMILY.build_model({"name": "vae"}, signature)
    # 785 x 512 + 513 x 256 + 257 x 40, and 21 x 256 + 257 x 512 + 513 x 784 back.
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_082_680
    assert Signature.model_validate(signature).learnt == "image"
