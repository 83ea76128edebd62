"""LaMDA: published sizes, the states of transformers' T5 decoder, and sample-and-rank."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgeline_architectures.generation import Sampling, generate, generate_scored
from forgeline_architectures.lamda import ARCHITECTURE
from forgeline_architectures.lamda.model import Lamda

VOCABULARY, CONTEXT = 37, 200
CONFIG = {"name": "lamda", "layers": 3, "heads": 4, "width": 32, "head_width": 6, "feed_forward": 56, "candidates": 5}


def signature(vocabulary: int = VOCABULARY, length: int = CONTEXT) -> dict[str, Any]:
    tokens = {"shape": [length], "dtype": "int64"}
    return {"task": "language_modelling", "inputs": {"tokens": tokens}, "outputs": [vocabulary]}


@pytest.fixture(scope="module")
def model() -> Lamda:
    torch.manual_seed(0)
    lamda = ARCHITECTURE.build_model(CONFIG, signature())
    assert isinstance(lamda, Lamda)
    with torch.no_grad():
        for parameter in lamda.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return lamda.eval()


@pytest.mark.parametrize(
    ("size", "parameters", "billions"),
    [
        ({}, 2_097_207_040, 2),
        ({"layers": 16, "heads": 64, "width": 4096}, 8_590_071_808, 9),
        ({"layers": 64, "heads": 128, "width": 8192}, 137_440_014_336, 137),
    ],
)
def test_parameter_counts(size: dict[str, int], parameters: int, billions: int) -> None:
    with torch.device("meta"):
        lamda = ARCHITECTURE.build_model({"name": "lamda", **size}, signature(vocabulary=32_000, length=2048))
    counts = {name: parameter.numel() for name, parameter in lamda.named_parameters()}
    assert counts.pop("tokens.weight") == 32_000 * size.get("width", 2560)
    assert sum(counts.values()) == parameters
    assert round(parameters / 1e9) == billions


def test_states_equal_transformers_t5_decoder(model: Lamda) -> None:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Stack

    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=6,
        d_ff=56,
        num_layers=3,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_decoder=True,
        use_cache=False,
    )
    theirs = T5Stack(config).eval()
    own = model.state_dict()
    state = {
        "embed_tokens.weight": own["tokens.weight"],
        "block.0.layer.0.SelfAttention.relative_attention_bias.weight": own["relative.weight"],
        "final_layer_norm.weight": own["norm.weight"],
    }
    for layer in range(3):
        part = {name.split(".", 2)[2]: weight for name, weight in own.items() if name.startswith(f"blocks.{layer}.")}
        query, key, value = part["attention.qkv.weight"].chunk(3)
        gate, up = part["feed_forward.up.weight"].chunk(2)
        for name, weight in {
            "layer.0.layer_norm": part["attention_norm.weight"],
            "layer.0.SelfAttention.q": query / 6**0.5,  # T5 does not scale its attention
            "layer.0.SelfAttention.k": key,
            "layer.0.SelfAttention.v": value,
            "layer.0.SelfAttention.o": part["attention.out.weight"],
            "layer.2.layer_norm": part["feed_forward_norm.weight"],
            "layer.2.DenseReluDense.wi_0": gate,
            "layer.2.DenseReluDense.wi_1": up,
            "layer.2.DenseReluDense.wo": part["feed_forward.down.weight"],
        }.items():
            state[f"block.{layer}.{name}.weight"] = weight
    left = theirs.load_state_dict(state, strict=False)
    assert left.unexpected_keys == []
    # A decoder alone: the layers that would look at an encoder are never run.
    assert all(".layer.1." in name for name in left.missing_keys)
    row = torch.randint(VOCABULARY, (3, CONTEXT), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(input_ids=row).last_hidden_state
        assert wanted.std() > 0.1
        torch.testing.assert_close(model.hidden({"tokens": row}), wanted, rtol=0, atol=1e-4)


def test_candidates_are_ranked_by_their_likelihood(model: Lamda) -> None:
    sampling = Sampling(top_k=10, seed=4)
    ranked = model.ranked([1, 2, 3], max_tokens=12, sampling=sampling)
    drawn = generate_scored(model, [[1, 2, 3]] * 5, max_tokens=12, sampling=sampling)
    scores = [continuation.log_likelihood for continuation in ranked]
    assert len(set(scores)) == 5 and scores == sorted(scores, reverse=True)
    assert sorted(scores) == sorted(continuation.log_likelihood for continuation in drawn)
    assert drawn[0].tokens == generate(model, [[1, 2, 3]], max_tokens=12, sampling=sampling)[0]


def test_generate_gives_the_best_candidate(model: Lamda) -> None:
    sampling = {"top_k": 10, "seed": 4}
    prompts = [[1, 2, 3], [9]]
    best = [model.ranked(prompt, max_tokens=12, sampling=Sampling(**sampling))[0].tokens for prompt in prompts]
    assert model.generate(prompts, max_tokens=12, sampling=sampling) == best
    assert best != generate(model, prompts, max_tokens=12, sampling=Sampling(**sampling))
    assert model.generate(prompts, max_tokens=0) == [[], []]


def test_one_candidate_is_plain_sampling(model: Lamda) -> None:
    alone = ARCHITECTURE.build_model({**CONFIG, "candidates": 1}, signature()).eval()
    assert isinstance(alone, Lamda)
    alone.load_state_dict(model.state_dict())
    sampling = Sampling(top_k=10, seed=4)
    plain = [generate(model, [prompt], max_tokens=12, sampling=sampling)[0] for prompt in ([1, 2, 3], [9])]
    assert alone.generate([[1, 2, 3], [9]], max_tokens=12, sampling=sampling) == plain


def test_bad_prompts_are_named(model: Lamda) -> None:
    with pytest.raises(ValueError, match="prompt 0 is empty"):
        model.generate([[]], max_tokens=1)
    with pytest.raises(ValueError, match=f"prompt 0 holds the token {VOCABULARY}; the model knows 0 to 36"):
        model.generate([[VOCABULARY]], max_tokens=1)
