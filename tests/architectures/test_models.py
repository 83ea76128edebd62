"""What every model keeps to: shapes, learning, saving, embedding, validation; run over all cases of all families."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.utils.data import DataLoader

from forgeline_architectures.tasks.lightning_import import Callback, Trainer
from tests.architectures.cases import CASES, FAMILIES, ROWS, batch_of, signature_of

CASE_NAMES = [f"{config['name']}-{task}-{index}" for index, (_, config, task, _, _) in enumerate(CASES)]
# Families that `Bundle.embed` takes: their models have `penultimate`.
EMBEDDING = {
    "autoencoder",
    "bert",
    "captioner",
    "clip",
    "cnn",
    "dbn",
    "gat",
    "gcn",
    "gpt",
    "lamda",
    "lenet",
    "llama",
    "mlp",
    "mpnn",
    "palm",
    "recurrent",
    "seq2seq",
    "t5",
    "transformer",
}


class Watch(Callback):
    """Keeps the loss of the newest batch."""

    loss: Tensor

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.loss = outputs["loss"].detach().float()


def step_of(module: Any, batch: dict[str, Tensor], folder: Path, **options: Any) -> Trainer:
    """One optimiser step in a Trainer, in bf16-mixed."""
    trainer = Trainer(
        devices=1,
        precision="bf16-mixed",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec|val_dataloader).*")
        trainer.fit(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
    return trainer


@pytest.mark.parametrize(("name", "config", "task", "inputs", "outputs"), CASES, ids=CASE_NAMES)
class TestModel:
    def test_shape_of_the_output(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        out = FAMILIES[name].build_model(config, signature)(batch_of(signature))
        length = {
            "language_modelling": (16,),
            "token_classification": (16,),
            "masked_language_modelling": (16,),
            "translation": (5,),
        }.get(task, ())
        # Retrieval compares each picture with each caption.
        expected = (ROWS, ROWS) if task == "retrieval" else (ROWS, *length, *outputs)
        if FAMILIES[name].own_steps:
            expected = (ROWS,)  # what the discriminator says of each sample
        assert out.shape == expected

    def test_a_module_is_built_without_memory_for_its_weights(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        with torch.device("meta"):
            module = FAMILIES[name].build_module(config, signature_of(task, inputs, outputs), {"total_steps": 5})
        assert all(parameter.is_meta for parameter in module.model.parameters())

    def test_a_few_steps_reduce_the_loss(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        torch.manual_seed(0)
        signature = signature_of(task, inputs, outputs)
        module = FAMILIES[name].build_module(config, signature, {"total_steps": 5, "optimizer": {"lr": 1e-3}})
        batch = batch_of(signature)
        if FAMILIES[name].own_steps:  # whose training step needs a trainer; the loss is the discriminator's
            (_, optimizer), _ = module.configure_optimizers()
            step = module.loss
        else:
            optimizer = module.configure_optimizers()["optimizer"]
            step = lambda batch: module.training_step(batch, 0)  # noqa: E731
        losses = []
        for _ in range(5):
            torch.manual_seed(1)  # the same draws in every step, so that the losses differ by the weights alone
            optimizer.zero_grad()
            loss = step(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]

    def test_a_training_step_in_bf16_mixed(
        self,
        tmp_path: Path,
        name: str,
        config: dict[str, Any],
        task: str,
        inputs: dict[str, Any],
        outputs: list[int],
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        module = FAMILIES[name].build_module(config, signature, {"total_steps": 10_000})  # more than any stage needs
        trainer = step_of(module, batch_of(signature), tmp_path, accelerator="cpu")
        assert trainer.global_step == 1
        for label, tensor in module.model.state_dict().items():
            assert tensor.dtype not in (torch.bfloat16, torch.float16) and tensor.isfinite().all(), label
        assert all(part.isfinite() for part in module.parts.values())

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
    def test_a_training_step_on_a_gpu(
        self,
        tmp_path: Path,
        name: str,
        config: dict[str, Any],
        task: str,
        inputs: dict[str, Any],
        outputs: list[int],
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        module = FAMILIES[name].build_module(config, signature, {"total_steps": 10_000})
        watch = Watch()
        step_of(module, batch_of(signature), tmp_path, accelerator="gpu", callbacks=[watch])
        # As the step log does.
        assert torch.stack([watch.loss, *(part.float() for part in module.parts.values())]).isfinite().all()

    def test_a_compiled_step_runs_what_was_compiled_or_the_family_says_why_not(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        config: dict[str, Any],
        task: str,
        inputs: dict[str, Any],
        outputs: list[int],
    ) -> None:
        ran = []

        def recorded(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                ran.append(function.__name__)
                return function(*arguments, **keywords)

            return call

        monkeypatch.setattr(torch, "compile", recorded)
        signature = signature_of(task, inputs, outputs)
        module = FAMILIES[name].build_module(config, signature, {"total_steps": 1})
        module.compile_model()
        module.loss(batch_of(signature))
        assert bool(ran) is not bool(FAMILIES[name].not_compiled)

    def test_saved_weights_predict_the_same(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        first = FAMILIES[name].build_model(config, signature).eval()
        second = FAMILIES[name].build_model(config, signature).eval()
        second.load_state_dict(load(save({name: t.contiguous() for name, t in first.state_dict().items()})))
        batch = batch_of(signature)
        assert torch.equal(first(batch), second(batch))

    def test_what_the_last_layer_reads_is_a_vector_per_sample(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        model: Any = FAMILIES[name].build_model(config, signature).eval()
        if name not in EMBEDDING:
            assert not hasattr(model, "penultimate"), "name it in EMBEDDING"
            return
        vectors = model.penultimate(batch_of(signature))
        assert vectors.shape[0] == ROWS and vectors.ndim == 2 and vectors.isfinite().all()
        assert vectors.std(0).max() > 0, "samples differ"

    def test_validation_step(
        self, name: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
    ) -> None:
        signature = signature_of(task, inputs, outputs)
        module = FAMILIES[name].build_module(config, signature, {"total_steps": 2}).eval()
        with torch.no_grad():
            result = module.validation_step(batch_of(signature), 0)
        assert result["loss_sum"].ndim == 0 and result["count"].ndim == 0
        if task.endswith("language_modelling"):
            assert result["outputs"] is None and result["count"] == ROWS * 16
        elif task == "generation":
            assert result["outputs"] is None and result["target"] is None and result["count"] == ROWS
        elif task == "reconstruction":
            assert result["outputs"].shape == (ROWS, 2) and result["count"] == ROWS
        elif task == "retrieval":
            assert result["outputs"].shape == (ROWS, 2, 8) and result["count"] == ROWS
        elif task == "token_classification":
            assert result["outputs"].shape == (ROWS * 15, *outputs) and result["count"] == ROWS * 15
        elif task == "translation":
            assert result["outputs"].shape == (ROWS, 5) and result["count"] == ROWS * 5
        else:
            assert result["outputs"] is not None and result["outputs"].shape == (ROWS, *outputs)
            assert result["count"] == ROWS
