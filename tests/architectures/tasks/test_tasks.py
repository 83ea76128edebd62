"""Lightning modules: losses, what they refuse, and their life inside a Trainer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from forgeline_architectures.bert import ARCHITECTURE as BERT
from forgeline_architectures.cnn import ARCHITECTURE as CNN
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.mlp import ARCHITECTURE as MLP
from forgeline_architectures.tasks import TaskModule, deployed_weights, language_modelling
from forgeline_architectures.tasks.classification import ClassificationModule
from forgeline_architectures.tasks.language_modelling import chunked_cross_entropy
from forgeline_architectures.tasks.lightning_import import Trainer

INPUTS = {"numeric": {"shape": [4], "dtype": "float32"}}
CLASSES = {"task": "classification", "inputs": INPUTS, "outputs": [3]}
NUMBERS = {"task": "regression", "inputs": INPUTS, "outputs": [2]}
TEXT = {"task": "language_modelling", "inputs": {"tokens": {"shape": [8], "dtype": "int64"}}, "outputs": [7]}
SMALL_GPT = {"name": "gpt", "layers": 1, "heads": 2, "width": 8}
TAGS = {"task": "token_classification", "inputs": TEXT["inputs"], "vocabulary": 7, "outputs": [3]}
SMALL_BERT = {"name": "bert", "layers": 1, "heads": 2, "width": 8, "dropout": 0.0}


def module(signature: dict[str, Any] = CLASSES, **options: Any) -> TaskModule:
    torch.manual_seed(0)
    config = {"name": "mlp", "hidden": [8], "norm": "batch"}
    return MLP.build_module(config, signature, {"total_steps": 8, **options})


def batch(rows: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"numeric": torch.randn(rows, 4, generator=generator), "target": torch.arange(rows) % 3}


def fit(model: TaskModule, folder: Path, *, epochs: int = 2, checkpoint: Path | None = None, **options: Any) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        **options,
    )
    batches = DataLoader([batch(), batch(9)], batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about the number of workers
        trainer.fit(model, batches, batches, ckpt_path=checkpoint, weights_only=True)
    return trainer


def _ragged() -> tuple[Tensor, Tensor]:
    tokens = torch.arange(32).view(4, 8) % 7
    target = tokens.roll(-1, 1)
    target[0, 1:] = target[2, 5:] = -100
    return tokens, target


def _tagged(*tokens_of_rows: int) -> dict[str, Tensor]:
    """Texts in which so many tokens of each row have a class."""
    tokens = torch.arange(8 * len(tokens_of_rows)).view(-1, 8) % 7
    asked = torch.arange(8) < torch.tensor(tokens_of_rows)[:, None]
    return {"tokens": tokens, "target": torch.where(asked, tokens % 3, -100)}


def _one_of_two(rank: int, folder: str, build: Callable[[], TaskModule], batch: dict[str, Tensor]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model = build()
    model.load_state_dict(torch.load(f"{folder}/weights.pt"))
    loss = model.training_step({name: tensor[rank::2] for name, tensor in batch.items()}, 0)
    torch.save(loss.detach(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _on_one_and_on_two(
    folder: Path, build: Callable[[], TaskModule], batch: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The loss of the whole batch, and of two workers [2] with every second row each."""
    whole = build()
    torch.save(whole.state_dict(), folder / "weights.pt")
    torch.multiprocessing.start_processes(_one_of_two, (str(folder), build, batch), nprocs=2, start_method="fork")
    losses = torch.stack([torch.load(folder / f"{rank}.pt") for rank in range(2)])
    return whole.training_step(batch, 0).detach(), losses


class TestLosses:
    def test_label_smoothing_is_the_published_mixture(self) -> None:
        model = module(label_smoothing=0.1)
        data = batch()
        logits = model.model(data)
        log_probabilities = logits.log_softmax(-1)
        plain = -log_probabilities[torch.arange(6), data["target"]]
        expected = (0.9 * plain + 0.1 * -log_probabilities.mean(-1)).mean()
        torch.testing.assert_close(model.training_step(data, 0), expected)

    def test_validation_is_without_smoothing_and_weights(self) -> None:
        options = {"label_smoothing": 0.3, "class_weights": (1.0, 5.0, 2.0)}
        smooth, plain = module(**options).eval(), module().eval()
        assert torch.equal(
            smooth.validation_step(batch(), 0)["loss_sum"], plain.validation_step(batch(), 0)["loss_sum"]
        )

    def test_class_weights_weigh(self) -> None:
        weights = torch.tensor([1.0, 5.0, 2.0])
        model = module(class_weights=tuple(weights.tolist()))
        data = batch()
        each = F.cross_entropy(model.model(data), data["target"], reduction="none")
        torch.testing.assert_close(model.training_step(data, 0), (weights[data["target"]] * each).mean())

    def test_the_mean_over_workers_is_the_loss_of_the_whole_batch(self) -> None:
        model = module(class_weights=(1.0, 5.0, 2.0)).eval()
        data = batch(8)
        parts = [{name: tensor[rank::2] for name, tensor in data.items()} for rank in range(2)]
        mean = torch.stack([model.training_step(part, 0) for part in parts]).mean()
        torch.testing.assert_close(mean, model.training_step(data, 0))

    def test_workers_with_unequal_numbers_of_tokens_have_the_mean_of_all_as_their_mean(self, tmp_path: Path) -> None:
        tokens, target = _ragged()
        build = partial(GPT.build_module, SMALL_GPT, TEXT, {"total_steps": 2})
        whole, losses = _on_one_and_on_two(tmp_path, build, {"tokens": tokens, "target": target})
        torch.testing.assert_close(losses.mean(), whole)

    @pytest.mark.parametrize(
        "options",
        [{}, {"class_weights": (1.0, 5.0, 2.0), "label_smoothing": 0.1}],
        ids=["plain", "weighted and smoothed"],
    )
    @pytest.mark.parametrize("tokens", [(7, 1), (7, 0)], ids=["seven and one", "seven and none"])
    def test_workers_with_unequal_numbers_of_classified_tokens_have_the_mean_of_all_as_their_mean(
        self, tmp_path: Path, tokens: tuple[int, int], options: dict[str, Any]
    ) -> None:
        build = partial(BERT.build_module, SMALL_BERT, TAGS, {"total_steps": 2, **options})
        whole, losses = _on_one_and_on_two(tmp_path, build, _tagged(*tokens))
        assert whole > 0
        torch.testing.assert_close(losses.mean(), whole)

    def test_classified_tokens_are_smoothed_and_weighed_as_rows_are(self) -> None:
        options = {"class_weights": (1.0, 5.0, 2.0), "label_smoothing": 0.1}
        rows, tokens = module(**options), BERT.build_module(SMALL_BERT, TAGS, {"total_steps": 2, **options})
        data = _tagged(7, 1)
        asked = data["target"] != -100
        logits = tokens.model(data)[asked]
        assert isinstance(rows, ClassificationModule)
        torch.testing.assert_close(tokens.training_step(data, 0), rows.cross_entropy(logits, data["target"][asked]))

    def test_probabilities_sum_to_one(self) -> None:
        outputs = module().eval().validation_step(batch(), 0)["outputs"]
        assert outputs is not None
        torch.testing.assert_close(outputs.sum(-1), torch.ones(6))

    @pytest.mark.parametrize("options", [{"class_weights": (1.0, 2.0)}, {"label_smoothing": 0.1}])
    def test_class_options_are_refused_elsewhere(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(options))}.* for classification"):
            module(NUMBERS, **options)

    def test_wrong_number_of_class_weights(self) -> None:
        with pytest.raises(ValueError, match="got 2 for 3 classes"):
            module(class_weights=(1.0, 2.0))

    def test_ignored_tokens_do_not_count(self) -> None:
        model = GPT.build_module(SMALL_GPT, TEXT, {"total_steps": 2})
        tokens = torch.arange(16).view(2, 8) % 7
        target = tokens.roll(-1, 1)
        target[:, 4:] = -100
        result = model.validation_step({"tokens": tokens, "target": target}, 0)
        assert result["count"] == 8
        torch.testing.assert_close(
            result["loss_sum"] / 8,
            F.cross_entropy(model.model({"tokens": tokens})[:, :4].flatten(0, 1), target[:, :4].flatten()),
        )

    def test_a_batch_of_ignored_tokens_only_has_loss_zero(self) -> None:
        model = GPT.build_module(SMALL_GPT, TEXT, {"total_steps": 2})
        tokens = torch.zeros(2, 8, dtype=torch.int64)
        assert model.training_step({"tokens": tokens, "target": torch.full_like(tokens, -100)}, 0).item() == 0.0

    def test_chunks_change_neither_loss_nor_gradient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = GPT.build_module(SMALL_GPT, TEXT, {"total_steps": 2})
        data = {"tokens": torch.arange(16).view(2, 8) % 7, "target": torch.arange(1, 17).view(2, 8) % 7}
        results = []
        for limit in (language_modelling.LOGITS_AT_ONCE, 21):
            monkeypatch.setattr(language_modelling, "LOGITS_AT_ONCE", limit)
            model.zero_grad()
            loss = model.training_step(data, 0)
            loss.backward()
            results.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
        torch.testing.assert_close(results[0], results[1])

    def test_chunked_cross_entropy_takes_a_rest(self) -> None:
        hidden, target = torch.randn(2, 5, 3), torch.arange(10).view(2, 5) % 3
        expected = F.cross_entropy(hidden.flatten(0, 1), target.flatten(), reduction="sum")
        torch.testing.assert_close(chunked_cross_entropy(lambda states: states, hidden, target, chunk=4), expected)


class TestTrainer:
    def test_resumed_is_bit_for_bit_the_uninterrupted_run(self, tmp_path: Path) -> None:
        options = {"ema": 0.9, "optimizer": {"schedule": "cosine", "warmup": "25%"}}
        whole = module(**options)
        fit(whole, tmp_path, epochs=4, gradient_clip_val=0.5)
        first = module(**options)
        fit(first, tmp_path, epochs=2, gradient_clip_val=0.5).save_checkpoint(tmp_path / "half.ckpt")
        second = module(**options)
        fit(second, tmp_path, epochs=4, checkpoint=tmp_path / "half.ckpt", gradient_clip_val=0.5)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name]), name
        assert whole.ema is not None and second.ema is not None
        for name, tensor in whole.ema.averages().items():
            assert torch.equal(tensor, second.ema.averages()[name]), name

    def test_averaged_weights_are_validated_and_deployed(self, tmp_path: Path) -> None:
        model = module(ema=0.99)
        trainer = fit(model, tmp_path)
        assert model.ema is not None and model.ema.steps == 4
        state, averages = model.model.state_dict(), model.ema.averages()
        assert not torch.equal(state["head.weight"], averages["head.weight"])
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        checkpoint = torch.load(tmp_path / "x.ckpt", weights_only=True)
        assert torch.equal(deployed_weights(checkpoint)["head.weight"], averages["head.weight"])
        assert torch.equal(checkpoint["state_dict"]["model.head.weight"], state["head.weight"])

    def test_without_averaging_the_weights_themselves_are_deployed(self, tmp_path: Path) -> None:
        model = module()
        fit(model, tmp_path).save_checkpoint(tmp_path / "x.ckpt")
        deployed = deployed_weights(torch.load(tmp_path / "x.ckpt", weights_only=True))
        assert set(deployed) == set(model.model.state_dict())

    def test_averaging_once_per_optimizer_step(self, tmp_path: Path) -> None:
        model = module(ema=0.9)
        fit(model, tmp_path, epochs=3, accumulate_grad_batches=2)
        assert model.ema is not None and model.ema.steps == 3

    @pytest.mark.parametrize("clip", [None, 0.01])
    def test_gradient_norm_is_kept_from_before_clipping(self, tmp_path: Path, clip: float | None) -> None:
        model = module()
        fit(model, tmp_path, epochs=1, gradient_clip_val=clip)
        assert model.last_gradient_norm is not None and model.last_gradient_norm > 0.02
        assert not model.last_gradient_norm.requires_grad

    def test_frozen_layers_hold_still_with_their_statistics(self, tmp_path: Path) -> None:
        model = module(freeze=["hidden.*"])
        before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
        fit(model, tmp_path)
        changed = {name for name, tensor in model.model.state_dict().items() if not torch.equal(tensor, before[name])}
        assert changed == {"head.weight", "head.bias"}

    def test_resuming_with_averaging_from_a_run_without_is_refused(self, tmp_path: Path) -> None:
        fit(module(), tmp_path, epochs=1).save_checkpoint(tmp_path / "x.ckpt")
        with pytest.raises(ValueError, match="no averaged weights"):
            fit(module(ema=0.9), tmp_path, checkpoint=tmp_path / "x.ckpt")


def test_timm_layers_are_frozen_by_timms_names() -> None:
    image = {"task": "classification", "inputs": {"image": {"shape": [1, 16, 16], "dtype": "float32"}}, "outputs": [3]}
    model = CNN.build_module({"name": "resnet10t"}, image, {"total_steps": 1, "freeze": ["conv1.*", "layer1.*"]})
    frozen = {name.split(".")[1] for name, parameter in model.model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"conv1", "layer1"}
