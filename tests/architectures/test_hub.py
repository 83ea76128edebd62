"""Checkpoints of the hub: read out of a cache as huggingface_hub lays it out, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from forgeline_architectures import Architecture
from forgeline_architectures.bert import ARCHITECTURE as BERT
from forgeline_architectures.clip import ARCHITECTURE as CLIP
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.llama import ARCHITECTURE as LLAMA
from forgeline_architectures.t5 import ARCHITECTURE as T5

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VOCABULARY = 37
TOKENS = {"tokens": {"shape": [16], "dtype": "int64"}}
SIGNATURES: dict[str, dict[str, Any]] = {
    "language_modelling": {"inputs": TOKENS, "outputs": [VOCABULARY]},
    "masked_language_modelling": {"inputs": TOKENS, "outputs": [VOCABULARY]},
    "translation": {
        "inputs": {
            "source": {"shape": [6], "dtype": "int64"},
            "length": {"shape": [], "dtype": "int64"},
            "previous": {"shape": [5], "dtype": "int64"},
        },
        "outputs": [VOCABULARY],
    },
    "retrieval": {
        "inputs": {
            "image": {"shape": [3, 16, 16], "dtype": "float32"},
            "caption": {"shape": [8], "dtype": "int64"},
        },
        "outputs": [VOCABULARY],
    },
}
SMALL: dict[str, Any] = {"layers": 2, "heads": 2, "width": 16}
CLIP_SIZE = {"vision_layers": 1, "vision_heads": 2, "vision_width": 16, "patch": 8, "text_layers": 1, "text_heads": 2}
FAMILIES: dict[str, tuple[Architecture, str, dict[str, Any]]] = {
    "gpt": (GPT, "language_modelling", SMALL),
    "llama": (LLAMA, "language_modelling", SMALL),
    "bert": (BERT, "masked_language_modelling", SMALL),
    "t5": (T5, "translation", SMALL | {"feed_forward": 32}),
    "clip": (CLIP, "retrieval", CLIP_SIZE | {"text_width": 16, "projection": 8}),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def publish(cache: Path, name: str, folder: Path) -> None:
    """Put a checkpoint folder where huggingface_hub keeps what it fetched: blobs, links to them, and a branch."""
    model = cache / f"models--{name.replace('/', '--')}"
    snapshot = model / "snapshots" / COMMIT
    for place in (snapshot, model / "blobs", model / "refs"):
        place.mkdir(parents=True, exist_ok=True)
    (model / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(folder.iterdir())):
        blob = model / "blobs" / f"{number:040x}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)


def signature(task: str) -> dict[str, Any]:
    return {"task": task, **SIGNATURES[task]}


def write(family: str, model: Any, folder: Path) -> None:
    from forgeline_architectures.bert.model import save_bert
    from forgeline_architectures.clip.model import save_clip
    from forgeline_architectures.gpt.model import save_gpt2
    from forgeline_architectures.llama.model import save_llama
    from forgeline_architectures.t5.model import save_t5

    writers: dict[str, Any] = {
        "gpt": save_gpt2,
        "llama": save_llama,
        "bert": save_bert,
        "t5": save_t5,
        "clip": save_clip,
    }
    writers[family](model, folder)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_a_checkpoint_of_the_hub_is_read(name: str, revision: str, cache: Path, tmp_path: Path) -> None:
    family, task, config = FAMILIES[name]
    torch.manual_seed(3)
    model = family.build_model({"name": name, **config}, signature(task))
    write(name, model, tmp_path / "ours")
    publish(cache, "lab/tiny", tmp_path / "ours")
    begun = {"name": name, **config, "pretrained": f"hub:lab/tiny{revision}"}
    module: Any = family.build_module(begun, signature(task), {"total_steps": 1})
    assert all(torch.equal(tensor, module.model.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_the_config_of_the_hub_is_compared(cache: Path, tmp_path: Path) -> None:
    model = GPT.build_model({"name": "gpt", **SMALL}, signature("language_modelling"))
    write("gpt", model, tmp_path / "ours")
    publish(cache, "lab/tiny", tmp_path / "ours")
    config = {"name": "gpt", **SMALL, "heads": 4, "pretrained": "hub:lab/tiny"}
    with pytest.raises(ValueError, match=r"heads is 4, the checkpoint's is 2; change architecture\.heads"):
        GPT.build_module(config, signature("language_modelling"), {"total_steps": 1})


def test_pickles_are_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fnmatch import fnmatchcase

    asked: list[str] = []

    def download(model: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16}')
    with pytest.raises(ValueError, match=r"holds neither model\.safetensors"):
        GPT.build_module(
            {"name": "gpt", **SMALL, "pretrained": "hub:lab/old"}, signature("language_modelling"), {"total_steps": 1}
        )
    for file in ("pytorch_model.bin", "model.pth", "tf_model.h5", "flax_model.msgpack", "model.pkl", "code.py"):
        assert not any(fnmatchcase(file, pattern) for pattern in asked), file
    assert any(fnmatchcase("model-00001-of-00002.safetensors", pattern) for pattern in asked)


@pytest.mark.usefixtures("cache")
def test_a_model_that_is_nowhere_is_named() -> None:
    config = {"name": "gpt", "pretrained": "hub:lab/none"}
    with pytest.raises(ValueError, match=r"'hub:lab/none' is neither in the cache .*change architecture\.pretrained"):
        GPT.build_module(config, signature("language_modelling"), {"total_steps": 1})


@pytest.mark.parametrize("name", ["hub:", "hub:gpt2", "hub:a/b/c", "hub:a/b@../c", "hub:a b/c", "hub:../x/y"])
def test_names_of_another_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"written hub:ORG/MODEL .*change architecture\.pretrained"):
        GPT.check({"name": "gpt", "pretrained": name}, signature("language_modelling"))


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2"])
def test_a_missing_file_is_not_a_model_of_the_hub(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no file or folder '{name}'.* such as hub:openai-community/gpt2; change"):
        GPT.check({"name": "gpt", "pretrained": name}, signature("language_modelling"))
