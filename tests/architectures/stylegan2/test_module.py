"""How StyleGAN2 learns: when the penalties are due and what they weigh, the path length, mixing, exact resume."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from forgeline_architectures.stylegan2 import ARCHITECTURE
from forgeline_architectures.tasks.lightning_import import Callback, Trainer

SIGNATURE = {
    "task": "generation",
    "inputs": {"image": {"shape": [1, 8, 8], "dtype": "float32"}},
    "outputs": [1, 8, 8],
}
BATCHES = 3


def module(**config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "stylegan2", "latent": 4, "style": 4, "mapping_layers": 2, "widths": [4, 4], **config}
    return ARCHITECTURE.build_module(settings, SIGNATURE, {"total_steps": 6, "ema": 0.9, "optimizer": {"lr": 1e-3}})


class Watch(Callback):
    """Seeds every batch, as a run does, and keeps which penalties were due."""

    def __init__(self) -> None:
        self.due: list[set[str]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.due.append({"r1", "path_length"} & set(pl_module.parts))


def fit(model: Any, folder: Path, *, epochs: int = 2, checkpoint: Path | None = None) -> tuple[Trainer, Watch]:
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
    )
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|IterableDataset).*")
        trainer.fit(model, loader, loader, ckpt_path=checkpoint, weights_only=True)
    return trainer, watch


def test_penalties_are_due_in_every_nth_step(tmp_path: Path) -> None:
    _, watch = fit(module(penalty_every=2, path_length_every=3), tmp_path)
    assert watch.due == [{"r1", "path_length"}, set(), {"r1"}, {"path_length"}, {"r1"}, set()]


def test_a_penalty_that_weighs_nothing_is_never_due(tmp_path: Path) -> None:
    _, watch = fit(module(penalty=0, path_length=0), tmp_path, epochs=1)
    assert watch.due == [set()] * BATCHES


def test_resumed_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path) -> None:
    """With the running means of styles and path lengths, of which the resumed run has one from before."""
    whole, first, second = (module(path_length_every=2, penalty_every=2) for _ in range(3))
    fit(whole, tmp_path)
    fit(first, tmp_path, epochs=1)[0].save_checkpoint(tmp_path / "half.ckpt")
    _, watch = fit(second, tmp_path, checkpoint=tmp_path / "half.ckpt")
    assert watch.due == [set(), {"r1", "path_length"}, set()]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert whole.mean_length > 0
    for name, tensor in whole.ema.averages().items():
        assert torch.equal(tensor, second.ema.averages()[name]), name


def test_a_lazy_penalty_weighs_as_many_times_more() -> None:
    model = module(penalty=0.5, penalty_every=4)
    model.model.logits = lambda samples, condition: 3 * samples.flatten(1).sum(1)
    real = torch.zeros(6, 1, 8, 8)
    assert model.penalty(real, real, {}).item() == pytest.approx(0.5 * 4 * 9 * 64 / 2)
    model._step_now = 1
    assert model.penalty(real, real, {}).item() == 0


def test_the_path_length_of_a_linear_generator() -> None:
    """Pictures 2 s of the first layer's style s, spread over the pixels: J^T y = 2 sum(y) for one of the layers."""
    model = module()
    layers = model.model.generator.layers
    model.model.generator.forward = lambda styles, noises: 2 * styles[:, :1, :1, None].expand(-1, 1, 8, 8)
    torch.manual_seed(5)
    lengths: list[Tensor] = []
    for _ in range(200):
        model.mean_length.zero_()
        model._path_length(8)
        lengths.append(model.mean_length / 0.01)
    # The sum of 64 numbers N(0, 1) / 8 is N(0, 1), of mean size sqrt(2 / pi); the mean square is over the layers.
    expected = 2 * (2 / torch.pi) ** 0.5 / layers**0.5
    assert torch.stack(lengths).mean().item() == pytest.approx(expected, rel=0.1)


def test_the_path_length_penalty_pulls_lengths_to_their_mean() -> None:
    model = module(mapping_rate=1.0)
    optimizer = torch.optim.Adam(model.generator.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        torch.manual_seed(2)
        loss = model._path_length(16)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert model.mean_length.item() > 0


def test_styles_are_mixed_in_training_alone() -> None:
    model = module(mixing=1.0)
    styles = model._styles(64)
    ends = (styles[:, 0] != styles[:, -1]).any(1)
    assert ends.all(), "every sample has two styles"
    never = module(mixing=0.0)._styles(64)
    assert torch.equal(never, never[:, :1].expand_as(never))
    assert model.model.mean_style.abs().sum() > 0
    shared = module(mixing=0.5)._styles(400)
    share = (shared[:, 0] != shared[:, -1]).any(1).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.1)
    batch = {"image": torch.zeros(4, 1, 8, 8)}
    model.eval()
    kept = model.model.mean_style.clone()
    first, second = (model.fake(batch, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(kept, model.model.mean_style)
