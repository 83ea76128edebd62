"""What only the model can refuse is refused before Ray starts: patterns, weights of other libraries, timm's options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from forgeline.errors import SpecError
from forgeline.spec.loading import load
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.gpt.model import save_gpt2
from forgeline_jobs.train.kind import TrainKind

PICTURES: dict[str, Any] = {
    "kind": "train",
    "name": "pictures",
    "architecture": {"name": "test_resnet"},
    "data": {"name": "digits", "batch_size": 16},
}
SMALL = {"name": "gpt", "layers": 2, "heads": 2, "width": 16, "context": 32}
TEXT: dict[str, Any] = {
    "kind": "train",
    "name": "text",
    "architecture": SMALL,
    "data": {"name": "tinyshakespeare", "batch_size": 8, "context": 32, "tokenizer": "byte"},
}
LEAN = """
import sys
from forgeline.spec.loading import load
from forgeline_jobs.train.kind import TrainKind
spec = {"kind": "train", "name": "wine", "architecture": {"name": "mlp"}, "data": {"name": "wine", "batch_size": 16}}
TrainKind().check(load(spec).spec)
print("torch" in sys.modules)
"""


def refusal(spec: dict[str, Any], **changes: Any) -> tuple[str | None, str]:
    with pytest.raises(SpecError) as caught:
        TrainKind().check(load(spec, set=changes).spec)
    assert caught.value.exit_code == 2
    return caught.value.key, caught.value.message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of a GPT of SMALL's size, over bytes."""
    tokens = {"tokens": {"shape": [32], "dtype": "int64"}}
    model: Any = GPT.build_model(SMALL, {"task": "language_modelling", "inputs": tokens, "outputs": [256]})
    save_gpt2(model, tmp_path / "gpt")
    return tmp_path / "gpt"


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"fine_tune.freeze": ["layre1.*"]}, "fine_tune.freeze", "pattern 'layre1.*' matches none"),
        ({"fine_tune.freeze": ["layre1.*"]}, "fine_tune.freeze", "near names: layer1"),
        ({"fine_tune.freeze": ["*"]}, "fine_tune.freeze", "leave no parameter to train"),
        ({"fine_tune.learning_rates": {"layre1.*": 0.1}}, "fine_tune.learning_rates", "near names: layer1"),
        ({"optimizer.decay_only": ["lyaer1.*"]}, "optimizer.decay_only", "near names: layer1"),
        ({"architecture.options": {"nonsense": 1}}, "architecture.options", "argument 'nonsense'"),
    ],
)
def test_what_the_model_refuses_is_told_before_the_run(change: dict[str, Any], key: str, message: str) -> None:
    found, said = refusal(PICTURES, **change)
    assert found == key and message in said


@pytest.mark.parametrize(
    "change",
    [
        {"fine_tune.freeze": ["conv1.*", "layer1.*"], "fine_tune.learning_rates": {"layer2.*": 0.1}},
        {"architecture.options": {"drop_path_rate": 0.1}},
    ],
)
def test_what_fits_passes(change: dict[str, Any]) -> None:
    assert TrainKind().check(load(PICTURES, set=change).spec)["task"] == "classification"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """timm's own weights of PICTURES' model, with another last layer."""
    import timm

    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_names_beside_adapters_are_those_of_training(network: Path) -> None:
    adapted = {"architecture.pretrained": str(network), "fine_tune.adapter": {"layers": ["layer1.*"]}}
    fits = load(PICTURES, set={**adapted, "fine_tune.learning_rates": {"*.lora_B.*": 4.0}}).spec
    assert TrainKind().check(fits)["task"] == "classification"
    key, said = refusal(PICTURES, **adapted, **{"fine_tune.learning_rates": {"*.lora_C.*": 4.0}})
    assert key == "fine_tune.learning_rates" and "'*.lora_C.*' matches none" in said


def test_a_check_reads_no_numbers_of_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.torch.load_file", lambda *_: pytest.fail("numbers were read"))
    for place in (folder, folder / "model.safetensors"):
        found = TrainKind().check(load(TEXT, set={"architecture.pretrained": str(place)}).spec)
        assert found["task"] == "language_modelling"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture.layers": 1}, "layers is 1, the checkpoint's is 2; change architecture.layers"),
        ({"architecture.heads": 4}, "heads is 4, the checkpoint's is 2; change architecture.heads"),
        ({"data.tokenizer": "character"}, "know 256 tokens, the data have a vocabulary of"),
    ],
)
def test_weights_that_do_not_fit_are_told_before_the_run(folder: Path, change: dict[str, Any], message: str) -> None:
    key, said = refusal(TEXT, **{"architecture.pretrained": str(folder), **change})
    assert key == "architecture.pretrained" and message in said


def test_a_file_that_is_none_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "gpt.safetensors").write_text("no weights")
    key, said = refusal(TEXT, **{"architecture.pretrained": str(tmp_path / "gpt.safetensors")})
    assert key == "architecture.pretrained" and "is not a readable .safetensors file" in said


def test_weights_of_timm_are_held_against_the_model(network: Path) -> None:
    assert TrainKind().check(load(PICTURES, set={"architecture.pretrained": str(network)}).spec)
    other = {"architecture.name": "resnet10t", "architecture.pretrained": str(network)}
    key, said = refusal(PICTURES, **other)
    assert key == "architecture.pretrained" and "cannot build resnet10t" in said and "size mismatch" in said


@pytest.mark.parametrize("name", ["gpt2", "no/such", "s3://bucket/gpt2"])
def test_a_missing_file_is_told_with_the_specification(name: str) -> None:
    with pytest.raises(SpecError, match="there is no file or folder") as caught:
        load(TEXT, set={"architecture.pretrained": name})
    assert (caught.value.key, caught.value.exit_code) == ("architecture.pretrained", 2)


def test_a_model_of_the_hub_is_asked_for_its_config_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    begun = {"architecture.pretrained": "hub:lab/tiny"}
    key, said = refusal(TEXT, **begun)
    assert key == "architecture.pretrained" and "'hub:lab/tiny' is neither in the cache" in said
    commit = "0" * 40
    snapshot = tmp_path / "hub" / "models--lab--tiny" / "snapshots" / commit
    refs = snapshot.parent.parent / "refs"
    for place in (snapshot, refs):
        place.mkdir(parents=True)
    (refs / "main").write_text(commit)
    (snapshot / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert TrainKind().check(load(TEXT, set=begun).spec)["task"] == "language_modelling"
    assert "heads is 4" in refusal(TEXT, **begun, **{"architecture.heads": 4})[1]
    (snapshot / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert "vocabulary of" in refusal(TEXT, **begun, **{"data.tokenizer": "character"})[1]
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "opt"}
    (snapshot / "config.json").write_text(json.dumps(config))
    assert "model_type is 'opt'" in refusal(TEXT, **begun)[1]


def test_other_specs_are_checked_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
