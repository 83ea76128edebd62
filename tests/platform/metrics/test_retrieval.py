"""Recall by meaning: against a plain count, ties, and models that know everything or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from forgeline.metrics import METRICS, compute
from forgeline.metrics import retrieval as module


def outputs_of(images: list[list[float]], texts: list[list[float]]) -> np.ndarray:
    return np.stack([np.asarray(images), np.asarray(texts)], axis=1).astype(np.float32)


def plainly(outputs: np.ndarray, targets: np.ndarray, first: int) -> tuple[float, float]:
    logits = outputs[:, 0] @ outputs[:, 1].T
    texts = images = 0
    for row, own in enumerate(targets):
        by_meaning = {int(m): logits[row, targets == m].max() for m in np.unique(targets)}
        ranked = sorted(by_meaning, key=lambda meaning: -by_meaning[meaning])
        texts += int(own) in ranked[:first]
        images += own in targets[np.argsort(-logits[:, row], kind="stable")[:first]]
    return texts / len(targets), images / len(targets)


def test_recall_is_a_plain_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)  # several pieces, the last one smaller
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 12, 40) * 3
    centres = generator.normal(size=(40, 6))
    outputs = np.stack([centres[targets] + generator.normal(0, 1.2, (40, 6)) for _ in range(2)], axis=1)
    found = compute("retrieval", outputs.astype(np.float32), targets)
    assert set(found) == set(METRICS["retrieval"])
    for first in (1, 5):
        wanted = plainly(outputs.astype(np.float32), targets, first)
        assert (found[f"text_recall_at_{first}"], found[f"image_recall_at_{first}"]) == pytest.approx(wanted)
    assert 0.1 < found["recall_at_1"] < 0.95
    assert found["recall_at_1"] == min(found["text_recall_at_1"], found["image_recall_at_1"])


def test_loss_is_that_of_the_whole_split() -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    outputs = generator.normal(size=(30, 2, 4)).astype(np.float32)
    logits = torch.from_numpy(outputs[:, 0] @ outputs[:, 1].T)
    own = torch.arange(30)
    cross_entropy = torch.nn.functional.cross_entropy
    wanted = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    found = compute("retrieval", outputs, np.arange(30), loss=99.0)
    assert found["loss"] == pytest.approx(float(wanted), rel=1e-5), "a batch's own loss is not the split's"


def test_another_caption_of_the_same_meaning_is_right() -> None:
    same = outputs_of([[1, 0], [1, 0], [0, 1]], [[0.5, 0], [1, 0], [0, 1]])
    assert compute("retrieval", same, np.asarray([4, 4, 7]))["recall_at_1"] == 1.0
    assert compute("retrieval", same, np.asarray([4, 5, 7]))["text_recall_at_1"] == pytest.approx(2 / 3)


def test_all_in_one_place_finds_nothing() -> None:
    found = compute("retrieval", np.ones((20, 2, 3), dtype=np.float32), np.arange(20))
    assert found["text_recall_at_5"] == found["image_recall_at_5"] == 0.0
    assert found["loss"] == pytest.approx(np.log(20))
