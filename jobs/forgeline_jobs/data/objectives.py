"""What is learnt from a running text besides its next token: words that are hidden, or spans that are left out.

Which ones is drawn from (seed, epoch, sample) in training, as every augmentation is; val and test have the same gaps
every time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forgeline.preprocessing.pairs import END, PADDING, START
from forgeline_jobs.data.base import Batch, Indices, Keys
from forgeline_jobs.data.packing import IGNORED
from forgeline_jobs.data.randomness import uniform
from forgeline_jobs.data.windows import TrainWindows

Ids = NDArray[np.int64]

# Devlin et al. 2019 (arXiv:1810.04805), section 3.1 and appendix A.1: 15 % of the tokens; of these 80 % become a gap,
# 10 % another token, and 10 % stay.
HIDDEN = 0.15
BECOMES_GAP = 0.8
BECOMES_OTHER = 0.1
# Raffel et al. 2020 (arXiv:1910.10683), section 3.1.4 and 3.3.4: 15 % of the tokens, in spans of 3 on average.
LEFT_OUT = 0.15
SPAN = 3

_UNKNOWN = 0
_HELD_OUT_KEYS: Keys = (0, 0)


class MaskedWindows:
    """Windows of a running text with hidden tokens.

    Unknown words are read but never asked for: there is nothing to learn about them.

    Args:
        windows: of `context - 1` tokens.
        size: tokens that can stand in the text.
        mask: the token of a gap.
        first: the token that every sample begins with.
        has_unknown: whether token 0 is the unknown one.
    """

    def __init__(self, windows: TrainWindows, *, size: int, mask: int, first: int, has_unknown: bool) -> None:
        self._windows = windows
        self._size = size
        self._mask = mask
        self._first = first
        self._has_unknown = has_unknown

    def __len__(self) -> int:
        return len(self._windows)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`tokens` and `target` [n, context]; -100 where nothing is asked for."""
        tokens = self._windows.batch(indices, rng_keys)["tokens"]
        time = tokens.shape[1]
        draws = uniform(rng_keys or _HELD_OUT_KEYS, indices, 3 * time, stream="mask")
        hidden = draws[:, :time] < HIDDEN
        if self._has_unknown:
            hidden &= tokens != _UNKNOWN
        fate, other = draws[:, time : 2 * time], (draws[:, 2 * time :] * self._size).astype(np.int64)
        changed = np.where(fate < BECOMES_GAP, self._mask, np.where(fate < BECOMES_GAP + BECOMES_OTHER, other, tokens))
        opening = ((0, 0), (1, 0))
        return {
            "tokens": np.pad(np.where(hidden, changed, tokens), opening, constant_values=self._first),
            "target": np.pad(np.where(hidden, tokens, IGNORED), opening, constant_values=IGNORED),
        }


class SpanWindows:
    """Windows of a running text from which spans are left out, each behind a sentinel, and these spans as target.

    Args:
        windows: of the text, numbered as in the pairs' vocabulary.
        context: tokens of a window.
        sentinel: number of the first sentinel.
    """

    def __init__(self, windows: TrainWindows, context: int, *, sentinel: int) -> None:
        self._windows = windows
        self._context = context
        self._sentinel = sentinel

    def __len__(self) -> int:
        return len(self._windows)

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`source` [n, S], `length` [n], `previous` and `target` [n, T]; all rows are full."""
        rows = self._windows.batch(indices, rng_keys)["tokens"]
        out, spans = span_counts(self._context)
        draws = uniform(rng_keys or _HELD_OUT_KEYS, indices, self._context, stream="spans")
        sources, targets = [], []
        for row, numbers in zip(rows, draws, strict=True):
            kept_lengths = _shares(self._context - out, spans, numbers[: self._context - out])
            out_lengths = _shares(out, spans, numbers[self._context - out :])
            pieces = np.split(row, np.cumsum(np.stack([kept_lengths, out_lengths], axis=1).ravel())[:-1])
            marks = [np.asarray([self._sentinel + number]) for number in range(spans + 1)]
            sources.append(np.concatenate([part for n in range(spans) for part in (pieces[2 * n], marks[n])]))
            told = [part for n in range(spans) for part in (marks[n], pieces[2 * n + 1])]
            # The last sentinel says that there is no more: Raffel et al. 2020, figure 2.
            targets.append(np.concatenate([*told, marks[spans], [END]]))
        target = np.stack(targets).astype(np.int64)
        source = np.stack(sources).astype(np.int64)
        return {
            "source": source,
            "length": np.full(len(source), source.shape[1], dtype=np.int64),
            "previous": np.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=START),
            "target": np.where(target == PADDING, IGNORED, target),
        }


def span_counts(context: int) -> tuple[int, int]:
    """Tokens that are left out of a window, and in how many spans."""
    out = max(round(LEFT_OUT * context), 1)
    return out, max(round(out / SPAN), 1)


def _shares(total: int, parts: int, numbers: NDArray[np.float64]) -> Ids:
    """`total` tokens in `parts` pieces of at least one, every way to cut alike likely.

    Args:
        numbers: [total] in [0, 1), of which the order of all but the last chooses the cuts.
    """
    cuts = np.sort(np.argsort(numbers[: total - 1])[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]])).astype(np.int64)
