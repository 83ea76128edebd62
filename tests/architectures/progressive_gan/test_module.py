"""The progressive GAN in a Trainer: all stages in one run, exact resume in a fade, losses, and what is refused."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from forgeline_architectures.progressive_gan import ARCHITECTURE
from forgeline_architectures.progressive_gan.module import DRIFT
from forgeline_architectures.tasks import deployed_weights
from forgeline_architectures.tasks.adversarial import AdversarialModule
from forgeline_architectures.tasks.lightning_import import Callback, Trainer

SIGNATURE = {
    "task": "generation",
    "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
    "outputs": [1, 8, 8],
}
BATCHES = 4


def module(total: int = 8, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "progressive_gan", "latent": 4, "widths": [4, 4], "stage_steps": 4, **config}
    return ARCHITECTURE.build_module(settings, SIGNATURE, {"total_steps": total, "ema": 0.9, "optimizer": {"lr": 1e-3}})


class Watch(Callback):
    """Seeds every batch, as a run does, and keeps what the step log would."""

    def __init__(self) -> None:
        self.grown: list[tuple[float, float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.grown.append((pl_module.parts["resolution"].item(), pl_module.parts["faded_in"].item()))


def fit(
    model: Any, folder: Path, *, epochs: int = 2, checkpoint: Path | None = None, **options: Any
) -> tuple[Trainer, Watch]:
    generator = torch.Generator().manual_seed(1)
    batches = [{"image": torch.randn(6, 1, 8, 8, generator=generator)} for _ in range(BATCHES)]
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        callbacks=[watch],
        **options,
    )
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|IterableDataset).*")
        trainer.fit(model, loader, loader, ckpt_path=checkpoint, weights_only=True)
    return trainer, watch


def test_one_run_goes_through_all_stages(tmp_path: Path) -> None:
    model = module()
    trainer, watch = fit(model, tmp_path)
    assert watch.grown == [(4, 1)] * 4 + [(8, 0.5), (8, 1), (8, 1), (8, 1)]
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    deployed = deployed_weights(torch.load(tmp_path / "x.ckpt", weights_only=True))
    assert deployed["step"] == 7, "what is deployed samples at the last resolution"


def test_how_far_it_has_grown_lies_on_the_device_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step log stacks both. A loss on the device that holds no numbers stands for one on a GPU."""
    loss = torch.zeros((), device="meta")
    monkeypatch.setattr(AdversarialModule, "training_step", lambda self, batch, batch_idx: loss)
    model, trainer = module(), SimpleNamespace(global_step=4)
    model.trainer = trainer
    model.training_step({}, 0)
    assert {name: part.device for name, part in model.parts.items()} == {
        "resolution": loss.device,
        "faded_in": loss.device,
    }


@pytest.mark.parametrize("loss", ["wgan_gp", "non_saturating"])
def test_all_stages_and_fades_run_in_bf16_mixed(tmp_path: Path, loss: str) -> None:
    model = module(loss=loss, fade=1.0)
    _, watch = fit(model, tmp_path, precision="bf16-mixed")
    assert [side for side, _ in watch.grown] == [4] * 4 + [8] * 4
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_resumed_in_a_fade_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path) -> None:
    whole, first, second = (module(stage_steps=3, fade=1.0) for _ in range(3))
    _, watched = fit(whole, tmp_path)
    fit(first, tmp_path, epochs=1)[0].save_checkpoint(tmp_path / "half.ckpt")
    _, watch = fit(second, tmp_path, checkpoint=tmp_path / "half.ckpt")
    assert watch.grown == watched.grown[BATCHES:] and watch.grown[0] == (8, pytest.approx(2 / 3))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    for name, tensor in whole.ema.averages().items():
        assert torch.equal(tensor, second.ema.averages()[name]), name


def test_a_model_that_is_grown_stays_so_when_it_is_tuned(tmp_path: Path) -> None:
    grown, whole, first, second = module(), module(total=6), module(total=6), module(total=6)
    fit(grown, tmp_path)
    for tuned in (whole, first):
        tuned.start_from(grown.model.state_dict())
    _, watch = fit(whole, tmp_path)
    assert watch.grown == [(8, 1)] * 8 and whole.model.step == 15
    fit(first, tmp_path, epochs=1)[0].save_checkpoint(tmp_path / "half.ckpt")
    _, watch = fit(second, tmp_path, checkpoint=tmp_path / "half.ckpt")
    assert watch.grown == [(8, 1)] * 4
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_model_that_is_half_grown_goes_on_growing(tmp_path: Path) -> None:
    model = module(total=4)
    weights = model.model.state_dict() | {"step": torch.tensor(2)}
    model.start_from(weights)
    _, watch = fit(model, tmp_path, epochs=1)
    assert watch.grown == [(4, 1), (8, 0.5), (8, 1), (8, 1)]
    short = module(total=2)
    short.start_from(weights)
    with pytest.raises(ValueError, match=r"5 steps end before the networks are grown"):
        fit(short, tmp_path, epochs=1)


def test_a_model_of_which_a_module_alone_is_taken_over_grows_from_the_start() -> None:
    model = module()
    weights = {name: tensor for name, tensor in model.model.state_dict().items() if name.startswith("discriminator.")}
    model.start_from(weights, fresh=model.model.state_dict().keys() - weights.keys())
    assert weights and model.grown_before == 0


def test_a_run_that_ends_before_the_networks_are_grown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"8 steps .* 2 stages is faded in after 9; change trainer.steps or"):
        fit(module(stage_steps=6), tmp_path)


def test_validation_is_at_the_resolution_of_training_and_without_penalty() -> None:
    model = module(loss="non_saturating").eval()
    model.model.step.fill_(6)
    batch = {"image": torch.randn(6, 1, 8, 8)}
    fake = model.fake(batch)
    on_real, on_fake = model.model.logits(batch["image"], {}), model.model.logits(fake, {})
    expected = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    assert fake.shape == (6, 1, 8, 8)
    assert model.discriminator_loss(batch, fake).item() == pytest.approx(expected.item())


def test_wassersteins_loss_has_the_penalty_and_the_drift() -> None:
    model = module(penalty=10.0)
    on = {1.0: torch.full((6,), 3.0), 0.0: torch.full((6,), 0.5)}

    def logits(samples: Tensor, condition: Any) -> Tensor:
        """3 of data and 0.5 of what is made, at a gradient of norm 2."""
        return on[samples.mean().round().item()] + 2 * (samples[:, 0, 0, 0] - samples[:, 0, 0, 0].detach())

    model.model.logits = logits
    loss = model.discriminator_loss({"image": torch.ones(6, 1, 8, 8)}, torch.zeros(6, 1, 4, 4))
    assert loss.item() == pytest.approx(0.5 - 3 + 10 * 1 + DRIFT * 9)
    without = module(penalty=0)
    without.model.logits = logits
    loss = without.discriminator_loss({"image": torch.ones(6, 1, 8, 8)}, torch.zeros(6, 1, 4, 4))
    assert loss.item() == pytest.approx(0.5 - 3 + DRIFT * 9, abs=1e-6), "the drift stays"


def test_r1_is_of_the_data_at_the_resolution_of_the_step() -> None:
    model = module(loss="non_saturating", penalty=0.5)
    model.model.logits = lambda samples, condition: 2 * samples.flatten(1).sum(1)
    loss = model.discriminator_loss({"image": torch.zeros(6, 1, 8, 8)}, torch.zeros(6, 1, 4, 4))
    assert loss.item() == pytest.approx(2 * math.log(2) + 0.5 * 4 * 16 / 2)  # of 16 pixels, not of 64
