"""CycleGAN: published sizes, both directions at once, the losses, replayed translations, exact resume, learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn
from torch.utils.data import DataLoader

from forgeline_architectures.cyclegan import ARCHITECTURE
from forgeline_architectures.cyclegan.module import CycleGANModule
from forgeline_architectures.cyclegan.replay import Replay
from forgeline_architectures.tasks.lightning_import import Callback, Trainer
from tests.architectures.two_workers import meet, trained_by_two

SMALL = {"filters": 4, "halvings": 1, "blocks": 1, "discriminator_filters": 4, "discriminator_halvings": 1}


def signature(side: int, channels: int = 1, **changes: Any) -> dict[str, Any]:
    picture = {"shape": [channels, side, side], "dtype": "float32"}
    return {
        "task": "generation",
        "inputs": {"image": picture, "source": picture, "label": {"shape": [], "dtype": "int64"}},
        "outputs": picture["shape"],
        "conditions": {"label": 2},
        "source": "source",
        **changes,
    }


def module(side: int = 8, **config: Any) -> CycleGANModule:
    torch.manual_seed(0)
    settings = {"name": "cyclegan", **SMALL, **config}
    found = ARCHITECTURE.build_module(settings, signature(side), {"total_steps": 8, "optimizer": {"lr": 2e-3}})
    assert isinstance(found, CycleGANModule)
    return found


def batch(rows: int = 6, side: int = 8, seed: int = 1) -> dict[str, Tensor]:
    """Domain 0 is dark, domain 1 bright."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(rows) % 2
    level = (label - 0.5).view(-1, 1, 1, 1)
    noise = 0.3 * torch.randn(2, rows, 1, side, side, generator=generator)
    return {"image": (level + noise[0]).clamp(-1, 1), "source": (-level + noise[1]).clamp(-1, 1), "label": label}


class Shade(nn.Module):
    """Answers a grey whatever it is shown, and counts the pictures."""

    def __init__(self, grey: float) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.tensor(grey))
        self.shown = 0

    def forward(self, pictures: Tensor) -> Tensor:
        self.shown += len(pictures)
        return torch.zeros_like(pictures) + self.grey


def shades(**config: Any) -> CycleGANModule:
    """Generators that answer 0.2 and 0.4, discriminators that answer 0.5 and 0.75."""
    found = module(**config)
    for networks, greys in ((found.model.generator, (0.2, 0.4)), (found.model.discriminator, (0.5, 0.75))):
        for number, grey in enumerate(greys):
            networks[number] = Shade(grey)
    return found


def test_parameters_of_the_published_networks() -> None:
    """9 residual blocks at 256x256, and the discriminator of 70x70 patches; two of each."""
    with torch.device("meta"):
        model: Any = ARCHITECTURE.build_model({"name": "cyclegan"}, signature(256, channels=3))
        patches = model.discriminator[0](torch.empty(1, 3, 256, 256))
    for networks, parameters in ((model.generator, 11_378_179), (model.discriminator, 2_764_737)):
        assert [sum(p.numel() for p in network.parameters()) for network in networks] == [parameters] * 2
    assert patches.shape == (1, 1, 30, 30)


def test_a_patch_is_seventy_pixels_wide() -> None:
    model: Any = ARCHITECTURE.build_model(
        {"name": "cyclegan", "filters": 1, "blocks": 0, "discriminator_filters": 1}, signature(128)
    )
    layers = [layer for layer in model.discriminator[0] if not isinstance(layer, nn.InstanceNorm2d)]
    pictures = torch.randn(1, 1, 128, 128, requires_grad=True)
    nn.Sequential(*layers)(pictures)[0, 0, 7, 7].backward()  # a norm would see the whole picture
    assert pictures.grad is not None
    rows = pictures.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


def test_each_row_goes_through_the_networks_of_its_domain() -> None:
    model = shades().model
    label = torch.tensor([1, 0, 1, 1])
    pictures = torch.zeros(4, 1, 8, 8)
    assert model.translated(pictures, label)[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.2, 0.4, 0.4])
    assert model({"image": pictures, "label": label}).tolist() == pytest.approx([0.75, 0.5, 0.75, 0.75])
    assert [network.shown for network in model.generator] == [1, 3]
    assert model.translated(pictures, torch.ones(4, dtype=torch.int64)).mean().item() == pytest.approx(0.4)
    assert [network.shown for network in model.generator] == [1, 7], "none is asked about no picture"


def test_losses_are_those_of_the_paper() -> None:
    found = shades(cycle=3.0, identity=0.5, replay=0)
    data = {"image": torch.zeros(2, 1, 8, 8), "source": torch.ones(2, 1, 8, 8), "label": torch.tensor([0, 1])}
    squares = (0.5**2 + 0.75**2) / 2, (0.5**2 + 0.25**2) / 2  # of what was made, and of what is missing to 1
    assert found.loss(data).item() == pytest.approx((squares[1] + squares[0]) / 2)
    expected = squares[1] + 3.0 * (0.6 + 0.8) / 2 + 1.5 * (0.2 + 0.4) / 2
    assert found.generator_loss(data, found.fake(data)).item() == pytest.approx(expected)
    parts = {name: value.item() for name, value in found.parts.items()}
    assert parts == pytest.approx({"adversarial": squares[1], "cycle": 0.7, "identity": 0.3})
    without = shades(cycle=3.0, identity=0.0)
    assert without.generator_loss(data, without.fake(data)).item() == pytest.approx(squares[1] + 2.1)


class TestReplay:
    def test_it_fills_then_half_of_the_pictures_are_older_ones(self) -> None:
        torch.manual_seed(0)
        replay = Replay(50, (1, 1, 1))
        first = torch.arange(50.0).view(-1, 1, 1, 1)
        assert torch.equal(replay.exchanged(first), first) and torch.equal(replay.pictures, first)
        seen = replay.exchanged(torch.arange(50.0, 1050).view(-1, 1, 1, 1)).flatten()
        older = seen != torch.arange(50.0, 1050)
        assert 0.45 < older.float().mean() < 0.55 and (seen[older] < torch.arange(50.0, 1050)[older]).all()
        everything = torch.cat([seen, replay.pictures.flatten()]).sort().values
        assert torch.equal(everything, torch.arange(1050.0)), "each one is seen or kept, none twice"

    def test_none_are_kept(self) -> None:
        made = torch.randn(3, 1, 2, 2)
        assert torch.equal(Replay(0, (1, 2, 2)).exchanged(made), made)

    def test_a_domain_has_its_own_and_validation_changes_none(self) -> None:
        found = shades(replay=4)
        found.loss(batch(6))
        zero, one = (replay.pictures[:3] for replay in found.replays)
        assert zero.unique().tolist() == pytest.approx([0.2]) and one.unique().tolist() == pytest.approx([0.4])
        before = found.replays.state_dict()
        with torch.no_grad():
            found.eval().validation_step(batch(6), 0)
        assert [int(replay.filled) for replay in found.replays] == [3, 3]
        assert all(torch.equal(tensor, found.replays.state_dict()[name]) for name, tensor in before.items())


def fit(
    model: CycleGANModule, folder: Path, *, epochs: int, checkpoint: Path | None = None, rank: int = 0, **options: Any
) -> Trainer:
    class Seed(Callback):
        """Seeds every batch, as a run does."""

        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            torch.manual_seed(trainer.global_step)

    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=[Seed()], default_root_dir=folder, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
        **{"devices": 1, **options},
    )  # fmt: skip
    loader = DataLoader([batch(seed=seed + 10 * rank) for seed in range(4)], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(model, loader, ckpt_path=checkpoint, weights_only=True)
    return trainer


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|fork).*")
def test_resumed_is_bit_for_bit_the_uninterrupted_run(tmp_path: Path) -> None:
    whole, first, second = (module(replay=5) for _ in range(3))
    fit(whole, tmp_path, epochs=2)
    fit(first, tmp_path, epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    fit(second, tmp_path, epochs=2, checkpoint=tmp_path / "half.ckpt")
    expected, resumed = whole.state_dict(), second.state_dict()
    assert {"replays.0.pictures", "replays.1.filled"} <= set(expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed[name]), name


def _worker(rank: int, folder: str) -> None:
    """A run of two workers, and one that is resumed in its middle."""
    meet(rank, folder)

    def fitted(epochs: int, checkpoint: Path | None = None) -> Trainer:
        return fit(
            module(replay=5), Path(folder), epochs=epochs, checkpoint=checkpoint, rank=rank,
            use_distributed_sampler=False, **trained_by_two(rank),
        )  # fmt: skip

    half = Path(folder) / "half.ckpt"
    whole = fitted(2).lightning_module.state_dict()
    fitted(1).save_checkpoint(half)
    resumed = fitted(2, half).lightning_module.state_dict()
    torch.save({"whole": whole, "resumed": resumed}, f"{folder}/{rank}.pt")


def test_each_worker_keeps_translations_of_its_own_in_a_resumed_run_too(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(_worker, (str(tmp_path),), nprocs=2, start_method="fork")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, tensor in first["whole"].items():
        for worker in (first, second):
            assert torch.equal(worker["whole"][name], worker["resumed"][name]), name
        assert torch.equal(tensor, second["whole"][name]) is not name.endswith("pictures"), name
    kept, others = (torch.cat([each["whole"][f"replays.{n}.pictures"] for n in "01"]) for each in (first, second))
    assert not any(torch.equal(one, other) for one in kept for other in others), "none is shared"


def test_it_learns_the_other_domain_and_keeps_the_picture() -> None:
    """Domain 0 is dark, domain 1 bright: the same patterns, of which no two are ever shown as a pair."""
    found = module(8, halvings=0, blocks=0, filters=8)
    to_generator, to_discriminator = (
        torch.optim.Adam(p.parameters(), lr=1e-2, betas=(0.5, 0.999)) for p in (found.generator, found.discriminator)
    )
    generator = torch.Generator().manual_seed(0)

    def drawn(rows: int) -> dict[str, Tensor]:
        label = torch.arange(rows) % 2
        level = (label - 0.5).view(-1, 1, 1, 1)
        patterns = 0.3 * torch.randint(2, (2, rows, 1, 4, 4), generator=generator).mul(2).sub(1)
        image, source = patterns.repeat_interleave(2, 3).repeat_interleave(2, 4)
        return {"image": level + image, "source": source - level, "label": label}

    for _ in range(80):
        data = drawn(8)
        to_discriminator.zero_grad()
        found.loss(data).backward()
        to_discriminator.step()
        to_generator.zero_grad()
        found.generator_loss(data, found.fake(data)).backward()
        to_generator.step()
    data = drawn(32)
    with torch.no_grad():
        made = found.model.eval().sample(32, data, generator=torch.Generator(), options={})
    levels, wanted = (pictures.mean((1, 2, 3), keepdim=True) for pictures in (made, -data["source"]))
    assert (levels.sign() == wanted.sign()).all(), "as dark or bright as its domain"
    assert ((made > levels) == (data["source"] > -wanted)).float().mean() > 0.7, "the pattern is the source's own"


def test_options_are_refused() -> None:
    data = batch(2)
    with pytest.raises(ValueError, match="unknown option 'steps'; allowed: none"):
        module().model.sample(2, data, generator=torch.Generator(), options={"steps": 1})


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        ({}, signature(8, conditions={"label": 3}), r"the data have 3 of them: change data\.condition to domain"),
        ({"halvings": 2}, signature(10), r"multiples of 4, from 8; got 10x10: change data\.size or architecture\.halv"),
        ({"halvings": 3}, signature(8), r"multiples of 8, from 16; got 8x8"),
        ({"discriminator_halvings": 2}, signature(8), r"from 12 pixels; got 8x8: .*architecture\.discriminator_halv"),
    ],
)
def test_data_that_do_not_fit_are_refused(config: dict[str, Any], data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({"name": "cyclegan", **SMALL, **config}, data)


def test_data_without_a_source_are_refused() -> None:
    data = signature(8, source=None)
    del data["inputs"]["source"]
    with pytest.raises(ValueError, match=r"two domains; the data have none: change data\.condition"):
        ARCHITECTURE.check({"name": "cyclegan", **SMALL}, data)
