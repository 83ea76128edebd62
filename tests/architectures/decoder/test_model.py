"""What every decoder must do, whatever it is made of: packing, cache, generation, weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from forgeline_architectures.decoder.model import DecoderModel
from forgeline_architectures.generation import Sampling, generate, generate_scored
from forgeline_architectures.gpt import ARCHITECTURE as GPT
from forgeline_architectures.lamda import ARCHITECTURE as LAMDA
from forgeline_architectures.llama import ARCHITECTURE as LLAMA
from forgeline_architectures.palm import ARCHITECTURE as PALM

FAMILIES = {family.name: family for family in (GPT, LAMDA, LLAMA, PALM)}
VOCABULARY, CONTEXT = 37, 24
SIZE = {"layers": 3, "heads": 4, "width": 32}
CONFIGS: list[dict[str, Any]] = [
    {"name": "gpt", **SIZE, "bias": False},
    {"name": "llama", **SIZE},
    {"name": "llama", **SIZE, "key_value_heads": 2, "feed_forward": 40, "tied": True},
    {"name": "palm", **SIZE, "head_width": 6, "feed_forward": 40},
    {"name": "lamda", **SIZE, "head_width": 6, "feed_forward": 40},
]


def signature(length: int = CONTEXT) -> dict[str, Any]:
    tokens = {"shape": [length], "dtype": "int64"}
    return {"task": "language_modelling", "inputs": {"tokens": tokens}, "outputs": [VOCABULARY]}


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda config: config["name"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture(scope="module")
def model(config: dict[str, Any]) -> Iterator[DecoderModel]:
    torch.manual_seed(0)
    decoder = FAMILIES[config["name"]].build_model(config, signature())
    assert isinstance(decoder, DecoderModel)
    # Larger than fresh weights, so that logits differ clearly from token to token and place to place.
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    yield decoder.eval()
    assert not decoder.training


def tokens(rows: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, time), generator=torch.Generator().manual_seed(seed))


def test_the_future_does_not_matter_and_the_past_does(model: DecoderModel) -> None:
    first, second = tokens(2, CONTEXT), tokens(2, CONTEXT)
    second[:, 10] = (first[:, 10] + 1) % VOCABULARY
    with torch.no_grad():
        ours, theirs = model({"tokens": first}), model({"tokens": second})
    torch.testing.assert_close(ours[:, :10], theirs[:, :10])
    assert (ours[:, 11:] - theirs[:, 11:]).abs().amax(dim=(0, 2)).min() > 1e-3


def test_order_matters(model: DecoderModel) -> None:
    row = tokens(1, CONTEXT)
    swapped = row.clone()
    swapped[0, [3, 8]] = row[0, [8, 3]]
    assert row[0, 3] != row[0, 8]
    with torch.no_grad():
        change = model({"tokens": row})[0, -1] - model({"tokens": swapped})[0, -1]
    assert change.abs().max() > 1e-3


def test_packed_documents_equal_themselves_alone(model: DecoderModel) -> None:
    lengths = [5, 1, 8, 6]
    row = tokens(2, sum(lengths))
    segments = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).repeat(2, 1)
    start = 0
    with torch.no_grad():
        packed = model({"tokens": row, "segments": segments})
        for length in lengths:
            alone = model({"tokens": row[:, start : start + length]})
            torch.testing.assert_close(packed[:, start : start + length], alone, rtol=1e-4, atol=1e-5)
            start += length


def test_cached_logits_equal_uncached(model: DecoderModel) -> None:
    row = tokens(3, CONTEXT)
    cache = model.new_cache(torch.zeros(3, dtype=torch.int64))
    with torch.no_grad():
        whole = model({"tokens": row})
        torch.testing.assert_close(model.step(row[:, :5], cache), whole[:, 4], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.step(row[:, 5:9], cache), whole[:, 8], rtol=1e-4, atol=1e-5)
        for index in range(9, CONTEXT):
            step = model.step(row[:, index : index + 1], cache)
            torch.testing.assert_close(step, whole[:, index], rtol=1e-4, atol=1e-5)


def test_the_cache_holds_the_shared_heads_only(config: dict[str, Any], model: DecoderModel) -> None:
    cache = model.new_cache(torch.zeros(1, dtype=torch.int64))
    assert cache.heads == model.design.key_value_heads
    if "key_value_heads" in config:
        assert cache.heads == config["key_value_heads"] < model.design.heads


def test_greedy_in_a_padded_batch_equals_the_plain_loop(model: DecoderModel) -> None:
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
    expected = []
    for prompt in prompts:
        row = list(prompt)
        with torch.no_grad():
            for _ in range(12):
                row.append(int(model({"tokens": torch.tensor([row])})[0, -1].argmax()))
        expected.append(row[len(prompt) :])
    assert generate(model, prompts, max_tokens=12, sampling=Sampling(temperature=0)) == expected


def test_goes_on_beyond_the_context(model: DecoderModel) -> None:
    made = generate(model, [[1], list(range(30))], max_tokens=2 * CONTEXT, sampling=Sampling())
    assert [len(row) for row in made] == [2 * CONTEXT] * 2


def test_scores_are_the_mean_log_likelihood_of_the_drawn_tokens(model: DecoderModel) -> None:
    prompts = [[1, 2, 3], [4]]
    sampling = Sampling(top_k=5, temperature=0.7, seed=3)
    scored = generate_scored(model, prompts, max_tokens=10, sampling=sampling)
    assert [row.tokens for row in scored] == generate(model, prompts, max_tokens=10, sampling=sampling)
    for prompt, row in zip(prompts, scored, strict=True):
        whole = torch.tensor([[*prompt, *row.tokens]])
        with torch.no_grad():
            logs = model({"tokens": whole})[0, :-1].log_softmax(-1)
        plain = logs[torch.arange(len(logs)), whole[0, 1:]][len(prompt) - 1 :].mean().item()
        assert row.log_likelihood == pytest.approx(plain, abs=1e-4)


def test_a_score_ends_with_the_stop_token(model: DecoderModel) -> None:
    greedy = generate(model, [[1, 2]], max_tokens=8, sampling=Sampling(temperature=0))[0]
    stop = greedy[4]
    first = greedy.index(stop)
    prompts = [[1, 2], [9, 8, 7]]  # the second row goes on after the first has ended
    ended = generate_scored(model, prompts, max_tokens=8, sampling=Sampling(temperature=0, stop=stop))[0]
    until = generate_scored(model, [[1, 2]], max_tokens=first + 1, sampling=Sampling(temperature=0))[0]
    assert ended.tokens == greedy[:first]
    assert ended.log_likelihood == pytest.approx(until.log_likelihood, abs=1e-5)
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        generate_scored(model, prompts, max_tokens=0, sampling=Sampling())


def test_weight_decay_reaches_matrices_alone(config: dict[str, Any]) -> None:
    options = {"total_steps": 1, "optimizer": {"weight_decay": 0.1, "decay_embeddings": False}}
    module: Any = FAMILIES[config["name"]].build_module(config, signature(), options)
    names = {id(parameter): name for name, parameter in module.model.named_parameters()}
    decayed = {
        names[id(parameter)]
        for group in module.configure_optimizers()["optimizer"].param_groups
        if group["weight_decay"]
        for parameter in group["params"]
    }
    linear = ("attention.qkv.weight", "attention.out.weight", "feed_forward.up.weight", "feed_forward.down.weight")
    expected = {f"blocks.{layer}.{name}" for layer in range(3) for name in linear}
    assert decayed == expected | ({"output.weight"} if "output.weight" in names.values() else set())


def test_a_training_step_in_bfloat16(config: dict[str, Any]) -> None:
    module: Any = FAMILIES[config["name"]].build_module(config, signature(), {"total_steps": 1})
    batch = {"tokens": tokens(2, CONTEXT), "target": tokens(2, CONTEXT, seed=1)}
    full = module.loss(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module.loss(batch)
    half.backward()
    assert half.item() == pytest.approx(full.item(), rel=0.02)
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_rows_longer_than_the_context(config: dict[str, Any], model: DecoderModel) -> None:
    with pytest.raises(ValueError, match=r"architecture\.context or data\.context"):
        FAMILIES[config["name"]].check({**config, "context": 8}, signature())
    with pytest.raises(ValueError, match="25 tokens and the model a context of 24"):
        model({"tokens": tokens(1, CONTEXT + 1)})
