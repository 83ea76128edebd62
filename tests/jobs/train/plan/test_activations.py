"""What a forward pass keeps: counted on fake tensors as in memory, and within 2 % of the published formulae."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from forgeline import plugins
from forgeline_architectures.decoder.design import DecoderDesign
from forgeline_architectures.decoder.model import Block
from forgeline_jobs.train.plan.activation_count import ActivationCount
from forgeline_jobs.train.plan.activations import Arithmetic, KeptStorages, count, count_real
from forgeline_jobs.train.plan.transformer_block import eager_bytes, fused_bytes

TOKENS, WIDTH, HEADS, ROWS = 128, 256, 4, 2


def gpt(layers: int, dropout: float = 0.0, device: str = "meta") -> Any:
    family: Any = plugins.find(plugins.ARCHITECTURES, "gpt", key="name")
    config = {"name": "gpt", "layers": layers, "heads": HEADS, "width": WIDTH, "dropout": dropout}
    signature = {
        "task": "language_modelling",
        "inputs": {"tokens": {"shape": [TOKENS], "dtype": "int64"}},
        "outputs": [64],
    }
    with torch.device(device):
        return family.build_module(config, signature, {"optimizer": {}, "total_steps": 5})


def rows(samples: int) -> dict[str, Tensor]:
    tokens = torch.zeros(samples, TOKENS, dtype=torch.int64)
    return {"tokens": tokens, "target": tokens.clone()}


def counted(
    layers: int, *, dropout: float = 0.0, half: torch.dtype = torch.bfloat16, **options: Any
) -> ActivationCount:
    given: dict[str, Any] = {"arithmetic": "half", "gpu": True, "samples": (1, ROWS)} | options
    return count(gpt(layers, dropout), rows, half=half, **given)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_block_with_fused_attention_keeps_what_the_formula_says(dropout: float, half: torch.dtype) -> None:
    block = counted(3, dropout=dropout, half=half).of(ROWS) - counted(2, dropout=dropout, half=half).of(ROWS)
    told = fused_bytes(tokens=TOKENS, rows=ROWS, width=WIDTH, dropout=dropout > 0)
    assert block == pytest.approx(told, rel=0.02)


@contextmanager
def eager(dtype: torch.dtype) -> Iterator[None]:
    """Attention by separate operations, in the precision of its inputs, on a fake GPU."""
    before = torch.get_default_dtype()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    torch.set_default_dtype(dtype)
    try:
        with FakeTensorMode(), torch.device("cuda"), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.set_default_dtype(before)
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_block_with_eager_attention_keeps_what_equation_1_says(dropout: float, half: torch.dtype) -> None:
    with eager(half):
        block = Block(design(dropout))
        kept = KeptStorages(dict(block.named_parameters()))
        with kept.hooks():
            out = block(torch.empty(ROWS, TOKENS, WIDTH, requires_grad=True), None)
    assert out.requires_grad
    told = eager_bytes(tokens=TOKENS, rows=ROWS, width=WIDTH, heads=HEADS, dropout=dropout > 0)
    assert kept.most == pytest.approx(told, rel=0.02)


def design(dropout: float) -> DecoderDesign:
    return DecoderDesign(
        vocabulary=64,
        context=TOKENS,
        layers=1,
        width=WIDTH,
        heads=HEADS,
        key_value_heads=HEADS,
        head_width=WIDTH // HEADS,
        inner=4 * WIDTH,
        norm="layer",
        norm_epsilon=1e-5,
        positions="learned",
        rotary_base=10_000.0,
        activation="gelu",
        bias=True,
        parallel=False,
        tied=True,
        logit_scale=1.0,
        initial="fixed",
        dropout=dropout,
    )


def in_memory(module: Any, arithmetic: Arithmetic, samples: int) -> int:
    """The same count on tensors with numbers."""
    if arithmetic == "half":
        module.to(torch.bfloat16)
    kept = KeptStorages({**dict(module.named_parameters()), **dict(module.named_buffers())})
    with kept.hooks(), torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == "cast"):
        loss = module.training_step(rows(samples), 0)
    assert kept.most == kept.now > 0
    loss.backward()
    del loss
    assert kept.now == 0
    return kept.most


@pytest.mark.parametrize("arithmetic", ["full", "cast", "half"])
def test_fake_tensors_keep_what_real_ones_do(arithmetic: Arithmetic) -> None:
    fake = counted(1, arithmetic=arithmetic, gpu=False)
    assert fake.of(ROWS) == in_memory(gpt(1, device="cpu"), arithmetic, ROWS)
    assert fake.of(1) == in_memory(gpt(1, device="cpu"), arithmetic, 1)


def test_more_samples_are_on_the_line_through_two_counts() -> None:
    assert counted(1).of(16) == counted(1, samples=(1, 16)).of(16)


def test_casts_of_the_weights_are_kept_once_whatever_the_batch() -> None:
    cast, half = counted(1, arithmetic="cast"), counted(1)
    cast_layers = sum(layer.weight.numel() for layer in gpt(1).modules() if isinstance(layer, nn.Linear))
    assert cast.fixed - half.fixed >= 2 * cast_layers
    assert cast.fixed - half.fixed == pytest.approx(2 * (cast_layers + 64 * WIDTH), rel=0.01)


def test_a_whole_step_holds_at_most_what_the_forward_pass_kept() -> None:
    step = count_real(gpt(1, device="cpu"), rows, precision="32-true", samples=(1, ROWS))
    assert step.of(ROWS) == counted(1, arithmetic="full", gpu=False).of(ROWS)


def test_a_module_without_a_loss_is_refused() -> None:
    module = gpt(1)
    module.training_step = lambda batch, batch_idx: None
    with pytest.raises(RuntimeError, match="no loss"):
        count(module, rows, arithmetic="full", half=torch.bfloat16, gpu=False, samples=(1, 2))
