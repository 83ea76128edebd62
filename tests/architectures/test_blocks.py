"""Blocks that are computed twice: less is kept for the backward pass, and the gradients are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from forgeline_architectures.blocks import compute_twice, repeated_blocks
from forgeline_architectures.tasks import TaskModule
from tests.architectures.cases import CASES, FAMILIES, batch_of, signature_of

BLOCKED = [case for case in CASES if FAMILIES[case[0]].blocks]
WITH_BLOCKS = {"bert", "cnn", "gpt", "lamda", "llama", "palm", "t5", "transformer"}


def gradients(module: TaskModule, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Gradients of a step by parameter, and the bytes that its forward pass kept."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.loss(batch)
    held = sum(kept.values())
    loss.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}, held


def test_the_families_with_blocks() -> None:
    assert {name for name, family in FAMILIES.items() if family.blocks} == WITH_BLOCKS


@pytest.mark.parametrize(("family", "config", "task", "inputs", "outputs"), BLOCKED)
def test_blocks_computed_twice_keep_less_and_give_the_same_gradients(
    family: str, config: dict[str, Any], task: str, inputs: dict[str, Any], outputs: list[int]
) -> None:
    signature = signature_of(task, inputs, outputs)
    torch.manual_seed(0)
    module = FAMILIES[family].build_module(config, signature, {"total_steps": 1})
    blocks = repeated_blocks(module.model, FAMILIES[family].blocks)
    if not blocks:
        pytest.skip("a network of timm without blocks")
    names = [name for name, _ in module.named_parameters()]
    expected, before = gradients(module, batch_of(signature))
    module.zero_grad()
    compute_twice(blocks)
    found, after = gradients(module, batch_of(signature))
    assert [name for name, _ in module.named_parameters()] == names
    torch.testing.assert_close(found, expected)
    assert after < before
