"""Layer by layer: which layer learns when, what its rate is, what becomes of chains, and what is learnt."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from forgeline_architectures.dbn import ARCHITECTURE
from forgeline_architectures.tasks.lightning_import import Callback, Trainer

SIGNATURE = {
    "task": "generation",
    "inputs": {"image": {"shape": [1, 2, 4], "dtype": "float32"}},
    "outputs": [1, 2, 4],
}
SGD = {"name": "sgd", "lr": 0.2, "momentum": 0.5, "weight_decay": 1e-4, "schedule": "linear"}


def build(total_steps: int, **config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"name": "dbn", "hidden": [6, 5], **config}
    return ARCHITECTURE.build_module(settings, SIGNATURE, {"total_steps": total_steps, "optimizer": SGD})


def pictures(count: int = 32) -> Tensor:
    """The left or the right half is white, rarely the upper one."""
    left, upper = torch.tensor([1.0, 1, -1, -1, 1, 1, -1, -1]), torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1])
    return torch.stack([(left, -left, left, -left, left, -left, -left, upper)[n % 8] for n in range(count)])[:, None]


class Watch(Callback):
    """Keeps layers and rate as they are before each batch, and after the last."""

    def __init__(self) -> None:
        self.layers: list[dict[str, Tensor]] = []
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        torch.manual_seed(trainer.global_step)
        self.layers.append(copy.deepcopy(pl_module.model.state_dict()))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.layers.append(copy.deepcopy(pl_module.model.state_dict()))


def fit(module: Any, steps: int, **resume: Any) -> tuple[Watch, Any]:
    watch, batch = Watch(), {"image": pictures().unflatten(2, (2, 4))}
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch], gradient_clip_val=5.0,
    )  # fmt: skip
    trainer.fit(module, DataLoader([batch] * 4, batch_size=None), **resume)
    return watch, trainer


@pytest.mark.filterwarnings("ignore")
def test_one_layer_learns_at_a_time_with_the_whole_course_of_the_rate() -> None:
    watch, _ = fit(build(7), 7)
    moved = [
        [
            any(not torch.equal(before[n], after[n]) for n in before if n.startswith(f"layers.{level}."))
            for level in (0, 1)
        ]
        for before, after in zip(watch.layers, watch.layers[1:], strict=False)
    ]
    assert moved == [[True, False]] * 4 + [[False, True]] * 3
    assert watch.rates == pytest.approx([0.2, 0.15, 0.1, 0.05, 0.2, 0.15, 0.1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("persistent", [False, True])
def test_goes_on_exactly_in_the_second_layer(tmp_path: Any, persistent: bool) -> None:
    config = {"persistent": persistent, "chains": 3}
    whole, _ = fit(build(8, **config), 8)
    _, stopped = fit(build(8, **config), 6)
    stopped.save_checkpoint(tmp_path / "state")
    resumed, _ = fit(build(8, **config), 8, ckpt_path=tmp_path / "state", weights_only=True)
    assert len(resumed.layers) == 3
    for name, tensor in whole.layers[-1].items():
        assert torch.equal(tensor, resumed.layers[-1][name]), name


def test_chains_are_states_that_go_on_and_stay_out_of_the_model() -> None:
    module = build(4, persistent=True, chains=3)
    before = module.chains_0.clone()
    torch.manual_seed(1)
    module.training_step({"image": pictures().unflatten(2, (2, 4))}, 0)
    torch.manual_seed(1)
    wanted, _ = module.model.machines[0].gibbs(before, 1)
    assert torch.equal(module.chains_0, wanted) and set(module.chains_0.unique().tolist()) <= {0.0, 1.0}
    assert "chains_1" in module.state_dict() and not any("chains" in name for name in module.model.state_dict())
    assert not hasattr(build(4), "chains_0")


@pytest.mark.parametrize("settings", [{"gibbs_steps": 3}, {"persistent": True, "chains": 64}], ids=["cd-3", "pcd"])
def test_training_makes_the_pictures_likely(settings: dict[str, Any]) -> None:
    """Exact: with 8 visible units every state can be counted."""
    module = build(200, name="rbm", hidden=[4], **settings)
    batch, shown = {"image": pictures().unflatten(2, (2, 4))}, (pictures()[:, 0] + 1) / 2
    everything = torch.tensor([[float(n >> bit & 1) for bit in range(8)] for n in range(256)])

    def likelihood() -> float:
        machine = module.model.machines[0]
        with torch.no_grad():
            return float(-machine.free_energy(shown).mean() - torch.logsumexp(-machine.free_energy(everything), 0))

    before = likelihood()
    optimizer = module.configure_optimizers()["optimizer"]
    for step in range(200):
        torch.manual_seed(step)
        optimizer.zero_grad()
        module.training_step(batch, step).backward()
        optimizer.step()
    # The entropy of the pictures themselves is 0.97 nats; 8 fair coins have 5.5.
    assert before < -5 and likelihood() > -3


def test_validation_sends_pictures_up_and_down_the_layers_that_learnt() -> None:
    module, batch = build(4).eval(), {"image": pictures(8).unflatten(2, (2, 4))}
    with torch.no_grad():
        found = module.validation_step(batch, 0)
        white = (batch["image"].flatten(1) + 1) / 2
        made = module.model.reconstructed(white, 1)
    wanted = -(white * made.log() + (1 - white) * (1 - made).log()).sum()
    torch.testing.assert_close(found["loss_sum"], wanted)
    assert found["count"] == 8 and found["outputs"] is None and found["parts"]["reconstruction"] == found["loss_sum"]


def test_every_parameter_has_a_gradient_for_workers_to_share() -> None:
    module = build(4)
    module.training_step({"image": pictures().unflatten(2, (2, 4))}, 0).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert not any(parameter.grad.any() for parameter in module.model.layers[1].parameters())
