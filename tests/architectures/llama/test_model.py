"""LLaMA: published sizes, transformers' logits, and checkpoints in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgeline_architectures.llama import ARCHITECTURE
from forgeline_architectures.llama.model import Llama, load_llama, save_llama

VOCABULARY, CONTEXT = 37, 24
CONFIG = {"name": "llama", "layers": 3, "heads": 4, "key_value_heads": 2, "width": 32, "feed_forward": 56}
THEIRS = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
}


def signature(vocabulary: int = VOCABULARY, length: int = CONTEXT) -> dict[str, Any]:
    tokens = {"shape": [length], "dtype": "int64"}
    return {"task": "language_modelling", "inputs": {"tokens": tokens}, "outputs": [vocabulary]}


def tokens(rows: int = 4) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, CONTEXT), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("size", "vocabulary", "parameters"),
    [
        ({}, 32_000, 6_738_415_616),
        ({"key_value_heads": 8, "feed_forward": 14336, "rotary_base": 5e5}, 128_256, 8_030_261_248),
    ],
)
def test_parameter_counts(size: dict[str, Any], vocabulary: int, parameters: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "llama", **size}, signature(vocabulary=vocabulary, length=2048))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def reference(**changes: Any) -> Any:
    import transformers

    torch.manual_seed(1)
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**(THEIRS | changes))).eval()
    with torch.no_grad():
        for parameter in llama.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("llama")
    reference().save_pretrained(place)
    return place


def pretrained(path: Path, **changes: Any) -> Any:
    config = {**CONFIG, **changes, "pretrained": str(path)}
    return ARCHITECTURE.build_module(config, signature(), {"total_steps": 1}).model.eval()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"key_value_heads": 4}, {"num_key_value_heads": 4}),
        (
            {"key_value_heads": 1, "rotary_base": 500.0},
            {"num_key_value_heads": 1, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        ),
        ({"tied": True, "norm_epsilon": 1e-3}, {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
    ],
)
def test_logits_equal_transformers(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    llama = reference(**theirs)
    model = ARCHITECTURE.build_model({**CONFIG, **ours}, signature()).eval()
    assert isinstance(model, Llama)
    load_llama(model, llama.state_dict())
    with torch.no_grad():
        wanted = llama(tokens()).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(model({"tokens": tokens()}), wanted, rtol=0, atol=1e-4)


def test_a_checkpoint_folder_is_read(folder: Path) -> None:
    import transformers

    theirs = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        ours = pretrained(folder)({"tokens": tokens()})
        torch.testing.assert_close(ours, theirs(tokens()).logits, rtol=0, atol=1e-4)


def test_a_single_file_and_shards_give_the_same(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    whole = pretrained(folder).state_dict()
    alone = pretrained(folder / "model.safetensors").state_dict()
    names = sorted(state)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: state[name] for name in part}, tmp_path / shard)
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    sharded = pretrained(tmp_path).state_dict()
    assert all(torch.equal(whole[name], alone[name]) and torch.equal(whole[name], sharded[name]) for name in whole)


@pytest.mark.parametrize("tied", [False, True])
def test_transformers_reads_what_we_write(tied: bool, tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(2)
    model = ARCHITECTURE.build_model({**CONFIG, "tied": tied, "rotary_base": 777.0}, signature()).eval()
    assert isinstance(model, Llama)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_llama(model, tmp_path / "ours")
    theirs, report = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        wanted = theirs.eval()(tokens()).logits
        torch.testing.assert_close(model({"tokens": tokens()}), wanted, rtol=0, atol=1e-4)
    again = pretrained(tmp_path / "ours", tied=tied, rotary_base=777.0).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 2}, r"layers is 2, the checkpoint's is 3; change architecture\.layers or architecture\.pretrained"),
        ({"key_value_heads": 4}, r"key_value_heads is 4, the checkpoint's is 2"),
        ({"feed_forward": 64}, r"feed_forward is 64, the checkpoint's is 56"),
        ({"rotary_base": 9.0}, r"rotary_base is 9\.0, the checkpoint's is 10000"),
        ({"norm_epsilon": 1e-6}, r"norm_epsilon is 1e-06, the checkpoint's is 1e-05"),
        ({"tied": True}, r"tied is True, the checkpoint's is False"),
    ],
)
def test_a_config_unlike_the_checkpoints_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained(folder, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
            "rope_type is 'llama3', supported is 'default'",
        ),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}, "rope_type is 'linear'"),
        ({"head_dim": 16}, "head_dim is 16, supported is 8"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
    ],
)
def test_what_the_decoder_cannot_do_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"the checkpoint's {message}"):
        pretrained(tmp_path)


def test_weights_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    file = Path(copy(folder / "model.safetensors", tmp_path / "alone.safetensors"))
    with pytest.raises(ValueError, match=r"weights hold model\.layers\.2\.\S+ and 8 more .*change layers or tied"):
        pretrained(file, layers=2)
    with pytest.raises(ValueError, match=r"model\.layers\.3\.input_layernorm\.weight is missing"):
        pretrained(file, layers=4)
    with pytest.raises(
        ValueError, match=r"mlp\.down_proj\.weight has the shape \(32, 56\), the model needs \(32, 64\)"
    ):
        state = load_file(file)
        for name in [name for name in state if "gate_proj" in name or "up_proj" in name]:
            state[name] = torch.zeros(64, 32)
        save_file(state, tmp_path / "odd.safetensors")
        pretrained(tmp_path / "odd.safetensors", feed_forward=64)
    with pytest.raises(ValueError, match=r"know 37 tokens, the data have a vocabulary of 38; change data\.tokenizer"):
        ARCHITECTURE.build_module({**CONFIG, "pretrained": str(file)}, signature(38), {"total_steps": 1})


def test_folders_that_cannot_be_read_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json' is not a readable JSON file.*architecture\.pretrained"):
        pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"holds neither model\.safetensors nor model\.safetensors\.index\.json"):
        pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../x.safetensors"}}')
    with pytest.raises(ValueError, match="lists no shards of its folder under weight_map"):
        pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"there is no file or folder '\S+/no/such'.*architecture\.pretrained"):
        pretrained(tmp_path / "no" / "such")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, r"heads 5 and width 32; change architecture\.heads or architecture\.width"),
        ({"key_value_heads": 3}, r"key_value_heads 3 and heads 4; change architecture\.key_value_heads"),
        ({"width": 36, "heads": 4}, r"even width per head, got 9; change architecture\.heads or architecture\.width"),
    ],
)
def test_heads_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ARCHITECTURE.check({**CONFIG, **changes}, signature())
