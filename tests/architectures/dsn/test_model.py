"""The stacking network: the closed form, its gradient, the sums of several workers, an exact resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional as F

from forgeline_architectures.dsn import ARCHITECTURE

COLUMNS, CLASSES, ROWS = 5, 3, 40
SIGNATURE = {
    "task": "classification",
    "inputs": {"numeric": {"shape": [COLUMNS], "dtype": "float32"}},
    "outputs": [CLASSES],
}


def build(*, options: dict[str, Any] | None = None, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "dsn", "hidden": 6, "memory": 0.0, "ridge": 0.01, **config}
    return ARCHITECTURE.build_module(settings, SIGNATURE, {"total_steps": 10, **(options or {})})


def batch_of(rows: int = ROWS, seed: int = 1) -> dict[str, Tensor]:
    numeric = torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(seed))
    return {"numeric": numeric, "target": numeric[:, :CLASSES].argmax(1)}


def train(module: Any, steps: int) -> list[float]:
    optimizer = module.configure_optimizers()["optimizer"]
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = module.training_step(batch_of(seed=step), step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_defaults_have_the_stated_number_of_weights() -> None:
    signature = {**SIGNATURE, "inputs": {"image": {"shape": [1, 28, 28], "dtype": "float32"}}, "outputs": [10]}
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "dsn"}, signature)
    weights = [tensor for name, tensor in model.state_dict().items() if "lower" in name or name.endswith("upper")]
    assert sum(weight.numel() for weight in weights) == 1_236_510


def test_upper_weights_are_ridge_regression_on_the_stacked_input() -> None:
    """The penalty as further rows of an ordinary least-squares problem, which torch solves in another way."""
    module, batch = build(modules=2), batch_of()
    module.training_step(batch, 0)
    wanted = F.one_hot(batch["target"], CLASSES).double()
    first, second = module.model.stack
    below = module.model.estimates(batch)[0]
    for layer, x in ((first, batch["numeric"]), (second, torch.cat([batch["numeric"], below], dim=1))):
        units = layer.units(x).detach().double()
        penalty = (0.01 * ROWS) ** 0.5 * torch.eye(units.shape[1], dtype=torch.float64)
        rows = torch.cat([units, penalty])
        fitted = torch.linalg.lstsq(rows, torch.cat([wanted, torch.zeros(len(penalty), CLASSES)])).solution
        torch.testing.assert_close(layer.upper.double(), fitted, atol=1e-4, rtol=1e-4)


def test_the_gradient_is_that_of_the_solved_error() -> None:
    """Against differences of the penalised error, in which the upper weights are solved anew each time."""
    module, batch = build(modules=1), batch_of()
    module.training_step(batch, 0).backward()
    (layer,) = module.model.stack
    gradient = layer.lower.weight.grad.double()
    wanted = F.one_hot(batch["target"], CLASSES).double()

    def penalised(weight: Tensor) -> Tensor:
        hidden = (batch["numeric"].double() @ weight.T + layer.lower.bias.double()).sigmoid()
        units = torch.cat([hidden, torch.ones(ROWS, 1, dtype=torch.float64)], dim=1)
        gram = units.T @ units / ROWS + 0.01 * torch.eye(units.shape[1], dtype=torch.float64)
        upper = torch.linalg.solve(gram, units.T @ wanted / ROWS)
        return (units @ upper - wanted).square().sum(1).mean() + 0.01 * upper.square().sum()

    weight = layer.lower.weight.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(penalised(weight), weight)
    torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-3)


def test_no_gradient_crosses_modules() -> None:
    """A lower module learns the same whether another stands on it or not."""
    alone, stacked = build(modules=1), build(modules=2)
    for module in (alone, stacked):
        module.training_step(batch_of(), 0).backward()
    assert torch.equal(alone.model.stack[0].lower.weight.grad, stacked.model.stack[0].lower.weight.grad)


def test_it_learns() -> None:
    module = build(options={"optimizer": {"lr": 0.03}}, memory=0.5)
    losses = train(module, 60)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    batch = batch_of(200, seed=1000)
    answer = module.model(batch)
    assert (answer.argmax(1) == batch["target"]).float().mean() > 0.8
    assert answer.isfinite().all()


def test_class_weights_and_smoothing_reach_the_fit() -> None:
    batch = batch_of()
    plain, weighted = build(), build(options={"class_weights": [20.0, 1.0, 1.0]})
    smoothed = build(options={"label_smoothing": 0.5})
    for module in (plain, weighted, smoothed):
        module.training_step(batch, 0)
    means = [module.model.estimates(batch)[-1].mean(0) for module in (plain, weighted, smoothed)]
    assert means[1][0] > means[0][0] + 0.05
    assert (means[2] - 1 / CLASSES).abs().max() < (means[0] - 1 / CLASSES).abs().max()


def test_goes_on_exactly_from_its_state() -> None:
    """The sums that a fit remembers are part of the state."""
    first = build(memory=0.9)
    train(first, 3)
    second = build(memory=0.9)
    second.load_state_dict(first.state_dict())
    batch = batch_of(seed=77)
    assert torch.equal(first.training_step(batch, 0), second.training_step(batch, 0))


def _fit_a_half(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = {name: tensor[rank::2] for name, tensor in batch_of().items()}
    module = build()
    module.training_step(half, 0)
    torch.save(module.model.stack[-1].upper, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_workers_solve_what_one_would(tmp_path: Path) -> None:
    multiprocessing.start_processes(_fit_a_half, (str(tmp_path),), nprocs=2, start_method="fork")
    uppers = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(*uppers)
    module = build()
    module.training_step(batch_of(), 0)
    torch.testing.assert_close(uppers[0], module.model.stack[-1].upper, atol=1e-4, rtol=1e-4)
