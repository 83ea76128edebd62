"""T5: published sizes, transformers' logits, checkpoints in both directions, search with the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from forgeline_architectures.beam_search import END, PADDING, START
from forgeline_architectures.t5 import ARCHITECTURE
from forgeline_architectures.t5.model import load_t5, save_t5

SOURCE, TARGET, VOCABULARY = 6, 5, 37
SMALL = {"name": "t5", "layers": 2, "heads": 2, "width": 16, "head_width": 6, "feed_forward": 24}
THEIRS = {
    "vocab_size": VOCABULARY,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "pad_token_id": PADDING,
    "eos_token_id": END,
    "decoder_start_token_id": START,
}


def signature(vocabulary: int = VOCABULARY) -> dict[str, Any]:
    return {
        "task": "translation",
        "inputs": {
            "source": {"shape": [SOURCE], "dtype": "int64"},
            "length": {"shape": [], "dtype": "int64"},
            "previous": {"shape": [TARGET], "dtype": "int64"},
        },
        "outputs": [vocabulary],
    }


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return ARCHITECTURE.build_model(SMALL | config, signature()).eval()


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, VOCABULARY, (len(lengths), SOURCE), generator=generator)
    length = torch.tensor(lengths)
    source[torch.arange(SOURCE) >= length[:, None]] = PADDING
    previous = torch.randint(3, VOCABULARY, (len(lengths), TARGET), generator=generator)
    previous[:, 0] = START
    return {"source": source, "length": length, "previous": previous}


def reference(**changes: Any) -> Any:
    import transformers

    torch.manual_seed(1)
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**(THEIRS | changes))).eval()
    with torch.no_grad():
        for parameter in t5.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return t5


def said(t5: Any, batch: dict[str, Tensor]) -> Tensor:
    visible = torch.arange(SOURCE) < batch["length"][:, None]
    with torch.no_grad():
        out: Tensor = t5(
            input_ids=batch["source"], attention_mask=visible.long(), decoder_input_ids=batch["previous"]
        ).logits
    assert out.std() > 0.1
    return out


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ({}, 60_506_624),
        ({"layers": 12, "heads": 12, "width": 768, "feed_forward": 3072}, 222_903_552),
    ],
    ids=["small", "base"],
)
def test_parameter_counts(size: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "t5", **size}, signature(vocabulary=32_128))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({}, {}), ({"activation": "gated-gelu", "decoder_layers": 1}, {"feed_forward_proj": "gated-gelu"})],
    ids=["published", "gated"],
)
def test_logits_equal_transformers(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    t5 = reference(**theirs, num_decoder_layers=ours.get("decoder_layers", 2))
    model = build(**ours)
    load_t5(model, t5.state_dict())
    batch = batch_of([6, 2, 4])
    torch.testing.assert_close(model(batch), said(t5, batch), rtol=0, atol=1e-4)


def test_a_checkpoint_folder_is_read(tmp_path: Path) -> None:
    t5 = reference()
    t5.save_pretrained(tmp_path)
    batch = batch_of([6, 2, 4])
    for place in (tmp_path, tmp_path / "model.safetensors"):
        config = {**SMALL, "pretrained": str(place)}
        model = ARCHITECTURE.build_module(config, signature(), {"total_steps": 1}).model.eval()
        torch.testing.assert_close(model(batch), said(t5, batch), rtol=0, atol=1e-4)


def test_a_written_checkpoint_is_read_by_transformers(tmp_path: Path) -> None:
    import transformers

    model = build(beams=1, length_penalty=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_t5(model, tmp_path)
    t5 = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    batch = batch_of([6, 2, 4])
    torch.testing.assert_close(model(batch), said(t5, batch), rtol=0, atol=1e-4)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["decoder_start_token_id"], config["eos_token_id"], config["pad_token_id"]) == (START, END, PADDING)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    reference().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"heads is 3, the checkpoint's is 2; change architecture\.heads"):
        pretrained(tmp_path, heads=3, head_width=4)
    with pytest.raises(ValueError, match=r"know 37 tokens, the data have a vocabulary of 38"):
        load_t5(ARCHITECTURE.build_model(SMALL, signature(38)), state)
    with pytest.raises(ValueError, match="the model has no place for; change layers"):
        load_t5(build(layers=1), state)
    with pytest.raises(ValueError, match="is missing, the model needs"):
        load_t5(build(layers=3), state)
    with pytest.raises(ValueError, match="an output layer of their own"):
        load_t5(build(), {**state, "lm_head.weight": state["shared.weight"] + 1})
    save_file({"shared.weight": state["shared.weight"]}, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="is missing"):
        pretrained(tmp_path / "part.safetensors")


def pretrained(place: Path, **changes: Any) -> Any:
    config = {**SMALL, **changes, "pretrained": str(place)}
    return ARCHITECTURE.build_module(config, signature(), {"total_steps": 1}).model


def test_token_by_token_gives_the_logits_of_teacher_forcing() -> None:
    model = build()
    batch = batch_of([6, 2, 4])
    state = model.begin(batch)
    for place, tokens in enumerate(batch["previous"].unbind(1)):
        logits, state = model.step(tokens, state)
        torch.testing.assert_close(logits, model(batch)[:, place], rtol=1e-5, atol=1e-5)


def test_chosen_rows_go_on_as_they_would_alone() -> None:
    model = build()
    batch = batch_of([6, 2, 4])
    every = model(batch)[:, 1]
    _, state = model.step(batch["previous"][:, 0], model.begin(batch))
    rows = torch.tensor([2, 0, 2, 1])
    chosen, _ = model.step(batch["previous"][rows, 1], model.select(state, rows))
    torch.testing.assert_close(chosen, every[rows], rtol=1e-5, atol=1e-5)


def test_a_state_dict_has_transformers_names_each_tensor_once() -> None:
    names = set(build().state_dict())
    theirs = set(reference().state_dict())
    repeated = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert names == theirs - repeated


def test_it_learns_to_copy() -> None:
    torch.manual_seed(0)
    config = {**SMALL, "width": 32, "head_width": 16, "feed_forward": 64, "dropout": 0.0, "beams": 2}
    module = ARCHITECTURE.build_module(config, signature(9), {"total_steps": 200, "optimizer": {"lr": 5e-3}})
    optimizer = module.configure_optimizers()["optimizer"]
    generator = torch.Generator().manual_seed(2)

    def drawn(rows: int) -> dict[str, Tensor]:
        source = torch.randint(3, 9, (rows, TARGET - 1), generator=generator)
        target = torch.cat([source, torch.full((rows, 1), END)], dim=1)
        previous = torch.cat([torch.full((rows, 1), START), target[:, :-1]], dim=1)
        return {"source": source, "length": torch.full((rows,), TARGET - 1), "previous": previous, "target": target}

    for _ in range(200):
        optimizer.zero_grad()
        module.training_step(drawn(64), 0).backward()
        optimizer.step()
    module.eval()
    batch = drawn(200)
    assert (module.model.translate(batch) == batch["target"]).all(1).float().mean() > 0.5  # by chance: 0.0008
