"""Metrics of pictures found by their captions, and captions by their pictures.

What counts is meaning: captions of the same number mean the same, and a picture that any of them is closest to is
found. What is as close as the right one counts as closer: a model that puts all into one place finds nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024  # whose similarities to all others are held at once


def retrieval_metrics(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """`loss` in nats, and the recalls among the first 1 and 5 in both directions.

    A picture is held against the distinct meanings, each as close as the closest of its captions; a caption against
    all pictures.

    Args:
        outputs: [n, 2, width] embeddings of pictures and of captions, whose products are logits.
        targets: [n] what each pair means, as a number.
    """
    images, texts = outputs[:, 0].astype(np.float32), outputs[:, 1].astype(np.float32)
    order = np.argsort(targets, kind="stable")
    _, starts, places = np.unique(targets[order], return_index=True, return_inverse=True)
    place = np.empty(len(targets), dtype=np.int64)
    place[order] = places
    loss = 0.0
    closer_meanings, closer_pictures = np.empty(len(targets)), np.empty(len(targets))
    for start in range(0, len(targets), _ROWS):
        part = slice(start, start + _ROWS)
        rows, own = np.arange(len(targets[part])), place[part]
        to_texts, to_images = images[part] @ texts.T, texts[part] @ images.T
        loss += _cross_entropy(to_texts, rows, rows + start) + _cross_entropy(to_images, rows, rows + start)
        best = np.maximum.reduceat(to_texts[:, order], starts, axis=1)
        closer_meanings[part] = (best >= best[rows, own][:, None]).sum(axis=1) - 1
        best = np.maximum.reduceat(to_images[:, order], starts, axis=1)[rows, own]
        others = targets[part][:, None] != targets[None, :]
        closer_pictures[part] = ((to_images >= best[:, None]) & others).sum(axis=1)
    found = {
        f"{direction}_recall_at_{first}": float(np.mean(closer < first))
        for direction, closer in (("text", closer_meanings), ("image", closer_pictures))
        for first in (1, 5)
    }
    lower = min(found["text_recall_at_1"], found["image_recall_at_1"])
    return {"loss": loss / (2 * len(targets)), "recall_at_1": lower, **found}


def _cross_entropy(logits: NDArray[np.float32], rows: NDArray[np.int64], own: NDArray[np.int64]) -> float:
    """Summed over the rows."""
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1)
    total: float = (highest + np.log(np.exp(wide - highest[:, None]).sum(axis=1)) - wide[rows, own]).sum()
    return float(total)
