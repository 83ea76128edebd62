"""Adversarial modules in a Trainer: steps, schedules, averaging, exact resume, two workers; and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from forgeline_architectures import Signature
from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.tasks import deployed_weights
from forgeline_architectures.tasks.adversarial import AdversarialModule
from forgeline_architectures.tasks.base import Batch
from forgeline_architectures.tasks.generation import Generator, check_options
from forgeline_architectures.tasks.lightning_import import Callback, Trainer
from tests.architectures.two_workers import meet, trained_by_two

SIGNATURE = Signature.model_validate(
    {
        "task": "generation",
        "inputs": {"numeric": {"shape": [2], "dtype": "float32"}, "label": {"shape": [], "dtype": "int64"}},
        "outputs": [2],
        "conditions": {"label": 3},
    }
)


class Pair(nn.Module):
    """A generator and a discriminator of points, told the label."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.discriminator = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))

    def sample(
        self, count: int, condition: Mapping[str, Tensor], *, generator: torch.Generator, options: Mapping[str, Any]
    ) -> Tensor:
        check_options(options, {})
        return self.made(torch.randn(count, 2, generator=generator), condition["label"])

    def made(self, noise: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.generator(torch.cat([noise, F.one_hot(label, 3)], dim=1))
        return out

    def logits(self, points: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.discriminator(torch.cat([points, F.one_hot(label, 3)], dim=1))
        return out


class PairModule(AdversarialModule):
    """The non-saturating losses of Goodfellow et al. 2014."""

    model: Pair

    def fake(self, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(len(batch["label"]), 2, generator=generator)
        return self.model.made(noise, batch["label"])

    def discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        real = self.model.logits(self.learnt(batch), batch["label"])
        return F.softplus(-real).mean() + F.softplus(self.model.logits(fake, batch["label"])).mean()

    def generator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        return F.softplus(-self.model.logits(fake, batch["label"])).mean()


def module(*, discriminator_steps: int = 1, betas: tuple[float, float] | None = None, **options: Any) -> PairModule:
    torch.manual_seed(0)
    settings = TrainingOptions.model_validate({"total_steps": 8, **options})
    return PairModule(Pair(), SIGNATURE, settings, discriminator_steps=discriminator_steps, betas=betas)


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [{"numeric": torch.randn(6, 2, generator=generator), "label": torch.arange(6) % 3} for _ in range(4)]


class Watch(Callback):
    """Seeds every batch, as a run does, and keeps what each one left."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.parts: list[set[str]] = []
        self.weights: list[tuple[Tensor, Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append(trainer.global_step)
        self.parts.append(set(pl_module.parts))
        assert torch.equal(outputs["loss"], pl_module.parts["discriminator_loss"])
        model = pl_module.model
        self.weights.append(
            (model.generator[0].weight.detach().clone(), model.discriminator[0].weight.detach().clone())
        )


def fit(
    model: PairModule, folder: Path, *, epochs: int = 2, checkpoint: Path | None = None, **options: Any
) -> tuple[Trainer, Watch]:
    watch = Watch()
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": 1, **options}
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[watch],
        **settings,
    )
    loader = DataLoader(batches(), batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a scheduler that moves before its optimiser would warn
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|IterableDataset).*")
        warnings.filterwarnings("ignore", message=".*fork.*")
        trainer.fit(model, loader, loader, ckpt_path=checkpoint, weights_only=True)
    return trainer, watch


def test_a_batch_is_one_step_and_moves_both_networks(tmp_path: Path) -> None:
    trainer, watch = fit(module(), tmp_path)
    assert watch.steps == list(range(1, 9)) and trainer.global_step == 8
    assert all(parts == {"discriminator_loss", "generator_loss", "generator_gradient_norm"} for parts in watch.parts)
    for before, after in zip(watch.weights, watch.weights[1:], strict=False):
        assert not torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_the_generator_moves_in_every_nth_batch(tmp_path: Path) -> None:
    _, watch = fit(module(discriminator_steps=4), tmp_path)
    moved = [not torch.equal(a[0], b[0]) for a, b in zip(watch.weights, watch.weights[1:], strict=False)]
    assert moved == [False, False, True, False, False, False, True]
    assert [len(parts) for parts in watch.parts] == [1, 1, 1, 3, 1, 1, 1, 3]
    assert watch.steps == list(range(1, 9))


def test_the_discriminator_may_be_held_after_each_of_its_steps(tmp_path: Path) -> None:
    class Held(PairModule):
        """Whose discriminator has a bias of 1 whatever it learns."""

        def discriminator_moved(self) -> None:
            with torch.no_grad():
                self.model.discriminator[2].bias.fill_(1.0)

    held = Held(Pair(), SIGNATURE, TrainingOptions(total_steps=8))
    start = held.model.discriminator[2].weight.detach().clone()
    fit(held, tmp_path)
    assert held.model.discriminator[2].bias.item() == 1.0
    assert not torch.equal(held.model.discriminator[2].weight, start)


def test_max_steps_counts_batches(tmp_path: Path) -> None:
    trainer, _ = fit(module(), tmp_path, epochs=-1, max_steps=5)
    assert trainer.global_step == 5


def test_each_network_takes_the_rate_of_its_batch() -> None:
    optimizer = {"schedule": "linear", "lr": 1.0}
    model = module(discriminator_steps=4, optimizer=optimizer)
    _, (to_generator, to_discriminator) = model.configure_optimizers()
    assert to_discriminator.get_last_lr() == [1.0, 1.0]  # weights with decay, biases without
    assert to_generator.get_last_lr()[0] == pytest.approx(1 - 3 / 8)


@pytest.mark.parametrize("steps", [1, 2])
def test_resumed_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path, steps: int) -> None:
    options: dict[str, Any] = {"ema": 0.9, "gradient_clip": 0.5, "optimizer": {"schedule": "cosine", "warmup": "25%"}}
    whole = module(discriminator_steps=steps, **options)
    fit(whole, tmp_path)
    first = module(discriminator_steps=steps, **options)
    fit(first, tmp_path, epochs=1)[0].save_checkpoint(tmp_path / "half.ckpt")
    second = module(discriminator_steps=steps, **options)
    trainer, _ = fit(second, tmp_path, checkpoint=tmp_path / "half.ckpt")
    assert trainer.global_step == 8
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert whole.ema is not None and second.ema is not None
    for name, tensor in whole.ema.averages().items():
        assert torch.equal(tensor, second.ema.averages()[name]), name


def test_averages_are_deployed_and_move_with_the_generator(tmp_path: Path) -> None:
    model = module(discriminator_steps=4, ema=0.9)
    trainer, _ = fit(model, tmp_path)
    assert model.ema is not None and model.ema.steps == 2
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    deployed = deployed_weights(torch.load(tmp_path / "x.ckpt", weights_only=True))
    assert torch.equal(deployed["generator.0.weight"], model.ema.averages()["generator.0.weight"])
    assert not torch.equal(deployed["generator.0.weight"], model.model.generator[0].weight)


def test_the_gradient_norm_is_from_before_clipping(tmp_path: Path) -> None:
    model = module(gradient_clip=1e-3)
    fit(model, tmp_path, epochs=1)
    assert model.last_gradient_norm is not None and model.last_gradient_norm > 1e-2
    assert model.parts["generator_gradient_norm"] > 1e-2


def test_betas_of_the_family_are_those_of_both_optimisers() -> None:
    optimizers, _ = module(betas=(0.5, 0.9)).configure_optimizers()
    assert [optimizer.param_groups[0]["betas"] for optimizer in optimizers] == [(0.5, 0.9)] * 2


def test_validation_draws_the_same_samples_every_time_and_others_for_every_batch() -> None:
    model = module().eval()
    first, second = batches()[0], batches()[0]
    with torch.no_grad():
        results = [model.validation_step(batch, number)["loss_sum"] for batch, number in ((first, 0), (second, 0))]
        other = model.validation_step(first, 1)["loss_sum"]
    assert torch.equal(*results) and not torch.equal(results[0], other)


def test_a_parameter_of_neither_network_is_refused() -> None:
    pair = Pair()
    pair.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="'scale' belongs neither"):
        PairModule(pair, SIGNATURE, TrainingOptions(total_steps=1))


def test_a_network_without_anything_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing of the discriminator is left .*fine_tune\.freeze"):
        module(freeze=["discriminator.*"]).configure_optimizers()


def test_the_same_state_gives_the_same_samples_and_unknown_options_are_refused() -> None:
    pair, label = Pair().eval(), {"label": torch.arange(4) % 3}
    assert isinstance(pair, Generator)
    first, second = (pair.sample(4, label, generator=torch.Generator().manual_seed(3), options={}) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="unknown option 'steps'; allowed: none"):
        pair.sample(1, label, generator=torch.Generator(), options={"steps": 1})
    with pytest.raises(ValueError, match=r"allowed: truncation \(a number above 0\)"):
        check_options({"steps": 1}, {"truncation": "a number above 0"})


def _worker(rank: int, folder: str) -> None:
    meet(rank, folder)
    model = module(discriminator_steps=2)
    fit(model, Path(folder), **trained_by_two(rank))
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")


def test_two_workers_hold_the_same_weights(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(_worker, (str(tmp_path),), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    start = module().state_dict()
    for name, tensor in first.items():
        if "running" not in name and "num_batches" not in name:  # statistics are each worker's own until the next step
            assert torch.equal(tensor, second[name]), name
    assert not torch.equal(first["model.generator.0.weight"], start["model.generator.0.weight"])
