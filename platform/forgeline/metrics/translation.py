"""Metrics of sequences that a model wrote, against the ones that were wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgeline.preprocessing.pairs import END, PADDING


def translation_metrics(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """`exact_match` and `token_error_rate`.

    Args:
        outputs: [n, T] tokens, each row up to its end token, or all of it.
        targets: [n, T] tokens in the same form; what is not learnt may be negative.
    """
    written, wanted = _lengths(outputs), _lengths(targets)
    distances = edit_distances(outputs, written, targets, wanted)
    return {
        "exact_match": float(np.mean(distances == 0)),
        "token_error_rate": float(distances.sum() / max(int(wanted.sum()), 1)),
    }


def edit_distances(
    first: NDArray[Any], first_lengths: NDArray[Any], second: NDArray[Any], second_lengths: NDArray[Any]
) -> NDArray[np.int64]:
    """Fewest insertions, deletions and substitutions from each row of one array to the same row of the other.

    The recurrence of Wagner & Fischer 1974 over all rows at once.

    Args:
        first: [n, S] tokens.
        first_lengths: [n] tokens of each row that count.
        second: [n, T] tokens.
        second_lengths: [n].
    """
    rows, columns = first.shape[1], second.shape[1]
    table = np.zeros((rows + 1, columns + 1, len(first)), dtype=np.int64)
    table[:, 0] = np.arange(rows + 1)[:, None]
    table[0] = np.arange(columns + 1)[:, None]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            changed = table[i - 1, j - 1] + (first[:, i - 1] != second[:, j - 1])
            table[i, j] = np.minimum(changed, np.minimum(table[i - 1, j], table[i, j - 1]) + 1)
    distances: NDArray[np.int64] = table[first_lengths, second_lengths, np.arange(len(first))]
    return distances


def _lengths(tokens: NDArray[Any]) -> NDArray[np.int64]:
    """Tokens of each row before its end."""
    stops = (tokens == END) | (tokens == PADDING) | (tokens < 0)
    lengths: NDArray[np.int64] = np.where(stops.any(axis=1), stops.argmax(axis=1), tokens.shape[1])
    return lengths
