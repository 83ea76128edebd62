"""The contract of a family, run over all of them; a registered family without a case fails the suite."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from forgeline_architectures import Architecture
from forgeline_architectures.autoencoder import ARCHITECTURE as AUTOENCODER
from forgeline_architectures.bert import ARCHITECTURE as BERT
from forgeline_architectures.biggan import ARCHITECTURE as BIGGAN
from forgeline_architectures.captioner import ARCHITECTURE as CAPTIONER
from forgeline_architectures.clip import ARCHITECTURE as CLIP
from forgeline_architectures.cnn import ARCHITECTURE as CNN
from forgeline_architectures.cyclegan import ARCHITECTURE as CYCLEGAN
from forgeline_architectures.dalle import ARCHITECTURE as DALLE
from forgeline_architectures.dbn import ARCHITECTURE as DBN
from forgeline_architectures.dcgan import ARCHITECTURE as DCGAN
from forgeline_architectures.ddpm import ARCHITECTURE as DDPM
from forgeline_architectures.dsn import ARCHITECTURE as DSN
from forgeline_architectures.gan import ARCHITECTURE as GAN
from forgeline_architectures.gat import ARCHITECTURE as GAT
from forgeline_architectures.gcn import ARCHITECTURE as GCN
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.imagen import ARCHITECTURE as IMAGEN
from forgeline_architectures.lamda import ARCHITECTURE as LAMDA
from forgeline_architectures.latent_diffusion import ARCHITECTURE as LATENT_DIFFUSION
from forgeline_architectures.lenet import ARCHITECTURE as LENET
from forgeline_architectures.llama import ARCHITECTURE as LLAMA
from forgeline_architectures.mlp import ARCHITECTURE as MLP
from forgeline_architectures.mpnn import ARCHITECTURE as MPNN
from forgeline_architectures.palm import ARCHITECTURE as PALM
from forgeline_architectures.progressive_gan import ARCHITECTURE as PROGRESSIVE_GAN
from forgeline_architectures.recurrent import ARCHITECTURE as RECURRENT
from forgeline_architectures.seq2seq import ARCHITECTURE as SEQ2SEQ
from forgeline_architectures.stylegan2 import ARCHITECTURE as STYLEGAN2
from forgeline_architectures.t5 import ARCHITECTURE as T5
from forgeline_architectures.transformer import ARCHITECTURE as TRANSFORMER
from forgeline_architectures.vae import ARCHITECTURE as VAE

FAMILIES = {
    family.name: family
    for family in (
        AUTOENCODER,
        BERT,
        BIGGAN,
        CAPTIONER,
        CLIP,
        CNN,
        DBN,
        DCGAN,
        DALLE,
        DDPM,
        DSN,
        GAN,
        GAT,
        GCN,
        GPT,
        IMAGEN,
        LENET,
        LAMDA,
        LATENT_DIFFUSION,
        LLAMA,
        MLP,
        MPNN,
        PALM,
        PROGRESSIVE_GAN,
        RECURRENT,
        SEQ2SEQ,
        STYLEGAN2,
        T5,
        TRANSFORMER,
        VAE,
        CYCLEGAN,
    )
}
# Families that `Bundle.embed` takes: their models have `penultimate`.
EMBEDDING = {"autoencoder", "cnn", "dbn", "gpt", "lamda", "lenet", "llama", "mlp", "mpnn", "palm", "recurrent"}
ROOT = Path(__file__).parents[2]
FILES = ("README.md", "__init__.py", "config.py", "model.py", "module.py")
ROWS = 8

TABLE = {"numeric": {"shape": [5], "dtype": "float32"}, "categorical": {"shape": [2], "dtype": "int64"}}
IMAGE = {"image": {"shape": [1, 16, 16], "dtype": "float32"}}
POINTS = {"numeric": {"shape": [2], "dtype": "float32"}}
LABEL = {"label": {"shape": [], "dtype": "int64"}}
SOURCE = {"source": IMAGE["image"]}
SERIES = {"series": {"shape": [12, 2], "dtype": "float32"}}
GRAPH = {
    "features": {"shape": [5], "dtype": "float32"},
    "edges": {"shape": [2], "dtype": "int64"},
    "seeds": {"shape": [], "dtype": "int64"},
}
GRAPHS = GRAPH | {"members": {"shape": [], "dtype": "int64"}, "edge_features": {"shape": [3], "dtype": "float32"}}
TEXTS = {"tokens": {"shape": [16], "dtype": "int64"}, "length": {"shape": [], "dtype": "int64"}}
TOKENS = {"tokens": {"shape": [16], "dtype": "int64"}}
PAIRS = {
    "source": {"shape": [6], "dtype": "int64"},
    "length": {"shape": [], "dtype": "int64"},
    "previous": {"shape": [5], "dtype": "int64"},
}
DESCRIBED = {"image": {"shape": [3, 16, 16], "dtype": "float32"}, "previous": {"shape": [5], "dtype": "int64"}}
CAPTIONED = {"image": {"shape": [3, 16, 16], "dtype": "float32"}, "caption": {"shape": [6], "dtype": "int64"}}

# family, config, task, inputs, outputs
CASES: list[tuple[str, dict[str, Any], str, dict[str, Any], list[int]]] = [
    ("mlp", {"name": "mlp"}, "classification", TABLE, [3]),
    ("mlp", {"name": "mlp", "hidden": [16, 16], "residual": True, "norm": "layer"}, "regression", TABLE, [2]),
    ("mlp", {"name": "mlp", "hidden": [], "wide": True}, "classification", IMAGE, [3]),
    ("mlp", {"name": "mlp", "activation": "gelu", "norm": "batch"}, "forecasting", SERIES, [4, 2]),
    ("cnn", {"name": "resnet18", "in_channels": 1}, "classification", IMAGE, [3]),
    ("cnn", {"name": "resnet10t", "channels_last": True}, "regression", IMAGE, [1]),
    (
        "cnn",
        {"name": "inception_v3", "stem": "small", "width": 0.0625, "auxiliary": 0.4},
        "classification",
        IMAGE,
        [3],
    ),
    ("recurrent", {"name": "rnn", "hidden": 16, "layers": 2, "nonlinearity": "relu"}, "classification", SERIES, [3]),
    ("recurrent", {"name": "lstm", "hidden": 16}, "classification", SERIES, [3]),
    ("recurrent", {"name": "gru", "hidden": 16, "window": 3, "stride": 2}, "regression", SERIES, [1]),
    (
        "recurrent",
        {"name": "lstm", "hidden": 16, "bidirectional": True, "pooling": "max"},
        "forecasting",
        SERIES,
        [4, 2],
    ),
    ("lenet", {"name": "lenet"}, "classification", IMAGE, [3]),
    ("lenet", {"name": "lenet", "activation": "relu", "pooling": "max"}, "regression", IMAGE, [2]),
    ("dbn", {"name": "rbm", "hidden": [8], "persistent": True, "chains": 4}, "generation", IMAGE, [1, 16, 16]),
    ("dbn", {"name": "dbn", "hidden": [8, 8]}, "generation", IMAGE, [1, 16, 16]),
    ("dbn", {"name": "dbn", "hidden": [8, 8]}, "classification", IMAGE, [3]),
    ("dsn", {"name": "dsn", "modules": 2, "hidden": 4}, "classification", IMAGE, [3]),
    ("gcn", {"name": "gcn", "dropout": 0.0}, "classification", GRAPH, [3]),
    ("gat", {"name": "gat", "dropout": 0.0, "attention_dropout": 0.0}, "classification", GRAPH, [3]),
    ("mpnn", {"name": "mpnn", "hidden": 8, "edge_hidden": 8}, "classification", GRAPHS, [3]),
    ("seq2seq", {"name": "seq2seq", "hidden": 16, "beams": 2}, "translation", PAIRS, [11]),
    ("seq2seq", {"name": "seq2seq", "hidden": 16, "attention": "dot", "cell": "lstm"}, "translation", PAIRS, [11]),
    (
        "captioner",
        {"name": "captioner", "encoder": {"name": "resnet10t"}, "hidden": 16, "beams": 2},
        "translation",
        DESCRIBED,
        [11],
    ),
    (
        "clip",
        {
            "name": "clip",
            "vision_layers": 1,
            "vision_heads": 2,
            "vision_width": 16,
            "patch": 8,
            "text_layers": 1,
            "text_heads": 2,
            "text_width": 16,
            "projection": 8,
        },
        "retrieval",
        CAPTIONED,
        [11],
    ),
    ("bert", {"name": "bert", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0}, "classification", TEXTS, [3]),
    (
        "bert",
        {"name": "bert", "layers": 2, "heads": 2, "width": 16, "dropout": 0.0},
        "token_classification",
        TEXTS,
        [3],
    ),
    ("bert", {"name": "bert", "layers": 2, "heads": 2, "width": 16}, "masked_language_modelling", TOKENS, [11]),
    ("t5", {"name": "t5", "layers": 2, "heads": 2, "width": 16, "feed_forward": 32}, "translation", PAIRS, [11]),
    (
        "transformer",
        {"name": "transformer", "layers": 2, "heads": 2, "width": 16, "feed_forward": 32, "dropout": 0.0},
        "translation",
        PAIRS,
        [11],
    ),
    (
        "biggan",
        {"name": "biggan", "latent": 6, "embedding": 4, "widths": [8, 8, 4], "attention": 8},
        "generation",
        IMAGE | LABEL,
        [1, 16, 16],
    ),
    ("dcgan", {"name": "dcgan", "latent": 4, "widths": [8, 4]}, "generation", IMAGE, [1, 16, 16]),
    (
        "ddpm",
        {"name": "ddpm", "widths": [8, 16], "blocks": 1, "attention": [8], "groups": 4},
        "generation",
        IMAGE | LABEL,
        [1, 16, 16],
    ),
    (
        "imagen",
        {
            "name": "imagen",
            "factor": 2,
            "widths": [8],
            "blocks": 1,
            "attention": [],
            "upsampler_widths": [8, 8],
            "upsampler_blocks": 1,
            "heads": 2,
            "groups": 4,
            "text_layers": 1,
            "text_heads": 2,
            "text_width": 16,
        },
        "generation",
        CAPTIONED,
        [3, 16, 16],
    ),
    (
        "dalle",
        {
            "name": "dalle",
            "codes": 6,
            "autoencoder_widths": [8, 8, 8],
            "autoencoder_blocks": 1,
            "autoencoder_steps": 0,
            "layers": 1,
            "heads": 2,
            "width": 16,
        },
        "generation",
        CAPTIONED,
        [3, 16, 16],
    ),
    (
        "latent_diffusion",
        {
            "name": "latent_diffusion",
            "widths": [8, 16],
            "blocks": 1,
            "attention": [],
            "heads": 2,
            "groups": 4,
            "autoencoder_widths": [8, 8],
            "autoencoder_blocks": 1,
            "autoencoder_steps": 0,
            "text_layers": 1,
            "text_heads": 2,
            "text_width": 16,
        },
        "generation",
        CAPTIONED,
        [3, 16, 16],
    ),
    ("gpt", {"name": "gpt", "layers": 2, "heads": 2, "width": 16}, "language_modelling", TOKENS, [11]),
    ("lamda", {"name": "lamda", "layers": 2, "heads": 2, "width": 16}, "language_modelling", TOKENS, [11]),
    ("llama", {"name": "llama", "layers": 2, "heads": 2, "width": 16}, "language_modelling", TOKENS, [11]),
    ("palm", {"name": "palm", "layers": 2, "heads": 2, "width": 16}, "language_modelling", TOKENS, [11]),
    ("gan", {"name": "gan", "latent": 4, "hidden": [16], "penalty": 1.0}, "generation", IMAGE | LABEL, [1, 16, 16]),
    ("gan", {"name": "wgan", "latent": 4, "hidden": [16]}, "generation", POINTS, [2]),
    ("gan", {"name": "wgan_gp", "latent": 4, "hidden": [16]}, "generation", POINTS, [2]),
    ("autoencoder", {"name": "autoencoder", "hidden": [16], "latent": 4}, "reconstruction", IMAGE, [1, 16, 16]),
    (
        "autoencoder",
        {"name": "autoencoder", "backbone": "convolutional", "hidden": [4, 8], "latent": 4},
        "reconstruction",
        IMAGE,
        [1, 16, 16],
    ),
    ("autoencoder", {"name": "autoencoder", "hidden": [16], "sparsity": 0.1}, "reconstruction", IMAGE, [1, 16, 16]),
    (
        "progressive_gan",
        {"name": "progressive_gan", "latent": 4, "widths": [8, 4, 4]},
        "generation",
        IMAGE,
        [1, 16, 16],
    ),
    (
        "stylegan2",
        {"name": "stylegan2", "latent": 4, "style": 4, "mapping_layers": 2, "widths": [8, 4, 4]},
        "generation",
        IMAGE,
        [1, 16, 16],
    ),
    ("vae", {"name": "vae", "hidden": [16], "latent": 4}, "generation", IMAGE, [1, 16, 16]),
    ("vae", {"name": "vae", "hidden": [16], "latent": 4, "beta": 4.0}, "generation", IMAGE | LABEL, [1, 16, 16]),
    (
        "cyclegan",
        {"name": "cyclegan", "filters": 4, "blocks": 1, "discriminator_filters": 4, "discriminator_halvings": 2},
        "generation",
        IMAGE | SOURCE | LABEL,
        [1, 16, 16],
    ),
]
CASE_NAMES = [f"{config['name']}-{task}-{index}" for index, (_, config, task, _, _) in enumerate(CASES)]


def signature_of(task: str, inputs: dict[str, Any], outputs: list[int]) -> dict[str, Any]:
    return {
        "task": task,
        "inputs": inputs,
        "outputs": outputs,
        "cardinalities": [4, 7] if "categorical" in inputs else [],
        "vocabulary": 11 if inputs is TEXTS else None,
        "conditions": _conditions(task, inputs),
        "source": "source" if task == "generation" and "source" in inputs else None,
    }


def _conditions(task: str, inputs: dict[str, Any]) -> dict[str, int]:
    known = {"label": 2 if "source" in inputs else 3, "caption": 11} if task == "generation" else {}
    return {name: count for name, count in known.items() if name in inputs}


def batch_of(signature: dict[str, Any]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch = {}
    for name, spec in signature["inputs"].items():
        shape = (ROWS, *spec["shape"])
        if spec["dtype"] == "float32":
            batch[name] = torch.randn(shape, generator=generator)
        elif name in ("seeds", "members"):
            batch[name] = torch.arange(ROWS)
        else:
            highest = 4 if name == "categorical" else signature["vocabulary"] or signature["outputs"][0]
            batch[name] = torch.randint(highest, shape, generator=generator)
    match signature["task"]:
        case "classification":
            batch["target"] = torch.arange(ROWS) % signature["outputs"][0]
            if "length" in batch:
                batch["length"] += 1
        case "token_classification":
            batch["length"] += 1
            batch["target"] = batch["tokens"] % signature["outputs"][0]
            batch["target"][:, 0] = -100
        case "retrieval":
            batch["caption"][:, -1] = 2  # the end token
            batch["target"] = torch.arange(ROWS)
        case "translation":
            if "source" in signature["inputs"]:
                batch["length"] = batch["length"] % signature["inputs"]["source"]["shape"][0] + 1
            batch["target"] = batch["previous"].roll(-1, dims=1)
        case "language_modelling" | "masked_language_modelling":
            batch["target"] = batch["tokens"].roll(-1, dims=1)
        case _:
            batch["target"] = torch.randn((ROWS, *signature["outputs"]), generator=generator)
    return batch


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
class TestFamily:
    def test_has_a_case(self, family: Architecture) -> None:
        cases = [case for case in CASES if case[0] == family.name]
        assert {task for _, _, task, _, _ in cases} == set(family.tasks)

    def test_has_the_same_files(self, family: Architecture) -> None:
        folder = files("forgeline_architectures") / family.name
        assert set(FILES) <= {file.name for file in folder.iterdir()}

    def test_readme_answers_the_four_questions(self, family: Architecture) -> None:
        text = (files("forgeline_architectures") / family.name / "README.md").read_text(encoding="utf-8")
        assert all(f"**{word}" in text for word in ("Paper.", "What it is.", "When to use it.", "When not.", "Cost."))
        year = re.search(r"\b(19|20)\d\d\b", family.paper)
        assert year is not None and year[0] in text

    def test_every_config_field_is_described(self, family: Architecture) -> None:
        fields = family.config_model().model_fields
        assert {name for name, field in fields.items() if not field.description} == set()

    def test_config_is_frozen_and_strict(self, family: Architecture) -> None:
        config = next(config for name, config, *_ in CASES if name == family.name)
        with pytest.raises(ValueError, match="Extra inputs"):
            family.config_model().model_validate({**config, "hiden": 3})
        with pytest.raises(ValueError, match="frozen"):
            family.config_model().model_validate(config).name = "x"

    def test_wrong_task_names_the_keys(self, family: Architecture) -> None:
        name, config, *_ = next(case for case in CASES if case[0] == family.name)
        wrong = "language_modelling" if "language_modelling" not in family.tasks else "classification"
        with pytest.raises(ValueError, match=r"learns .* the data are for .*architecture\.name or data\.name"):
            family.check(config, signature_of(wrong, TOKENS, [3]))

    def test_wrong_input_names_the_keys(self, family: Architecture) -> None:
        name, config, task, _, outputs = next(case for case in CASES if case[0] == family.name)
        alike = task in {"generation", "reconstruction"}
        inputs = {"spectrum": {"shape": outputs if alike else [3], "dtype": "float32"}}
        with pytest.raises(ValueError, match=r"takes .*; the data give spectrum: change architecture\.name"):
            family.check(config, signature_of(task, inputs, outputs))

    def test_a_spec_trains_it(self, family: Architecture) -> None:
        specs = [path.read_text(encoding="utf-8") for path in (ROOT / "jobs" / "specs").rglob("*.yaml")]
        trained = {
            name for text in specs for name in re.findall(r"^architecture:\s*\{?\s*name: ([\w.-]+)", text, re.MULTILINE)
        }
        assert trained & set(family.model_names())

    def test_it_has_its_row_in_the_documents(self, family: Architecture) -> None:
        page = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
        assert f"[{family.name}](../architectures/forgeline_architectures/{family.name}/README.md)" in page
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert any(f"`{name}`" in readme for name in (family.name, *family.model_names())) or family.name == "cnn"

    def test_what_it_costs_is_measured(self, family: Architecture) -> None:
        assert family.measurements()

    def test_is_registered(self, family: Architecture) -> None:
        registered = {entry.name: entry.value for entry in entry_points(group="forgeline.architectures")}
        if "mlp" not in registered:
            pytest.skip("the package is not installed, so it has no entry points")
        assert registered[family.name] == f"forgeline_architectures.{family.name}:ARCHITECTURE"


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


def test_every_registered_family_is_held_to_this_contract() -> None:
    registered = {
        entry.name
        for entry in entry_points(group="forgeline.architectures")
        if entry.value.startswith("forgeline_architectures.")
    }
    if not registered:
        pytest.skip("the package is not installed, so it has no entry points")
    assert registered == set(FAMILIES)


def test_all_is_sorted_and_importable() -> None:
    import forgeline_architectures as package

    assert list(package.__all__) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_descriptors_and_configs_import_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        f"for name in {tuple(FAMILIES)}:\n"
        "    family = __import__(f'forgeline_architectures.{name}', fromlist=['x']).ARCHITECTURE\n"
        "    family.config_model(), family.model_names()\n"
        "import forgeline_architectures.tasks\n"
        "assert not {'torch', 'timm', 'diffusers', 'transformers', 'lightning'} & set(sys.modules)\n"
    )
    sources = str(Path(str(files("forgeline_architectures"))).parent)
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": sources})
