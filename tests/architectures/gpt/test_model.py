"""GPT: published size, transformers' logits, packed rows, cache and generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from forgeline_architectures.generation import Sampling, filtered
from forgeline_architectures.gpt import ARCHITECTURE
from forgeline_architectures.gpt.model import GPT, load_gpt2, save_gpt2

VOCABULARY, CONTEXT = 37, 24
CONFIG = {"name": "gpt", "layers": 3, "heads": 4, "width": 32}


def signature(vocabulary: int = VOCABULARY, length: int = CONTEXT) -> dict[str, Any]:
    tokens = {"shape": [length], "dtype": "int64"}
    return {"task": "language_modelling", "inputs": {"tokens": tokens}, "outputs": [vocabulary]}


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    gpt = ARCHITECTURE.build_model(CONFIG, signature())
    assert isinstance(gpt, GPT)
    # Larger than fresh weights, so that logits differ clearly from token to token.
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return gpt.eval()


def tokens(rows: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, time), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ({}, 124_439_808),
        ({"layers": 24, "heads": 16, "width": 1024}, 354_823_168),
        ({"layers": 36, "heads": 20, "width": 1280}, 774_030_080),
        ({"layers": 48, "heads": 25, "width": 1600}, 1_557_611_200),
    ],
)
def test_parameter_counts_of_gpt2(size: dict[str, int], parameters: int) -> None:
    with torch.device("meta"):
        gpt2 = ARCHITECTURE.build_model({"name": "gpt", **size}, signature(vocabulary=50257, length=1024))
    assert sum(parameter.numel() for parameter in gpt2.parameters()) == parameters


@pytest.fixture(scope="module")
def reference() -> Any:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(1)
    gpt2 = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in gpt2.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return gpt2


def test_logits_equal_transformers(reference: Any) -> None:
    ours = ARCHITECTURE.build_model(CONFIG, signature()).eval()
    assert isinstance(ours, GPT)
    load_gpt2(ours, reference.state_dict())
    with torch.no_grad():
        theirs = reference(tokens(4, CONTEXT)).logits
        torch.testing.assert_close(ours({"tokens": tokens(4, CONTEXT)}), theirs, rtol=0, atol=1e-4)


def test_weights_are_read_from_a_file(reference: Any, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in reference.state_dict().items() if name != "lm_head.weight"}
    save_file(state, tmp_path / "gpt2.safetensors")
    config = {**CONFIG, "pretrained": str(tmp_path / "gpt2.safetensors")}
    module: Any = ARCHITECTURE.build_module(config, signature(), {"total_steps": 1})
    assert torch.equal(module.model.tokens.weight, reference.transformer.wte.weight)
    with pytest.raises(ValueError, match=r"37 tokens.*vocabulary of 38; change data\.tokenizer, data\.vocabulary"):
        ARCHITECTURE.build_module(config, signature(vocabulary=38), {"total_steps": 1})
    with pytest.raises(ValueError, match=r"wte\.weight has the shape \(37, 32\), the model needs \(37, 16\)"):
        ARCHITECTURE.build_module({**config, "width": 16}, signature(), {"total_steps": 1})
    with pytest.raises(ValueError, match=r"architecture\.pretrained"):
        ARCHITECTURE.build_module({**CONFIG, "pretrained": "nowhere.safetensors"}, signature(), {"total_steps": 1})


def pretrained(path: Path, **changes: Any) -> Any:
    return ARCHITECTURE.build_module(
        {**CONFIG, **changes, "pretrained": str(path)}, signature(), {"total_steps": 1}
    ).model


def test_weights_that_the_model_has_no_place_for_are_refused(reference: Any, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    file = tmp_path / "gpt2.safetensors"
    save_file(state | {"transformer.h.0.attn.bias": torch.ones(1, 1, CONTEXT, CONTEXT)}, file)
    assert torch.equal(pretrained(file).tokens.weight, reference.transformer.wte.weight), "a mask is no weight"
    with pytest.raises(ValueError, match=r"weights hold h\.2\.\S+ and 11 more .*no place for; change layers or bias"):
        pretrained(file, layers=2)
    with pytest.raises(ValueError, match=r"no place for; change layers or bias .*architecture\.pretrained"):
        pretrained(file, bias=False)
    save_file(state | {"lm_head.weight": torch.zeros(VOCABULARY, 32)}, file)
    with pytest.raises(ValueError, match=r"an output layer of their own.*architecture\.pretrained"):
        pretrained(file)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"heads": 8}, {}, r"heads is 8, the checkpoint's is 4; change architecture\.heads"),
        ({"layers": 2}, {}, r"layers is 2, the checkpoint's is 3; change architecture\.layers"),
        ({}, {"activation_function": "gelu"}, "activation_function is 'gelu', supported is 'gelu_new'"),
        ({}, {"model_type": "gpt_neo"}, "model_type is 'gpt_neo'"),
        ({}, {"n_inner": 64}, "n_inner is 64, supported is 128"),
    ],
)
def test_the_config_beside_the_weights_is_compared(
    reference: Any, tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any], message: str
) -> None:
    reference.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | theirs
    (tmp_path / "config.json").write_text(json.dumps(config))
    for place in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ValueError, match=message):
            pretrained(place, **ours)


def test_the_config_of_something_else_is_not_compared(reference: Any, tmp_path: Path) -> None:
    reference.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"heads": 99}')
    assert torch.equal(pretrained(tmp_path / "model.safetensors").tokens.weight, reference.transformer.wte.weight)


def test_transformers_reads_what_we_write(model: GPT, tmp_path: Path) -> None:
    import transformers

    save_gpt2(model, tmp_path)
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        wanted = theirs.eval()(tokens(4, CONTEXT)).logits
        torch.testing.assert_close(model({"tokens": tokens(4, CONTEXT)}), wanted, rtol=0, atol=1e-4)
    for place in (tmp_path, tmp_path / "model.safetensors"):
        again = pretrained(place).state_dict()
        assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())
    bare = ARCHITECTURE.build_model({**CONFIG, "bias": False}, signature())
    assert isinstance(bare, GPT)
    with pytest.raises(ValueError, match=r"without biases .*change architecture\.bias"):
        save_gpt2(bare, tmp_path / "bare")


def test_initial_weights_have_the_published_spread() -> None:
    fresh = ARCHITECTURE.build_model({"name": "gpt", "layers": 8, "heads": 4, "width": 128}, signature())
    state = fresh.state_dict()
    assert state["blocks.0.attention.qkv.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert state["blocks.0.attention.out.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert state["blocks.3.feed_forward.down.weight"].std().item() == pytest.approx(0.02 / 4, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4), seed=st.integers(0, 100))
def test_packed_documents_equal_themselves_alone(model: GPT, lengths: list[int], seed: int) -> None:
    lengths = lengths[:3]
    row = tokens(1, sum(lengths), seed=seed)
    segments = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
    with torch.no_grad():
        packed = model({"tokens": row, "segments": segments})
        start = 0
        for length in lengths:
            alone = model({"tokens": row[:, start : start + length]})
            torch.testing.assert_close(packed[:, start : start + length], alone, rtol=1e-4, atol=1e-5)
            start += length


def test_greedy_equals_the_plain_loop_also_in_a_batch(model: GPT) -> None:
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
    expected = []
    for prompt in prompts:
        row = list(prompt)
        with torch.no_grad():
            for _ in range(15):
                row.append(int(model({"tokens": torch.tensor([row])})[0, -1].argmax()))
        expected.append(row[len(prompt) :])
    assert model.generate(prompts, max_tokens=15, sampling=Sampling(temperature=0)) == expected
    assert model.generate(prompts, max_tokens=15, sampling=Sampling(top_k=1)) == expected
    assert model.generate(prompts, max_tokens=15, sampling=Sampling(top_p=1e-6)) == expected


def test_the_seed_decides(model: GPT) -> None:
    prompts = [[1, 2], [1, 2]]
    first = model.generate(prompts, max_tokens=15, sampling=Sampling(seed=1))
    assert first == model.generate(prompts, max_tokens=15, sampling=Sampling(seed=1))
    assert first != model.generate(prompts, max_tokens=15, sampling=Sampling(seed=2))
    assert first[0] != first[1], "each row draws for itself"
    assert first[0] == model.generate([[1, 2]], max_tokens=15, sampling=Sampling(seed=1))[0]


def test_stops_at_the_stop_token(model: GPT) -> None:
    free = model.generate([[1, 2]], max_tokens=10, sampling=Sampling(temperature=0))[0]
    stopped = model.generate([[1, 2]], max_tokens=10, sampling=Sampling(temperature=0, stop=free[4]))[0]
    assert stopped == free[: free.index(free[4])]


def test_filters_keep_what_they_say() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()

    def kept(**options: Any) -> list[int]:
        return filtered(logits, Sampling(**options)).isfinite().nonzero()[:, 1].tolist()

    assert kept(top_k=2) == [0, 1]
    assert kept(top_p=0.79) == [0, 1]
    assert kept(top_p=0.81) == [0, 1, 2]
    assert kept(top_k=99, top_p=1.0) == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_sampling_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        Sampling(**options)


def test_bad_prompts_are_named(model: GPT) -> None:
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        model.generate([[1], []], max_tokens=1)
    with pytest.raises(ValueError, match=f"prompt 0 holds the token {VOCABULARY}; the model knows 0 to 36"):
        model.generate([[VOCABULARY]], max_tokens=1)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"architecture\.heads or architecture\.width"):
        ARCHITECTURE.check({**CONFIG, "heads": 5}, signature())
