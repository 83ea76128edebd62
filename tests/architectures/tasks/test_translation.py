"""The loss of translation: teacher-forced, over the tokens of the target alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forgeline_architectures.optimisation.options import TrainingOptions
from forgeline_architectures.signature import Signature
from forgeline_architectures.tasks import TaskModule, task_module

VOCABULARY = 7


class Table(nn.Module):
    """Logits that depend on the token before; it writes token 3 and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, VOCABULARY)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.table(batch["previous"])
        return logits

    def translate(self, batch: Mapping[str, Tensor]) -> Tensor:
        return torch.tensor([[3, 2, 0]]).repeat(len(batch["previous"]), 1)


def module(**options: Any) -> TaskModule:
    tokens = {"shape": [3], "dtype": "int64"}
    signature = Signature.model_validate(
        {"task": "translation", "inputs": {"source": tokens, "previous": tokens}, "outputs": [VOCABULARY]}
    )
    torch.manual_seed(0)
    return task_module(Table(), signature, TrainingOptions(total_steps=1, **options))


BATCH = {"previous": torch.tensor([[1, 3, 4], [1, 5, 2]]), "target": torch.tensor([[3, 4, 2], [5, 2, -100]])}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_over_learnt_tokens(smoothing: float) -> None:
    made = module(label_smoothing=smoothing)
    learnt = BATCH["target"] != -100
    logits = made.model(BATCH)[learnt]
    expected = F.cross_entropy(logits, BATCH["target"][learnt], label_smoothing=smoothing)
    torch.testing.assert_close(made.training_step(BATCH, 0), expected)


def test_validation_is_not_smoothed_and_keeps_what_was_written() -> None:
    plain, smoothed = module().validation_step(BATCH, 0), module(label_smoothing=0.1).validation_step(BATCH, 0)
    assert torch.equal(plain["loss_sum"], smoothed["loss_sum"]) and int(plain["count"]) == 5
    assert plain["outputs"].tolist() == [[3, 2, 0], [3, 2, 0]] and torch.equal(plain["target"], BATCH["target"])


def test_class_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="class_weights are for classification; the task is translation"):
        module(class_weights=(1.0,) * VOCABULARY)
