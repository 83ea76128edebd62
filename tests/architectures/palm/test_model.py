"""PaLM: published sizes, the logits of transformers' Cohere (the same block), and the paper's initial weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.palm import ARCHITECTURE
from forgeline_architectures.palm.model import Palm

VOCABULARY, CONTEXT = 37, 24
CONFIG = {"name": "palm", "layers": 3, "heads": 4, "width": 32, "head_width": 8, "feed_forward": 56}


def signature(vocabulary: int = VOCABULARY, length: int = CONTEXT) -> dict[str, Any]:
    tokens = {"shape": [length], "dtype": "int64"}
    return {"task": "language_modelling", "inputs": {"tokens": tokens}, "outputs": [vocabulary]}


@pytest.mark.parametrize(
    ("size", "parameters", "billions"),
    [
        ({}, 8_632_012_800, 8.63),
        ({"layers": 64, "heads": 32, "width": 8192}, 62_495_662_080, 62.50),
        ({"layers": 118, "heads": 48, "width": 18432}, 540_356_474_880, 540.35),
    ],
)
def test_parameter_counts_of_table_1(size: dict[str, int], parameters: int, billions: float) -> None:
    with torch.device("meta"):
        model = ARCHITECTURE.build_model({"name": "palm", **size}, signature(vocabulary=256_000, length=2048))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    # The table leaves out the norms: 118 x 18,432 and a few more parameters at 540B.
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    assert round(matrices / 1e9, 2) == billions


def neighbours(rows: Tensor, heads: int) -> Tensor:
    """Rows of a query or key matrix, from pairs half a head apart to neighbouring pairs, as Cohere rotates them."""
    halves = rows.view(heads, 2, -1, rows.shape[1])
    return halves.transpose(1, 2).reshape(rows.shape)


def test_logits_equal_transformers_cohere() -> None:
    import transformers

    config = transformers.CohereConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        layer_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        logit_scale=32**-0.5,
        use_qk_norm=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    theirs = transformers.CohereForCausalLM(config).eval()
    torch.manual_seed(0)
    ours = ARCHITECTURE.build_model(CONFIG, signature()).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    own, state = ours.state_dict(), {}
    for name in ("tokens", "norm"):
        state[{"tokens": "model.embed_tokens.weight", "norm": "model.norm.weight"}[name]] = own[f"{name}.weight"]
    for layer in range(3):
        part = {name: own[f"blocks.{layer}.{name}.weight"] for name in BLOCK}
        query, key, value = part["attention.qkv"].split((32, 8, 8))
        gate, up = part["feed_forward.up"].chunk(2)
        for name, weight in {
            "input_layernorm": part["attention_norm"],
            "self_attn.q_proj": neighbours(query, 4),
            "self_attn.k_proj": neighbours(key, 1),
            "self_attn.v_proj": value,
            "self_attn.o_proj": part["attention.out"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": part["feed_forward.down"],
        }.items():
            state[f"model.layers.{layer}.{name}.weight"] = weight
    assert set(own) == {
        "tokens.weight",
        "norm.weight",
        *(f"blocks.{i}.{name}.weight" for i in range(3) for name in BLOCK),
    }
    left = theirs.load_state_dict(state, strict=False)
    assert (left.unexpected_keys, left.missing_keys) == ([], ["lm_head.weight"])
    row = torch.randint(VOCABULARY, (4, CONTEXT), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = theirs(row).logits
        assert wanted.std() > 0.1
        torch.testing.assert_close(ours({"tokens": row}), wanted, rtol=0, atol=1e-4)


BLOCK = ("attention_norm", "attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")


def test_initial_weights_have_the_published_spread() -> None:
    torch.manual_seed(0)
    fresh = ARCHITECTURE.build_model({"name": "palm", "layers": 1, "heads": 4, "width": 128}, signature(1000))
    assert isinstance(fresh, Palm)
    state = fresh.state_dict()
    assert state["tokens.weight"].std().item() == pytest.approx(1.0, rel=0.02)
    for name, inputs in (("attention.qkv", 128), ("attention.out", 1024), ("feed_forward.down", 512)):
        assert state[f"blocks.0.{name}.weight"].std().item() == pytest.approx(inputs**-0.5, rel=0.05)
    with torch.no_grad():
        logits = fresh({"tokens": torch.arange(CONTEXT)[None]})
    assert logits.std().item() == pytest.approx(1.0, rel=0.2), "the shared table is scaled for the output"


def test_a_head_that_cannot_be_rotated_is_refused() -> None:
    with pytest.raises(ValueError, match=r"even width per head, got 9; change architecture\.head_width"):
        ARCHITECTURE.check({**CONFIG, "head_width": 9}, signature())
