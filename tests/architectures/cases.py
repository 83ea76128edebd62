"""Every family of the package, and small models of each with the data they take, for the tests of the contract."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

import forgeline_architectures
from forgeline_architectures import Architecture


def _families() -> dict[str, Architecture]:
    """The descriptors of the folders that have one, by name, whether or not they are registered."""
    names = sorted(path.name for path in files(forgeline_architectures).iterdir() if (path / "module.py").is_file())
    return {name: import_module(f"forgeline_architectures.{name}").ARCHITECTURE for name in names}


FAMILIES = _families()
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
