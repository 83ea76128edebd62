"""Windows of one running text: at a random phase for training, over every token once for measuring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forgeline_jobs.data.base import Batch, Indices, Keys
from forgeline_jobs.data.packing import IGNORED
from forgeline_jobs.data.randomness import uniform


class TrainWindows:
    """Windows of `context` tokens that tile the text from a start that differs in every epoch.

    In an epoch every token is seen about once, where windows drawn independently would miss a third of them; over
    epochs a token is seen at every place of the window. The start is a pure function of (seed, epoch).
    """

    def __init__(self, tokens: Indices, context: int) -> None:
        self._tokens = tokens.astype(np.int32)
        self._context = context
        self._last = len(tokens) - 1 - context

    def __len__(self) -> int:
        return (len(self._tokens) - 1) // self._context

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`tokens` and the `target` one further on, [n, context]."""
        phase = 0
        if rng_keys is not None:
            first = np.zeros(1, dtype=np.int64)
            phase = int(uniform(rng_keys, first, 1, stream="phase")[0, 0] * self._context)
        starts = np.minimum(indices * self._context + phase, self._last)
        return _at(self._tokens, starts, self._context)


class EvalWindows:
    """Windows that do not overlap and leave nothing out: every token but the first is a target exactly once.

    The last window is filled up behind the end of the text, where targets are ignored.
    """

    def __init__(self, tokens: Indices, context: int) -> None:
        windows = -(-(len(tokens) - 1) // context)
        self._context = context
        self._tokens = np.zeros(windows * context, dtype=np.int32)
        self._target = np.full(windows * context, IGNORED, dtype=np.int32)
        self._tokens[: len(tokens) - 1] = tokens[:-1]
        self._target[: len(tokens) - 1] = tokens[1:]

    def __len__(self) -> int:
        return len(self._tokens) // self._context

    def batch(self, indices: Indices, rng_keys: Keys | None = None) -> Batch:
        """`tokens` and `target`, [n, context]."""
        places = indices[:, None] * self._context + np.arange(self._context)
        return {"tokens": self._tokens[places].astype(np.int64), "target": self._target[places].astype(np.int64)}


def _at(tokens: NDArray[np.int32], starts: Indices, context: int) -> Batch:
    both = tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    return {"tokens": np.ascontiguousarray(both[:, :-1]), "target": np.ascontiguousarray(both[:, 1:])}
