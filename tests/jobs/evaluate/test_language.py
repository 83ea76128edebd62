"""The loss of a language model: over all tokens alike, whatever the batches and the pieces of the head."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from forgeline.errors import RunFailed
from forgeline_jobs.evaluate import language
from forgeline_jobs.evaluate.report import markdown

VOCABULARY = 11


class Plain(nn.Module):
    """A language model that looks at each token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, VOCABULARY)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        out: Tensor = self.table(batch["tokens"])
        return out


class Headed(Plain):
    """The same, with a head that can be applied apart."""

    vocabulary = VOCABULARY
    largest = 0

    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch["tokens"][..., None]

    def logits(self, hidden: Tensor) -> Tensor:
        self.largest = max(self.largest, len(hidden))
        out: Tensor = self.table(hidden[..., 0])
        return out


def batches() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, VOCABULARY, (6, 5))
    target[1, 2:] = language.IGNORED
    tokens = rng.integers(0, VOCABULARY, (6, 5))
    return [{"tokens": tokens[:4], "target": target[:4]}, {"tokens": tokens[4:], "target": target[4:]}]


@pytest.mark.parametrize("pieces", [VOCABULARY, 3 * VOCABULARY, 2**26])
def test_pieces_of_the_head_change_nothing(pieces: int) -> None:
    torch.manual_seed(0)
    model = Headed()
    state = model.state_dict()
    plain = Plain()
    plain.load_state_dict(state)
    tokens, target = (np.concatenate([batch[name] for batch in batches()]).ravel() for name in ("tokens", "target"))
    logits = state["table.weight"][torch.from_numpy(tokens)]
    expected = float(nn.functional.cross_entropy(logits, torch.from_numpy(target)))
    for network in (model, plain):
        loss = language.language_loss(network.eval(), batches(), device="cpu", logits_at_once=pieces)
        assert loss == pytest.approx(expected, rel=1e-6)
    assert model.largest <= max(1, pieces // VOCABULARY)


def test_nothing_to_predict_is_said() -> None:
    nothing = [{"tokens": np.zeros((1, 2), dtype=np.int64), "target": np.full((1, 2), language.IGNORED)}]
    with pytest.raises(RunFailed, match="no token to predict"):
        language.language_loss(Plain(), nothing, device="cpu")


def test_a_text_with_a_fence_stays_inside_its_block() -> None:
    result = {
        "metrics": {"test/loss": 1.0},
        "task": "language_modelling",
        "model": "gpt",
        "run_id": None,
        "digest": "d" * 64,
        "data": "text",
        "split": "test",
        "samples": 1200,
        "fingerprint": "f" * 64,
        "notes": [],
        "remarks": [],
    }
    text = markdown(result, [], "a\n```\n# not a heading\n```")
    assert "````text\na\n```\n# not a heading\n```\n````" in text
    assert "1,200 samples" in text
